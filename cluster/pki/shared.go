package pki

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/hkdf"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"math/big"
	"net"
	"slices"
	"strings"
	"time"
)

// Derive makes a key for a purpose from the cluster key (RFC 5869): the same on every member.
func Derive(clusterKey []byte, purpose string) (key [32]byte, err error) {
	b, err := hkdf.Key(sha256.New, clusterKey, nil, "holdline "+purpose, len(key))
	if err != nil {
		return key, fmt.Errorf("derive key for %s: %w", purpose, err)
	}
	copy(key[:], b)
	return key, nil
}

// maxSharedNames bounds the shared certificate; a handshake carries it.
const maxSharedNames = 100

// SharedCertificate makes the self-signed certificate that a cluster shows while none is configured. Key and certificate follow
// from their arguments alone: every member makes the same, so a phone that trusts it finds it again after a takeover.
func SharedCertificate(clusterKey []byte, cluster string, names []string) (*tls.Certificate, error) {
	key, err := sharedKey(clusterKey)
	if err != nil {
		return nil, err
	}
	names = slices.Compact(slices.Sorted(slices.Values(names)))
	names = names[:min(len(names), maxSharedNames)]
	serial := sha256.Sum256([]byte(cluster + "\x00" + strings.Join(names, "\x00")))
	template := &x509.Certificate{
		SerialNumber: new(big.Int).SetBytes(serial[:15]),
		Subject:      pkix.Name{CommonName: "holdline cluster " + cluster},
		NotBefore:    notBefore,
		NotAfter:     time.Date(2049, 12, 31, 23, 59, 59, 0, time.UTC),
		KeyUsage:     x509.KeyUsageDigitalSignature,
		ExtKeyUsage:  []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	for _, n := range names {
		if ip := net.ParseIP(n); ip != nil {
			template.IPAddresses = append(template.IPAddresses, ip)
		} else {
			template.DNSNames = append(template.DNSNames, n)
		}
	}
	// Without a source of randomness the signature is deterministic (RFC 6979).
	der, err := x509.CreateCertificate(nil, template, template, key.Public(), key)
	if err != nil {
		return nil, fmt.Errorf("make the cluster's own SIP certificate: %w", err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, fmt.Errorf("make the cluster's own SIP certificate: %w", err)
	}
	return &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}, nil
}

func sharedKey(clusterKey []byte) (*ecdsa.PrivateKey, error) {
	var last error
	for try := range 4 { // a derived number is no key with a chance of 2^-32
		d, err := Derive(clusterKey, fmt.Sprintf("sip certificate %d", try))
		if err != nil {
			return nil, err
		}
		key, err := ecdsa.ParseRawPrivateKey(elliptic.P256(), d[:])
		if err == nil {
			return key, nil
		}
		last = err
	}
	return nil, fmt.Errorf("make the cluster's own SIP certificate: %w", last)
}
