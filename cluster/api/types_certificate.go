package api

import (
	"crypto/tls"
	"crypto/x509"
	"time"
)

// Certificate is what SIP over TLS and secure WebSockets show for a domain. The key is never shown.
type Certificate struct {
	Domain  string    `json:"domain" example:"example.com"`
	Names   []string  `json:"names" doc:"names and addresses that the certificate holds"`
	Issuer  string    `json:"issuer"`
	Expires time.Time `json:"expires"`
	Problem string    `json:"problem,omitempty" doc:"why it is of no use on this node"`
}

// CertificateRequest sets the certificate of a domain, for new connections at once.
type CertificateRequest struct {
	Chain string `json:"chain" doc:"PEM: the certificate, then those that lead to a root" maxLength:"49152"`
	Key   string `json:"key" doc:"PEM: its private key; stored sealed" maxLength:"16384"`
}

// Validate checks that certificate and key belong together and have not expired, and that they are for domain.
func (r *CertificateRequest) Validate(domain string, now time.Time) error {
	pair, err := tls.X509KeyPair([]byte(r.Chain), []byte(r.Key))
	if err != nil {
		return Errorf(CodeInvalid, "certificate and key of %s cannot be used: %w: give the PEM files of a certificate and of its own key, without a password", domain, err)
	}
	leaf, err := x509.ParseCertificate(pair.Certificate[0])
	if err != nil {
		return Errorf(CodeInvalid, "the certificate of %s cannot be read: %w", domain, err)
	}
	switch {
	case now.After(leaf.NotAfter):
		return Errorf(CodeInvalid, "the certificate of %s expired on %s: get a new one", domain, leaf.NotAfter.Format(time.DateOnly))
	case leaf.VerifyHostname(domain) != nil:
		return Errorf(CodeInvalid, "the certificate is for %v, not for %s: phones would refuse it", CertificateNames(leaf), domain)
	}
	return nil
}

// CertificateNames are the names and addresses that a certificate holds.
func CertificateNames(leaf *x509.Certificate) []string {
	names := append([]string{}, leaf.DNSNames...)
	for _, ip := range leaf.IPAddresses {
		names = append(names, ip.String())
	}
	return names
}
