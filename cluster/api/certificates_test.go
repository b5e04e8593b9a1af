package api

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"strings"
	"testing"
	"time"
)

func (r *recorder) ListCertificates(context.Context) ([]Certificate, error) {
	return nil, r.got("ListCertificates")
}

func (r *recorder) PutCertificate(_ context.Context, d string, q CertificateRequest) error {
	return r.got("PutCertificate", d, q)
}

func (r *recorder) RemoveCertificate(_ context.Context, d string) error {
	return r.got("RemoveCertificate", d)
}

func pemPair(t *testing.T, expires time.Time, names ...string) CertificateRequest {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tmpl := &x509.Certificate{SerialNumber: big.NewInt(1), DNSNames: names, NotAfter: expires}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	k, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	encode := func(kind string, b []byte) string {
		return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: b}))
	}
	return CertificateRequest{Chain: encode("CERTIFICATE", der), Key: encode("PRIVATE KEY", k)}
}

func TestCertificateValidate(t *testing.T) {
	now := time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)
	good, other := pemPair(t, now.Add(time.Hour), "*.example.com", "example.com"), pemPair(t, now.Add(time.Hour), "example.net")
	for name, c := range map[string]struct {
		r    CertificateRequest
		want string
	}{
		"good":          {good, ""},
		"key of others": {CertificateRequest{Chain: good.Chain, Key: other.Key}, "cannot be used"},
		"no PEM":        {CertificateRequest{Chain: "x", Key: "y"}, "cannot be used"},
		"expired":       {pemPair(t, now.Add(-time.Hour), "example.com"), "expired on 2029-12-31"},
		"other name":    {other, "is for [example.net], not for example.com"},
	} {
		err := c.r.Validate("example.com", now)
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
