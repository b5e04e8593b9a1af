package fsm

import (
	"google.golang.org/protobuf/proto"

	"holdline/fsm/pb"
)

const (
	maxCertificates    = 1024
	maxCertificateSize = 64 << 10 // chain and key together
)

// putCertificate sets the certificate of a domain. What it is worth has been judged before: certificates go by wall time, which
// decides nothing here.
func (x *exec) putCertificate(in *pb.Certificate) *pb.Result {
	c := &x.st.conf
	name := CanonicalHost(in.GetDomain())
	if _, found := c.domains.get(name); !found {
		return c.noDomain(name)
	}
	switch {
	case len(in.Chain) == 0 || len(in.SealedKey) == 0:
		return rejected("the certificate of %s lacks its chain or its key", name)
	case len(in.Chain)+len(in.SealedKey) > maxCertificateSize:
		return fail(pb.Code_LIMIT, "the certificate of %s is longer than %d bytes with its key", name, maxCertificateSize)
	}
	row := proto.Clone(in).(*pb.Certificate)
	row.Domain = name
	old := c.certificates[name]
	switch {
	case old == nil && len(c.certificates) >= maxCertificates:
		return fail(pb.Code_LIMIT, "there are %d certificates already", maxCertificates)
	case old != nil && proto.Equal(old, row):
		return again(0)
	}
	c.certificates = with(c.certificates, name, row, false)
	c.changed()
	return &pb.Result{Existing: old != nil}
}

func (x *exec) removeCertificate(r *pb.RemoveCertificate) *pb.Result {
	c := &x.st.conf
	name := CanonicalHost(r.GetDomain())
	if c.certificates[name] == nil {
		return notFound("domain %s has no certificate", name)
	}
	c.certificates = with(c.certificates, name, nil, true)
	c.changed()
	return ok()
}

// Certificates calls fn for the certificate of each domain that has one, by name, until it returns false.
func (c *Config) Certificates(fn func(*pb.Certificate) bool) {
	for _, name := range sortedKeys(c.certificates) {
		if !fn(c.certificates[name]) {
			return
		}
	}
}
