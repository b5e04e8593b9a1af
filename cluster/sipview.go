package cluster

import (
	"context"
	"strings"
	"time"

	"holdline/cluster/api"
	"holdline/fsm"
	"holdline/fsm/pb"
)

func (e *engine) callsOf(group uint32) int {
	n := 0
	e.machine.CallsOf(group, func(c *fsm.Call) bool {
		if c.Active() {
			n++
		}
		return true
	})
	return n
}

var callStates = map[pb.CallState]string{
	pb.CallState_CALLING: "calling", pb.CallState_EARLY: "ringing", pb.CallState_CALL_ANSWERED: "answered",
	pb.CallState_CALL_CANCELLING: "cancelling", pb.CallState_CALL_FAILED: "failed", pb.CallState_CALL_ENDED: "ended",
}

// ListCalls implements api.Backend.
func (n *Node) ListCalls(_ context.Context, f api.CallFilter) (api.Calls, error) {
	e, err := n.member()
	if err != nil {
		return api.Calls{}, err
	}
	cfg := e.machine.Config()
	out := api.Calls{Calls: []api.Call{}}
	if f.Domain, err = domainNamed(cfg, f.Domain); err != nil {
		return out, err
	}
	e.machine.Calls(func(c *fsm.Call) bool {
		if !c.Active() || f.Domain != "" && c.Domain != f.Domain {
			return true
		}
		out.Total++
		if f.Limit == 0 || len(out.Calls) < f.Limit {
			out.Calls = append(out.Calls, callRow(cfg, c))
		}
		return true
	})
	return out, nil
}

// EndCall implements api.Backend.
func (n *Node) EndCall(ctx context.Context, number uint64) error {
	return n.do(ctx, &pb.Command{Op: &pb.Command_CutCall{CutCall: &pb.CutCall{Call: number}}})
}

// domainNamed is the name of the domain that has this name or alias; "" of "".
func domainNamed(cfg *fsm.Config, name string) (string, error) {
	if name == "" {
		return "", nil
	}
	d := cfg.Domain(fsm.CanonicalHost(name))
	if d == nil {
		return "", api.Errorf(api.CodeNotFound, "domain %s does not exist: see `holdline domain list`", name)
	}
	return d.Name, nil
}

func callRow(cfg *fsm.Config, c *fsm.Call) api.Call {
	row := api.Call{
		Number: c.Number, State: callStates[c.State], Domain: c.Domain, CallID: c.CallID, From: c.FromURI, To: c.ToURI, Pool: c.Pool,
		Home: cfg.Group(c.Home).GetName(), Created: time.UnixMilli(c.CreatedWallMs),
	}
	if c.CutMs() != 0 {
		row.State = "ending"
	}
	if c.AnsweredWallMs != 0 {
		row.Answered = time.UnixMilli(c.AnsweredWallMs)
	}
	for i := range c.Legs {
		l := &c.Legs[i]
		leg := api.Leg{State: strings.ToLower(l.State.String()), Status: l.Status}
		if l.Target != nil {
			leg.Target, leg.Member = l.Target.URI, l.Target.Member
			if l.Target.Flow.Remote.IsValid() {
				leg.Remote = l.Target.Flow.Remote.String()
			}
		}
		row.Legs = append(row.Legs, leg)
	}
	return row
}

// ListRegistrations implements api.Backend.
func (n *Node) ListRegistrations(_ context.Context, f api.RegistrationFilter) (api.Registrations, error) {
	e, err := n.member()
	if err != nil {
		return api.Registrations{}, err
	}
	cfg := e.machine.Config()
	now := e.machine.Now()
	out := api.Registrations{Registrations: []api.Registration{}}
	add := func(aor string, bindings []fsm.Binding) {
		for i := range bindings {
			out.Total++
			if f.Limit == 0 || len(out.Registrations) < f.Limit {
				out.Registrations = append(out.Registrations, registrationRow(cfg, aor, &bindings[i], now))
			}
		}
	}
	if f.AoR != "" {
		user, host, _ := cutLast(fsm.CanonicalAoR(f.AoR), '@')
		domain, err := domainNamed(cfg, host)
		if err != nil {
			return out, err
		}
		u := cfg.UserNamed(user + "@" + domain)
		if u == nil {
			return out, api.Errorf(api.CodeNotFound, "user %s@%s does not exist: see `holdline user list --domain %s`", user, domain, domain)
		}
		add(u.AoR, e.machine.Bindings(u.AoR, nil))
		return out, nil
	}
	if f.Domain, err = domainNamed(cfg, f.Domain); err != nil {
		return out, err
	}
	suffix := "@" + f.Domain
	e.machine.Registrations(func(aor string, bindings []fsm.Binding) bool {
		if f.Domain == "" || strings.HasSuffix(aor, suffix) {
			add(aor, bindings)
		}
		return true
	})
	return out, nil
}

func registrationRow(cfg *fsm.Config, aor string, b *fsm.Binding, now int64) api.Registration {
	row := api.Registration{
		AoR: aor, Contact: b.Contact, Transport: strings.ToLower(b.Flow.Proto.String()), Group: cfg.Group(b.Flow.Group).GetName(),
		ExpiresS: max(0, (b.ExpiresMs-now)/1000), UserAgent: b.UserAgent(), Q: uint32(b.Q), Instance: b.Instance, RegID: b.RegID,
	}
	if b.Flow.Remote.IsValid() {
		row.Remote = b.Flow.Remote.String()
	}
	return row
}
