package api

import (
	"context"
	"net/http"
)

type poolPath struct {
	Pool string `path:"pool" doc:"name of the pool" maxLength:"63"`
}

type memberRequest struct {
	Pool string `path:"pool" doc:"name of the pool" maxLength:"63"`
	Body Member
}

// gatewayOps are about pools, their members and the routes to them.
func (s *server) gatewayOps() {
	const tag = "gateways"
	register(s, op{id: "list-pools", method: http.MethodGet, path: "/pools", summary: "Pools with their members"}, tag, nil,
		func(ctx context.Context, _ *none) (*body[[]Pool], error) { return list(s.b.ListPools(ctx)) })
	register(s, op{id: "add-pool", method: http.MethodPost, path: "/pools", summary: "Add an empty pool"}, tag,
		func(r *request[Pool]) error {
			if len(r.Body.Members) > 0 {
				return Errorf(CodeInvalid, "a new pool has no members: add them one by one")
			}
			return r.Body.Validate()
		},
		func(ctx context.Context, r *request[Pool]) (*none, error) { return done(s.b.AddPool(ctx, r.Body)) })
	register(s, op{id: "remove-pool", method: http.MethodDelete, path: "/pools/{pool}", summary: "Remove a pool that no route names"}, tag, nil,
		func(ctx context.Context, r *poolPath) (*none, error) { return done(s.b.RemovePool(ctx, r.Pool)) })
	register(s, op{id: "add-member", method: http.MethodPost, path: "/pools/{pool}/members", summary: "Add a gateway to a pool"}, tag,
		func(r *memberRequest) error { return r.Body.ValidateNew() },
		func(ctx context.Context, r *memberRequest) (*none, error) {
			return done(s.b.AddMember(ctx, r.Pool, r.Body))
		})
	register(s, op{id: "set-member", method: http.MethodPatch, path: "/pools/{pool}/members/{member}", summary: "Change a gateway of a pool; calls that it has go on"}, tag,
		func(r *memberChange) error { return r.Body.Validate() },
		func(ctx context.Context, r *memberChange) (*none, error) {
			return done(s.b.SetMember(ctx, r.Pool, r.Member, r.Body))
		})
	register(s, op{id: "remove-member", method: http.MethodDelete, path: "/pools/{pool}/members/{member}", summary: "Remove a gateway from a pool"}, tag, nil,
		func(ctx context.Context, r *struct {
			Pool   string `path:"pool" doc:"name of the pool" maxLength:"63"`
			Member string `path:"member" doc:"name of the member" maxLength:"63"`
		},
		) (*none, error) {
			return done(s.b.RemoveMember(ctx, r.Pool, r.Member))
		})

	register(s, op{id: "list-routes", method: http.MethodGet, path: "/routes", summary: "Routes of all domains"}, tag, nil,
		func(ctx context.Context, _ *none) (*body[[]Route], error) { return list(s.b.ListRoutes(ctx)) })
	register(s, op{id: "add-route", method: http.MethodPost, path: "/routes", summary: "Send calls of a domain to a pool"}, tag,
		func(r *request[Route]) error { return r.Body.Validate() },
		func(ctx context.Context, r *request[Route]) (*none, error) { return done(s.b.AddRoute(ctx, r.Body)) })
	register(s, op{id: "remove-route", method: http.MethodDelete, path: "/routes", summary: "Remove a route"}, tag,
		(*routeQuery).canonical,
		func(ctx context.Context, r *routeQuery) (*none, error) {
			return done(s.b.RemoveRoute(ctx, r.Domain, r.Prefix))
		})
}

type memberChange struct {
	Pool   string `path:"pool" doc:"name of the pool" maxLength:"63"`
	Member string `path:"member" doc:"name of the member" maxLength:"63"`
	Body   MemberChange
}

// routeQuery names a route. In the query, not in the path: a prefix may be empty.
type routeQuery struct {
	Domain string `query:"domain" required:"true" doc:"name of the domain"`
	Prefix string `query:"prefix" doc:"the route's prefix; may be empty"`
}

func (q *routeQuery) canonical() (err error) {
	q.Domain, err = domainName("domain", q.Domain)
	return err
}
