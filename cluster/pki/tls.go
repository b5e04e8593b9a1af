package pki

import (
	"crypto/ed25519"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
)

// Protocols of the cluster port, told apart by ALPN (RFC 7301).
const (
	ProtoRaft = "holdline-raft/1"
	ProtoLink = "holdline-link/1"
	ProtoJoin = "holdline-join/1"
)

// Credentials are a member's key, its certificate and the CA.
type Credentials struct {
	UUID string
	Key  ed25519.PrivateKey
	Cert []byte // DER
	CA   *CA
}

// Authorizer says whether the node with this UUID and key is a member now.
type Authorizer func(uuid string, key KeyHash) error

var errNoCert = errors.New("peer showed no certificate")

// ServerConfig accepts members for raft and link, and anybody who proves possession of some key for join, where the
// one-use secret decides.
func (c *Credentials) ServerConfig(authorize Authorizer) *tls.Config {
	return &tls.Config{
		MinVersion:             tls.VersionTLS13,
		Certificates:           []tls.Certificate{c.chain()},
		NextProtos:             []string{ProtoRaft, ProtoLink, ProtoJoin},
		ClientAuth:             tls.RequireAnyClientCert,
		SessionTicketsDisabled: true, // a resumed session would skip the member table
		VerifyConnection: func(cs tls.ConnectionState) error {
			switch cs.NegotiatedProtocol {
			case ProtoJoin:
				return nil
			case ProtoRaft, ProtoLink:
				return c.verifyMember(cs, "", authorize)
			}
			return fmt.Errorf("cluster port: unknown protocol %q", cs.NegotiatedProtocol)
		},
	}
}

// ClientConfig dials the member named uuid for proto.
func (c *Credentials) ClientConfig(proto, uuid string, authorize Authorizer) *tls.Config {
	return &tls.Config{
		MinVersion:         tls.VersionTLS13,
		Certificates:       []tls.Certificate{c.chain()},
		NextProtos:         []string{proto},
		InsecureSkipVerify: true, // VerifyConnection does it, without regard to wall time
		VerifyConnection: func(cs tls.ConnectionState) error {
			return c.verifyMember(cs, uuid, authorize)
		},
	}
}

func (c *Credentials) chain() tls.Certificate {
	return tls.Certificate{Certificate: [][]byte{c.Cert, c.CA.Cert.Raw}, PrivateKey: c.Key}
}

func (c *Credentials) verifyMember(cs tls.ConnectionState, want string, authorize Authorizer) error {
	if len(cs.PeerCertificates) == 0 {
		return errNoCert
	}
	uuid, key, err := c.CA.Verify(cs.PeerCertificates[0])
	if err != nil {
		return err
	}
	if want != "" && uuid != want {
		return fmt.Errorf("reached node %s where %s was expected", uuid, want)
	}
	return authorize(uuid, key)
}

// PeerUUID is the member at the other end of a verified connection.
func PeerUUID(cs tls.ConnectionState) string {
	if len(cs.PeerCertificates) == 0 || len(cs.PeerCertificates[0].DNSNames) != 1 {
		return ""
	}
	return cs.PeerCertificates[0].DNSNames[0]
}

// ErrOtherCluster says that whoever answered at a token's address does not hold the CA the token names.
var ErrOtherCluster = errors.New("the node that answered belongs to another cluster than the token; nothing was sent to it")

// JoinClientConfig is the joiner's side: the server must show a chain to the CA that the token names before the secret is
// sent; the joiner shows a self-signed certificate with the key it wants to join with.
func JoinClientConfig(uuid string, key ed25519.PrivateKey, ca KeyHash) (*tls.Config, error) {
	cert, err := SelfSigned(uuid, key)
	if err != nil {
		return nil, err
	}
	return &tls.Config{
		MinVersion:         tls.VersionTLS13,
		Certificates:       []tls.Certificate{{Certificate: [][]byte{cert}, PrivateKey: key}},
		NextProtos:         []string{ProtoJoin},
		InsecureSkipVerify: true, // VerifyConnection does it, against the token
		VerifyConnection: func(cs tls.ConnectionState) error {
			_, err := CheckJoinServer(cs, ca)
			return err
		},
	}, nil
}

// CheckJoinServer returns the CA of the cluster that answered, if it is the one named by hash.
func CheckJoinServer(cs tls.ConnectionState, hash KeyHash) (*x509.Certificate, error) {
	if len(cs.PeerCertificates) != 2 || HashKey(cs.PeerCertificates[1]) != hash {
		return nil, ErrOtherCluster
	}
	ca := &CA{Cert: cs.PeerCertificates[1]}
	if _, _, err := ca.Verify(cs.PeerCertificates[0]); err != nil {
		return nil, fmt.Errorf("%w (%w)", ErrOtherCluster, err)
	}
	return ca.Cert, nil
}

// ProtoProbe is what a member speaks to a joiner's port, to see that the joiner can be reached there.
const ProtoProbe = "holdline-probe/1"

// ProbeConfig dials a joiner's port and makes sure that the key there is the one that asks to join.
func ProbeConfig(want KeyHash) *tls.Config {
	return &tls.Config{
		MinVersion:         tls.VersionTLS13,
		NextProtos:         []string{ProtoProbe},
		InsecureSkipVerify: true, // VerifyConnection does it
		VerifyConnection: func(cs tls.ConnectionState) error {
			if len(cs.PeerCertificates) == 0 || HashKey(cs.PeerCertificates[0]) != want {
				return errors.New("another node answers at that address")
			}
			return nil
		},
	}
}

// ProbedConfig is the joiner's side: it shows its self-signed certificate and accepts anybody.
func ProbedConfig(cert []byte, key ed25519.PrivateKey) *tls.Config {
	return &tls.Config{
		MinVersion:   tls.VersionTLS13,
		Certificates: []tls.Certificate{{Certificate: [][]byte{cert}, PrivateKey: key}},
		NextProtos:   []string{ProtoProbe},
	}
}
