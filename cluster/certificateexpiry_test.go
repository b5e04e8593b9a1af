package cluster

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"holdline/cluster/api"
)

// Doctor and the metrics tell when the certificates of domains expire.
func TestCertificateExpiry(t *testing.T) {
	const day = 24 * time.Hour
	l := newLab(t, 1)
	l.init()
	n := l.node(0)
	left := map[string]time.Duration{"long.example": 90 * day, "longer.example": 91 * day, "soon.example": 13*day + time.Hour, "gone.example": -time.Hour}
	for domain, d := range left {
		if err := n.AddDomain(t.Context(), api.Domain{Name: domain}); err != nil {
			t.Fatal(err)
		}
		if err := n.PutCertificate(t.Context(), domain, madeFor(t, domain, time.Now().Add(d))); err != nil {
			t.Fatal(err)
		}
	}

	checks, err := n.Doctor(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	said := map[string]api.Check{}
	for _, c := range checks {
		if strings.HasPrefix(c.Name, "certificate") {
			said[c.Name] = c
		}
	}
	for name, want := range map[string]struct{ result, detail string }{
		"certificates":             {api.CheckOK, "2 good for 14 days or longer, the next to expire is that of long.example, on "},
		"certificate soon.example": {api.CheckWarn, ", in 13 days"},
		"certificate gone.example": {api.CheckFail, "expired on "},
	} {
		if c := said[name]; c.Result != want.result || !strings.Contains(c.Detail, want.detail) {
			t.Errorf("%s: %+v, want %+v", name, c, want)
		}
	}
	if len(said) != 3 {
		t.Errorf("doctor says of certificates: %+v", said)
	}

	r := prometheus.NewPedanticRegistry()
	r.MustRegister(n)
	families, err := r.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() != "holdline_certificate_expires_in_seconds" {
			continue
		}
		for _, m := range f.GetMetric() {
			domain := m.GetLabel()[0].GetValue()
			if off := m.GetGauge().GetValue() - left[domain].Seconds(); off > 1 || off < -60 {
				t.Errorf("metric of %s is %v seconds off", domain, off)
			}
			delete(left, domain)
		}
	}
	if len(left) > 0 {
		t.Errorf("no metric of %v", left)
	}
}

// A certificate that cannot be used fails, whenever it expires.
func TestUselessCertificateFails(t *testing.T) {
	now := time.Now()
	checks := certificateChecks([]api.Certificate{{Domain: "a.example", Problem: "its key cannot be opened"}}, now)
	if len(checks) != 1 || checks[0].Result != api.CheckFail || checks[0].Detail != "its key cannot be opened" {
		t.Errorf("%+v", checks)
	}
	if checks := certificateChecks(nil, now); checks != nil {
		t.Errorf("without certificates: %+v", checks)
	}
}

func madeFor(t *testing.T, domain string, end time.Time) api.CertificateRequest {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: domain}, DNSNames: []string{domain},
		NotBefore: end.AddDate(-1, 0, 0), NotAfter: end,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	text := func(kind string, b []byte) string {
		return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: b}))
	}
	return api.CertificateRequest{Chain: text("CERTIFICATE", der), Key: text("PRIVATE KEY", raw)}
}
