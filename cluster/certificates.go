package cluster

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"time"

	"holdline/cluster/api"
	"holdline/cluster/pki"
	"holdline/fsm"
	"holdline/fsm/pb"
	"holdline/sipcore/transport"
)

// certificatePurpose binds a sealed key to its domain.
func certificatePurpose(domain string) string { return "certificate/" + domain }

// ListCertificates implements api.Backend.
func (n *Node) ListCertificates(context.Context) ([]api.Certificate, error) {
	e, err := n.member()
	if err != nil {
		return nil, err
	}
	out := []api.Certificate{}
	e.machine.Config().Certificates(func(row *pb.Certificate) bool {
		c := api.Certificate{Domain: row.Domain}
		pair, err := e.openCertificate(row)
		switch {
		case err != nil:
			c.Problem = err.Error()
		default:
			c.Names, c.Issuer, c.Expires = api.CertificateNames(pair.Leaf), pair.Leaf.Issuer.String(), pair.Leaf.NotAfter
			if time.Now().After(c.Expires) {
				c.Problem = "it has expired"
			}
		}
		out = append(out, c)
		return true
	})
	return out, nil
}

// PutCertificate implements api.Backend. The key leaves this function sealed.
func (n *Node) PutCertificate(ctx context.Context, domain string, r api.CertificateRequest) error {
	e, err := n.member()
	if err != nil {
		return err
	}
	name := fsm.CanonicalHost(domain)
	sealed, err := pki.Seal(e.clusterKey, certificatePurpose(name), []byte(r.Key))
	if err != nil {
		return err
	}
	row := &pb.Certificate{Domain: name, Chain: []byte(r.Chain), SealedKey: sealed}
	return e.write(ctx, &pb.Command{Op: &pb.Command_PutCertificate{PutCertificate: &pb.PutCertificate{Certificate: row}}})
}

// RemoveCertificate implements api.Backend.
func (n *Node) RemoveCertificate(ctx context.Context, domain string) error {
	return n.do(ctx, &pb.Command{Op: &pb.Command_RemoveCertificate{RemoveCertificate: &pb.RemoveCertificate{Domain: domain}}})
}

// openCertificate makes a row into what TLS can show.
func (e *engine) openCertificate(row *pb.Certificate) (*tls.Certificate, error) {
	key, err := pki.Unseal(e.clusterKey, certificatePurpose(row.Domain), row.SealedKey)
	if err != nil {
		return nil, err
	}
	pair, err := tls.X509KeyPair(row.Chain, key)
	if err != nil {
		return nil, fmt.Errorf("read certificate of %s: %w", row.Domain, err)
	}
	if pair.Leaf == nil {
		if pair.Leaf, err = x509.ParseCertificate(pair.Certificate[0]); err != nil {
			return nil, fmt.Errorf("read certificate of %s: %w", row.Domain, err)
		}
	}
	return &pair, nil
}

// showCertificates hands the SIP core what TLS shows by the configuration: the certificates of domains, by all names that they
// hold and all that the domains have, and for other names one that the cluster makes itself.
func (e *engine) showCertificates(cfg *fsm.Config) {
	served := servedNames(cfg)
	sum := sha256.New()
	fmt.Fprintf(sum, "%q", served)
	cfg.Certificates(func(row *pb.Certificate) bool {
		fmt.Fprintf(sum, "%q%q%q", row.Domain, row.Chain, row.SealedKey)
		return true
	})
	var from [sha256.Size]byte
	if sum.Sum(from[:0]); from == e.vips.shown {
		return
	}
	e.vips.shown = from
	var held, own []transport.NamedCertificate
	cfg.Certificates(func(row *pb.Certificate) bool {
		pair, err := e.openCertificate(row)
		if err != nil {
			e.logger.Error("certificate cannot be used; add it again with holdline certificate add", "domain", row.Domain, "err", err)
			return true
		}
		held = append(held, transport.NamedCertificate{Names: api.CertificateNames(pair.Leaf), Certificate: pair})
		names := []string{row.Domain}
		if d := cfg.Domain(row.Domain); d != nil {
			names = append(names, d.Aliases...)
		}
		own = append(own, transport.NamedCertificate{Names: names, Certificate: pair})
		return true
	})
	self, err := pki.SharedCertificate(e.clusterKey, e.Cluster, served)
	if err != nil {
		e.logger.Error("SIP over TLS has no certificate of the cluster's own", "err", err)
	}
	e.vips.certificates.Set(append(held, own...), self)
}

// servedNames are the names and addresses that phones may reach this cluster by.
func servedNames(cfg *fsm.Config) []string {
	var names []string
	for _, g := range coreGroups(cfg) {
		for _, v := range g.VIPs {
			names = append(names, v.Addr.String())
			if v.Advertise != "" {
				names = append(names, v.Advertise)
			}
		}
	}
	cfg.Domains(func(d *pb.Domain) bool {
		names = append(append(names, d.Name), d.Aliases...)
		return true
	})
	return names
}

const ticketDay = int64(24 * time.Hour / time.Millisecond)

// rotateTickets gives TLS its session ticket keys. They follow from the cluster's key and the day by cluster time, so that a
// phone resumes its session at whichever node owns the VIP.
func (e *engine) rotateTickets() {
	today := e.machine.Now() / ticketDay
	keys := make([][32]byte, 0, 3)
	for _, day := range []int64{today, today - 1, today + 1} {
		key, err := pki.Derive(e.clusterKey, fmt.Sprintf("sip session tickets %d", day))
		if err != nil {
			e.logger.Error("TLS sessions will not be resumed at other nodes", "err", err)
			return
		}
		keys = append(keys, key)
	}
	e.vips.certificates.SetTicketKeys(keys)
}
