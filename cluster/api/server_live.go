package api

import (
	"context"
	"net/http"
)

type callPath struct {
	Number uint64 `path:"number" doc:"of the call, as list-calls gives it"`
}

// liveOps are about what goes on now, and settings.
func (s *server) liveOps() {
	register(s, op{id: "list-calls", method: http.MethodGet, path: "/calls", summary: "Calls being set up or established"}, "live", nil,
		func(ctx context.Context, r *struct {
			Domain string `query:"domain" doc:"only those of this domain"`
			Limit  int    `query:"limit" doc:"at most so many; 0 = all" minimum:"0"`
		},
		) (*body[Calls], error) {
			c, err := s.b.ListCalls(ctx, CallFilter{Domain: r.Domain, Limit: r.Limit})
			if c.Calls == nil {
				c.Calls = []Call{}
			}
			return answer(c, err)
		})
	register(s, op{id: "end-call", method: http.MethodDelete, path: "/calls/{number}", summary: "End a call: BYE to both sides, or CANCEL and 487 if it is being set up, within about a second"}, "live", nil,
		func(ctx context.Context, r *callPath) (*none, error) { return done(s.b.EndCall(ctx, r.Number)) })
	register(s, op{id: "list-registrations", method: http.MethodGet, path: "/registrations", summary: "Registered contacts"}, "live", nil,
		func(ctx context.Context, r *struct {
			AoR    string `query:"aor" doc:"only those of this user@domain"`
			Domain string `query:"domain" doc:"only those of this domain"`
			Limit  int    `query:"limit" doc:"at most so many; 0 = all" minimum:"0"`
		},
		) (*body[Registrations], error) {
			f := RegistrationFilter{AoR: r.AoR, Domain: r.Domain, Limit: r.Limit}
			if f.AoR != "" {
				aor, _, _, err := ParseAoR(f.AoR)
				if err != nil {
					return nil, err
				}
				f.AoR = aor
			}
			g, err := s.b.ListRegistrations(ctx, f)
			if g.Registrations == nil {
				g.Registrations = []Registration{}
			}
			return answer(g, err)
		})
	register(s, op{id: "list-settings", method: http.MethodGet, path: "/settings", summary: "Settings with value, default and meaning"}, "settings", nil,
		func(ctx context.Context, _ *none) (*body[[]Setting], error) { return list(s.b.ListSettings(ctx)) })
	register(s, op{id: "set-setting", method: http.MethodPut, path: "/settings/{name}", summary: "Change a setting, cluster-wide"}, "settings", nil,
		func(ctx context.Context, r *struct {
			Name string `path:"name" maxLength:"128"`
			Body struct {
				Value string `json:"value" doc:"empty: back to the default" maxLength:"1024"`
			}
		},
		) (*none, error) {
			return done(s.b.SetSetting(ctx, r.Name, r.Body.Value))
		})
}
