package api

import (
	"context"
	"net/http"
)

type domainPath struct {
	Domain string `path:"domain" doc:"name of the domain" maxLength:"253"`
}

func (p *domainPath) canonical() (err error) {
	p.Domain, err = domainName("domain", p.Domain)
	return err
}

type aliasPath struct {
	Domain string `path:"domain" doc:"name of the domain" maxLength:"253"`
	Alias  string `path:"alias" doc:"other name or address of the domain" maxLength:"253"`
}

func (p *aliasPath) canonical() (err error) {
	if p.Domain, err = domainName("domain", p.Domain); err != nil {
		return err
	}
	p.Alias, err = domainName("alias", p.Alias)
	return err
}

type aorPath struct {
	AoR string `path:"aor" doc:"user@domain" maxLength:"400"`
}

func (p *aorPath) canonical() (err error) {
	p.AoR, _, _, err = ParseAoR(p.AoR)
	return err
}

type userChange struct {
	AoR  string `path:"aor" doc:"user@domain" maxLength:"400"`
	Body UserChange
}

func (r *userChange) canonical() (err error) {
	if r.AoR, _, _, err = ParseAoR(r.AoR); err != nil {
		return err
	}
	return r.Body.Validate()
}

// domainOps are about domains and their users.
func (s *server) domainOps() {
	const tag = "domains"
	register(s, op{id: "list-domains", method: http.MethodGet, path: "/domains", summary: "Domains and their aliases"}, tag, nil,
		func(ctx context.Context, _ *none) (*body[[]Domain], error) { return list(s.b.ListDomains(ctx)) })
	register(s, op{id: "add-domain", method: http.MethodPost, path: "/domains", summary: "Add a domain"}, tag,
		func(r *request[Domain]) error { return r.Body.Validate() },
		func(ctx context.Context, r *request[Domain]) (*none, error) { return done(s.b.AddDomain(ctx, r.Body)) })
	register(s, op{id: "remove-domain", method: http.MethodDelete, path: "/domains/{domain}", summary: "Remove a domain, its aliases and its certificate", details: "Refused while it has users or routes."}, tag,
		(*domainPath).canonical,
		func(ctx context.Context, r *domainPath) (*none, error) { return done(s.b.RemoveDomain(ctx, r.Domain)) })
	register(s, op{id: "add-alias", method: http.MethodPut, path: "/domains/{domain}/aliases/{alias}", summary: "Add another name of a domain"}, tag,
		(*aliasPath).canonical,
		func(ctx context.Context, r *aliasPath) (*none, error) {
			return done(s.b.AddAlias(ctx, r.Domain, r.Alias))
		})
	register(s, op{id: "remove-alias", method: http.MethodDelete, path: "/domains/{domain}/aliases/{alias}", summary: "Remove another name of a domain"}, tag,
		(*aliasPath).canonical,
		func(ctx context.Context, r *aliasPath) (*none, error) {
			return done(s.b.RemoveAlias(ctx, r.Domain, r.Alias))
		})

	register(s, op{id: "list-users", method: http.MethodGet, path: "/users", summary: "Users, without their secrets"}, tag, nil,
		func(ctx context.Context, r *struct {
			Domain string `query:"domain" doc:"only those of this domain"`
			Limit  int    `query:"limit" doc:"at most so many; 0 = all" minimum:"0"`
		},
		) (*body[[]User], error) {
			return list(s.b.ListUsers(ctx, UserFilter{Domain: r.Domain, Limit: r.Limit}))
		})
	register(s, op{id: "add-user", method: http.MethodPost, path: "/users", summary: "Add a user"}, tag,
		func(r *request[UserRequest]) error { return r.Body.Validate() },
		func(ctx context.Context, r *request[UserRequest]) (*none, error) {
			return done(s.b.AddUser(ctx, r.Body))
		})
	register(s, op{id: "set-password", method: http.MethodPut, path: "/users", summary: "Change a user's password"}, tag,
		func(r *request[UserRequest]) error {
			if err := r.Body.Validate(); err != nil {
				return err
			}
			return r.Body.onlyPassword()
		},
		func(ctx context.Context, r *request[UserRequest]) (*none, error) {
			return done(s.b.SetPassword(ctx, r.Body))
		})
	register(s, op{id: "change-user", method: http.MethodPatch, path: "/users/{aor}", summary: "Change a user's aliases, which of his names gateways are told, or how many calls he may make at once"}, tag,
		(*userChange).canonical,
		func(ctx context.Context, r *userChange) (*none, error) {
			return done(s.b.ChangeUser(ctx, r.AoR, r.Body))
		})
	register(s, op{id: "remove-user", method: http.MethodDelete, path: "/users/{aor}", summary: "Remove a user"}, tag,
		(*aorPath).canonical,
		func(ctx context.Context, r *aorPath) (*none, error) { return done(s.b.RemoveUser(ctx, r.AoR)) })
}
