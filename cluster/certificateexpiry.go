package cluster

import (
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"holdline/cluster/api"
	"holdline/fsm/pb"
)

// certificateWarn is how long before its end doctor warns of a certificate: time enough to get another.
const certificateWarn = 14 * 24 * time.Hour

var descExpiry = prometheus.NewDesc("holdline_certificate_expires_in_seconds", "Seconds until the certificate of the domain expires; below 0: it has.", []string{"domain"}, nil)

// collectCertificates shows how long the certificates of domains are still good. That needs no key, so none is opened for each scrape.
func (collector) collectCertificates(e *engine, ch chan<- prometheus.Metric) {
	e.machine.Config().Certificates(func(row *pb.Certificate) bool {
		if end, err := expiry(row); err == nil { // one that cannot be read is doctor's to tell
			ch <- prometheus.MustNewConstMetric(descExpiry, prometheus.GaugeValue, time.Until(end).Seconds(), row.Domain)
		}
		return true
	})
}

// expiry reads when the first certificate of the chain ends, which is the domain's own.
func expiry(row *pb.Certificate) (time.Time, error) {
	block, _ := pem.Decode(row.Chain)
	if block == nil {
		return time.Time{}, fmt.Errorf("read certificate of %s: it is no PEM", row.Domain)
	}
	leaf, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return time.Time{}, fmt.Errorf("read certificate of %s: %w", row.Domain, err)
	}
	return leaf.NotAfter, nil
}

// certificateChecks tells of each certificate that phones refuse or soon will, and of the others together.
func certificateChecks(all []api.Certificate, now time.Time) []api.Check {
	var out []api.Check
	good, next := 0, api.Certificate{}
	for _, x := range all {
		c := api.Check{Name: "certificate " + x.Domain, Advice: "get a new one, then: holdline certificate add " + x.Domain + " --cert FILE --key FILE"}
		switch left := x.Expires.Sub(now); {
		case !x.Expires.IsZero() && left <= 0:
			c.Result, c.Detail = api.CheckFail, fmt.Sprintf("expired on %s: phones refuse it", x.Expires.Format(time.DateOnly))
		case x.Problem != "":
			c.Result, c.Detail, c.Advice = api.CheckFail, x.Problem, "add it again: holdline certificate add "+x.Domain+" --cert FILE --key FILE"
		case left < certificateWarn:
			c.Result, c.Detail = api.CheckWarn, fmt.Sprintf("expires on %s, in %s", x.Expires.Format(time.DateOnly), countDays(left))
		default:
			if good++; good == 1 || x.Expires.Before(next.Expires) {
				next = x
			}
			continue
		}
		out = append(out, c)
	}
	if good > 0 {
		detail := fmt.Sprintf("%d good for %s or longer, the next to expire is that of %s, on %s", good, countDays(certificateWarn), next.Domain, next.Expires.Format(time.DateOnly))
		out = append(out, api.Check{Name: "certificates", Result: api.CheckOK, Detail: detail})
	}
	return out
}

func countDays(d time.Duration) string {
	switch days := int(d / (24 * time.Hour)); days {
	case 0:
		return "less than a day"
	case 1:
		return "1 day"
	default:
		return fmt.Sprintf("%d days", days)
	}
}
