package api

import (
	"context"
	"net/http"
	"net/netip"
)

// refusedOps are about what the node itself has refused.
func (s *server) refusedOps() {
	register(s, op{
		id: "list-refused", method: http.MethodGet, path: "/refused", summary: "Requests that this node has refused lately",
		details: "Only those that the node that is asked refused itself, since its daemon was started: the last 1000, in memory. Not among them are ordinary challenges, and calls that are on record: their CDRs tell.",
	}, "live", nil,
		func(ctx context.Context, r *struct {
			AoR    string `query:"aor" doc:"only those that name this user@domain: in From, To or the Request-URI"`
			From   string `query:"from" doc:"only those from this address or network"`
			CallID string `query:"call_id" doc:"only those with this Call-ID"`
			Limit  int    `query:"limit" doc:"at most so many, the newest; 0 = all" minimum:"0"`
		},
		) (*body[Refused], error) {
			f := RefusalFilter{AoR: r.AoR, From: r.From, CallID: r.CallID, Limit: r.Limit}
			if f.AoR != "" {
				aor, _, _, err := ParseAoR(f.AoR)
				if err != nil {
					return nil, err
				}
				f.AoR = aor
			}
			if f.From != "" {
				p, err := ParseSource(f.From)
				if err != nil {
					return nil, err
				}
				f.From = p.String()
			}
			g, err := s.b.ListRefused(ctx, f)
			if g.Refused == nil {
				g.Refused = []Refusal{}
			}
			return answer(g, err)
		})
}

// ParseSource reads an address or a network that requests come from.
func ParseSource(s string) (netip.Prefix, error) {
	if a, err := netip.ParseAddr(s); err == nil && a.Zone() == "" {
		a = a.Unmap()
		return netip.PrefixFrom(a, a.BitLen()), nil
	}
	p, err := netip.ParsePrefix(s)
	if err != nil {
		return p, Errorf(CodeInvalid, "%q is neither an address nor a network: write it as 10.77.0.31 or 10.77.0.0/24", s)
	}
	return p.Masked(), nil
}
