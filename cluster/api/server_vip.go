package api

import (
	"context"
	"net/http"
)

type groupPath struct {
	Group string `path:"group" doc:"the group's name, number or one of its addresses" maxLength:"128"`
}

// vipOps are about VIP groups and who owns them.
func (s *server) vipOps() {
	const tag = "vip"
	register(s, op{id: "list-vips", method: http.MethodGet, path: "/vips", summary: "VIP groups and their owners"}, tag, nil,
		func(ctx context.Context, _ *none) (*body[[]Group], error) { return list(s.b.ListVIPs(ctx)) })
	register(s, op{
		id: "add-vip", method: http.MethodPost, path: "/vips", summary: "Add a VIP group", timeout: moveTime,
		details: "Refused when a machine outside the cluster answers for one of its addresses.",
	}, tag, func(r *request[GroupSpec]) error { return r.Body.Validate() },
		func(ctx context.Context, r *request[GroupSpec]) (*body[Group], error) {
			return answer(s.b.AddVIP(ctx, r.Body))
		})
	register(s, op{
		id: "remove-vip", method: http.MethodDelete, path: "/vips/{group}", summary: "Remove a VIP group that carries no calls", timeout: moveTime,
		details: "Refused while calls hang off it, while a pool member is called through it, and for the only group.",
	}, tag, nil,
		func(ctx context.Context, r *groupPath) (*none, error) { return done(s.b.RemoveVIP(ctx, r.Group)) })
	register(s, op{
		id: "move-vip", method: http.MethodPost, path: "/vips/{group}/move", summary: "Hand a VIP group to another node", timeout: moveTime,
		details: "Answers when the new owner serves it.",
	}, tag, nil, func(ctx context.Context, r *struct {
		Group string `path:"group" doc:"the group's name, number or one of its addresses" maxLength:"128"`
		Body  MoveRequest
	},
	) (*body[Group], error) {
		return answer(s.b.MoveVIP(ctx, r.Group, r.Body))
	})
}
