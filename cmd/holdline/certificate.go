package main

import (
	"context"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"holdline/cluster/api"
)

func (a *app) certificateCmd() *cobra.Command {
	return noun("certificate", "Certificates of domains, for SIP over TLS and secure WebSockets",
		a.certificateAddCmd(), a.certificateRemoveCmd(), a.certificateListCmd())
}

func (a *app) certificateAddCmd() *cobra.Command {
	var cert, key string
	c := &cobra.Command{
		Use: "add DOMAIN --cert FILE --key FILE", Short: "Set the certificate of a domain, or replace it",
		Long: `Sets the certificate that SIP over TLS (port 5061) and secure WebSockets show for a domain, its aliases and all other names
in the certificate. Every node shows it to new connections at once; connections that exist go on. The private key is stored sealed.
Domains without a certificate show one that the cluster has made and signed itself.`,
		Example: "  holdline certificate add example.com --cert fullchain.pem --key privkey.pem",
		Args:    needs("DOMAIN"), ValidArgsFunction: a.complete(domainNames),
	}
	c.Flags().StringVar(&cert, "cert", "", "PEM file: the certificate, then those that lead to a root")
	c.Flags().StringVar(&key, "key", "", "PEM file: its private key, without a password")
	c.RunE = func(c *cobra.Command, args []string) error {
		if err := required(c, "cert", "key"); err != nil {
			return err
		}
		d := api.Domain{Name: args[0]}
		if err := d.Validate(); err != nil {
			return err
		}
		var r api.CertificateRequest
		for _, f := range []struct {
			name string
			to   *string
		}{{cert, &r.Chain}, {key, &r.Key}} {
			text, err := os.ReadFile(f.name)
			if err != nil {
				return fmt.Errorf("reading the certificate of %s: %w", d.Name, err)
			}
			*f.to = string(text)
		}
		if err := r.Validate(d.Name, time.Now()); err != nil {
			return err
		}
		return a.with(c, func(ctx context.Context, cl *api.Client) error {
			if err := cl.PutCertificate(ctx, d.Name, r); err != nil {
				return err
			}
			return a.say("certificate of %s set", d.Name)
		})
	}
	return c
}

func (a *app) certificateRemoveCmd() *cobra.Command {
	return &cobra.Command{
		Use: "remove DOMAIN", Short: "Remove the certificate of a domain",
		Args: needs("DOMAIN"), ValidArgsFunction: a.complete(domainNames),
		RunE: func(c *cobra.Command, args []string) error {
			return a.with(c, func(ctx context.Context, cl *api.Client) error {
				if err := cl.RemoveCertificate(ctx, args[0]); err != nil {
					return err
				}
				return a.say("certificate of %s removed", args[0])
			})
		},
	}
}

func (a *app) certificateListCmd() *cobra.Command {
	c := &cobra.Command{Use: "list", Short: "List the certificates", Args: needs()}
	asJSON := jsonFlag(c)
	c.RunE = func(c *cobra.Command, _ []string) error {
		return a.with(c, func(ctx context.Context, cl *api.Client) error {
			list, err := cl.ListCertificates(ctx)
			if err != nil {
				return err
			}
			return a.print(*asJSON, list, func() error {
				t := newTable("DOMAIN", "NAMES", "ISSUER", "EXPIRES", "PROBLEM")
				for _, x := range list {
					t.row(x.Domain, orDash(strings.Join(x.Names, " ")), orDash(x.Issuer), x.Expires.Format(time.DateOnly), orDash(x.Problem))
				}
				return t.write(a.out)
			})
		})
	}
	return c
}
