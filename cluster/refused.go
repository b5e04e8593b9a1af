package cluster

import (
	"context"
	"net/netip"
	"strings"

	"holdline/cluster/api"
	"holdline/fsm"
	"holdline/sipcore"
	"holdline/sipcore/wire"
)

// ListRefused implements api.Backend.
func (n *Node) ListRefused(_ context.Context, f api.RefusalFilter) (api.Refused, error) {
	e, err := n.member()
	if err != nil {
		return api.Refused{}, err
	}
	var all []sipcore.Refusal
	var leftOut uint64
	if core := e.vips.core.Load(); core != nil {
		all, leftOut = core.Refusals()
	}
	return refusedOf(e.machine.Config(), f, all, leftOut)
}

// refusedOf picks of all what is asked for.
func refusedOf(cfg *fsm.Config, f api.RefusalFilter, all []sipcore.Refusal, leftOut uint64) (api.Refused, error) {
	match, err := refusalMatcher(cfg, f)
	if err != nil {
		return api.Refused{}, err
	}
	out := api.Refused{LeftOut: leftOut, Refused: []api.Refusal{}}
	for i := range all {
		if match(&all[i]) {
			out.Refused = append(out.Refused, refusalRow(&all[i]))
		}
	}
	out.Total = len(out.Refused)
	if f.Limit > 0 && out.Total > f.Limit {
		out.Refused = out.Refused[out.Total-f.Limit:]
	}
	return out, nil
}

// refusalMatcher tells which refusals are asked for. A user is known by his and his domain's aliases as well, as phones and carriers write them.
func refusalMatcher(cfg *fsm.Config, f api.RefusalFilter) (func(*sipcore.Refusal) bool, error) {
	var from netip.Prefix
	if f.From != "" {
		var err error
		if from, err = api.ParseSource(f.From); err != nil {
			return nil, err
		}
	}
	aor := ""
	if f.AoR != "" {
		user, host, _ := strings.Cut(f.AoR, "@")
		aor = ownAoR(cfg, user, host)
	}
	return func(x *sipcore.Refusal) bool {
		return (f.From == "" || from.Contains(x.Source.Addr())) &&
			(f.CallID == "" || x.HasCallID(f.CallID)) &&
			(aor == "" || aor == aorOf(cfg, x.From) || aor == aorOf(cfg, x.To) || aor == aorOf(cfg, x.URI))
	}, nil
}

// aorOf is the user@domain that a URI names, "" when it names none.
func aorOf(cfg *fsm.Config, uri string) string {
	u, err := wire.ParseURI([]byte(uri))
	if err != nil || !u.HasUser {
		return ""
	}
	return ownAoR(cfg, string(wire.AppendUnescaped(nil, u.User)), string(u.Host))
}

// ownAoR is the AoR of the user whom user@host names, or that itself, with the domain's name.
func ownAoR(cfg *fsm.Config, user, host string) string {
	aor := user + "@" + ownName(cfg, host)
	if u := cfg.UserNamed(aor); u != nil {
		return u.AoR
	}
	return aor
}

// ownName is the name of the domain that a host stands for, or the host itself.
func ownName(cfg *fsm.Config, host string) string {
	host = fsm.CanonicalHost(host)
	if d := cfg.Domain(host); d != nil {
		return d.Name
	}
	return host
}

func refusalRow(x *sipcore.Refusal) api.Refusal {
	return api.Refusal{
		Time: x.Time.UTC(), Source: x.Source.String(), Transport: strings.ToLower(x.Proto.String()), Method: x.Method,
		From: x.From, To: x.To, URI: x.URI, CallID: x.CallID, Status: x.Status, Reason: x.Reason, Why: x.Why, User: x.User,
	}
}
