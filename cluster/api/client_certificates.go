package api

import (
	"context"
	"net/http"
)

// ListCertificates implements Backend.
func (c *Client) ListCertificates(ctx context.Context) ([]Certificate, error) {
	return get[[]Certificate](ctx, c, "/v1/certificates", nil)
}

// PutCertificate implements Backend.
func (c *Client) PutCertificate(ctx context.Context, domain string, r CertificateRequest) error {
	return c.do(ctx, call{method: http.MethodPut, path: "/v1/certificates/" + seg(domain), in: r})
}

// RemoveCertificate implements Backend.
func (c *Client) RemoveCertificate(ctx context.Context, domain string) error {
	return c.do(ctx, call{method: http.MethodDelete, path: "/v1/certificates/" + seg(domain)})
}
