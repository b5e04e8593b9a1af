package pki

import (
	"crypto"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"time"
)

// KeyHash is the SHA-256 of a SubjectPublicKeyInfo: how a node's key, or the CA's, is named.
type KeyHash [sha256.Size]byte

// Validity that means "not limited in time" (RFC 5280 §4.1.2.5).
var (
	notBefore = time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)
	notAfter  = time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC)
)

// CA issues node certificates. The certificate alone (Key nil) is enough to verify them.
type CA struct {
	Cert *x509.Certificate
	Key  ed25519.PrivateKey
}

// NewCA makes a cluster CA with a new key.
func NewCA(clusterID string) (*CA, error) {
	public, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("make CA key: %w", err)
	}
	template := &x509.Certificate{
		SerialNumber:          big.NewInt(1),
		Subject:               pkix.Name{CommonName: "holdline cluster " + clusterID},
		NotBefore:             notBefore,
		NotAfter:              notAfter,
		IsCA:                  true,
		BasicConstraintsValid: true,
		MaxPathLenZero:        true,
		KeyUsage:              x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, public, key)
	if err != nil {
		return nil, fmt.Errorf("make CA certificate: %w", err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, fmt.Errorf("make CA certificate: %w", err)
	}
	return &CA{Cert: cert, Key: key}, nil
}

// Issue makes the certificate of a node: its UUID as the one DNS name, its public key.
func (ca *CA) Issue(uuid string, public crypto.PublicKey) ([]byte, error) {
	if ca.Key == nil {
		return nil, errors.New("issue node certificate: the CA key is not on this node yet; try again when it has caught up")
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil {
		return nil, fmt.Errorf("issue node certificate: %w", err)
	}
	template := &x509.Certificate{
		SerialNumber: serial,
		Subject:      pkix.Name{CommonName: uuid},
		DNSNames:     []string{uuid},
		NotBefore:    notBefore,
		NotAfter:     notAfter,
		KeyUsage:     x509.KeyUsageDigitalSignature,
		ExtKeyUsage:  []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, ca.Cert, public, ca.Key)
	if err != nil {
		return nil, fmt.Errorf("issue node certificate: %w", err)
	}
	return der, nil
}

// Verify checks that leaf is a node certificate of this CA and returns the UUID and key it speaks for. Time is not looked at.
func (ca *CA) Verify(leaf *x509.Certificate) (uuid string, key KeyHash, err error) {
	if err := leaf.CheckSignatureFrom(ca.Cert); err != nil {
		return "", key, fmt.Errorf("certificate of another cluster: %w", err)
	}
	if leaf.IsCA || len(leaf.DNSNames) != 1 {
		return "", key, errors.New("not a node certificate")
	}
	return leaf.DNSNames[0], HashKey(leaf), nil
}

// Hash names the CA's public key; join tokens carry it.
func (ca *CA) Hash() KeyHash { return HashKey(ca.Cert) }

// HashKey names the public key of a certificate.
func HashKey(cert *x509.Certificate) KeyHash { return sha256.Sum256(cert.RawSubjectPublicKeyInfo) }

// HashPublic names a public key.
func HashPublic(public crypto.PublicKey) (KeyHash, error) {
	der, err := x509.MarshalPKIXPublicKey(public)
	if err != nil {
		return KeyHash{}, fmt.Errorf("encode public key: %w", err)
	}
	return sha256.Sum256(der), nil
}

// NewKey makes a node's private key.
func NewKey() (ed25519.PrivateKey, error) {
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("make node key: %w", err)
	}
	return key, nil
}

// SelfSigned is the certificate a node without membership shows while joining: it proves possession of the key, nothing else.
func SelfSigned(uuid string, key ed25519.PrivateKey) ([]byte, error) {
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1),
		Subject:      pkix.Name{CommonName: uuid},
		DNSNames:     []string{uuid},
		NotBefore:    notBefore,
		NotAfter:     notAfter,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, fmt.Errorf("make joining certificate: %w", err)
	}
	return der, nil
}

// EncodeKey writes a private key as PEM.
func EncodeKey(key ed25519.PrivateKey) ([]byte, error) {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, fmt.Errorf("encode private key: %w", err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), nil
}

// DecodeKey reads what EncodeKey wrote.
func DecodeKey(text []byte) (ed25519.PrivateKey, error) {
	block, _ := pem.Decode(text)
	if block == nil {
		return nil, errors.New("read private key: not PEM")
	}
	parsed, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("read private key: %w", err)
	}
	key, ok := parsed.(ed25519.PrivateKey)
	if !ok {
		return nil, errors.New("read private key: not an Ed25519 key")
	}
	return key, nil
}

// EncodeCert writes a certificate as PEM.
func EncodeCert(der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}

// DecodeCert reads what EncodeCert wrote.
func DecodeCert(text []byte) (*x509.Certificate, error) {
	block, _ := pem.Decode(text)
	if block == nil {
		return nil, errors.New("read certificate: not PEM")
	}
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("read certificate: %w", err)
	}
	return cert, nil
}
