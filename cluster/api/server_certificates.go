package api

import (
	"context"
	"net/http"
	"time"
)

type certificateRequest struct {
	Domain string `path:"domain" doc:"name of the domain" maxLength:"253"`
	Body   CertificateRequest
}

// certificateOps are about the certificates of domains.
func (s *server) certificateOps() {
	const tag = "domains"
	register(s, op{id: "list-certificates", method: http.MethodGet, path: "/certificates", summary: "Certificates of domains, without their keys"}, tag, nil,
		func(ctx context.Context, _ *none) (*body[[]Certificate], error) {
			return list(s.b.ListCertificates(ctx))
		})
	register(s, op{id: "put-certificate", method: http.MethodPut, path: "/certificates/{domain}", summary: "Set the certificate of a domain"}, tag,
		func(r *certificateRequest) error {
			var err error
			if r.Domain, err = domainName("domain", r.Domain); err != nil {
				return err
			}
			return r.Body.Validate(r.Domain, time.Now())
		},
		func(ctx context.Context, r *certificateRequest) (*none, error) {
			return done(s.b.PutCertificate(ctx, r.Domain, r.Body))
		})
	register(s, op{id: "remove-certificate", method: http.MethodDelete, path: "/certificates/{domain}", summary: "Remove the certificate of a domain"}, tag,
		(*domainPath).canonical,
		func(ctx context.Context, r *domainPath) (*none, error) {
			return done(s.b.RemoveCertificate(ctx, r.Domain))
		})
}
