package cluster

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"holdline/cluster/api"
	"holdline/fsm/pb"
)

const (
	trunkTell  = time.Second     // how often a node tells the others which registrations it keeps
	trunkStale = 3 * time.Second // after which that is not believed any more
)

var descTrunk = prometheus.NewDesc("holdline_trunk_registered", "1 while this node, which owns the VIP group, is registered with the pool member, 0 while it ought to be; absent: another node's, or nobody's.",
	[]string{"pool", "member"}, nil)

// toldTrunk is how a registration stands, as the node that keeps it tells the others over the link.
type toldTrunk struct {
	Pool    string        `json:"pool"`
	Member  string        `json:"member"`
	Left    time.Duration `json:"left,omitempty"` // 0: not registered
	Problem string        `json:"problem,omitempty"`
}

// trunkInfos are the latest registrations of every peer.
type trunkInfos struct {
	mu sync.Mutex
	by map[uint32]heardTrunks
}

type heardTrunks struct {
	at  time.Time
	all map[[2]string]toldTrunk // by pool and member
}

func (t *trunkInfos) set(node uint32, list []toldTrunk) {
	all := make(map[[2]string]toldTrunk, len(list))
	for _, x := range list {
		all[[2]string{x.Pool, x.Member}] = x
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.by == nil {
		t.by = map[uint32]heardTrunks{}
	}
	t.by[node] = heardTrunks{time.Now(), all}
}

// get is what a node has told of a registration lately.
func (t *trunkInfos) get(node uint32, pool, member string) (toldTrunk, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	h := t.by[node]
	x, ok := h.all[[2]string{pool, member}]
	ago := time.Since(h.at)
	x.Left = max(x.Left-ago, 0)
	return x, ok && ago < trunkStale
}

// registering are the pool members that are to be registered.
func (e *engine) registering() (out []*pb.Member) {
	for _, p := range e.machine.Config().Pools() {
		for _, m := range p.Members {
			if m.Register {
				out = append(out, m)
			}
		}
	}
	return out
}

// ownTrunk is how a registration stands that this node keeps.
func (e *engine) ownTrunk(m *pb.Member) (toldTrunk, bool) {
	core := e.vips.core.Load()
	if core == nil {
		return toldTrunk{}, false
	}
	t, ok := core.Trunk(m.Pool, m.Name)
	return toldTrunk{Pool: m.Pool, Member: m.Name, Left: t.Left, Problem: t.Failure}, ok
}

// tellTrunks tells the others which registrations this node keeps.
func (e *engine) tellTrunks() {
	var list []toldTrunk
	for _, m := range e.registering() {
		if t, ok := e.ownTrunk(m); ok {
			list = append(list, t)
		}
	}
	if len(list) == 0 {
		return
	}
	text, err := json.Marshal(list)
	if err != nil {
		e.logger.Error("encode gossip", "err", err)
		return
	}
	e.link.Load().Gossip(append([]byte{gossipTrunks}, text...))
}

// registration is how the registration with a pool member stands, nil when there is to be none.
func (e *engine) registration(m *pb.Member) *api.MemberRegistration {
	if !m.Register {
		return nil
	}
	t, ok := e.ownTrunk(m)
	out := &api.MemberRegistration{Node: e.Name}
	if !ok {
		owner, _ := e.vips.Owner(m.Group)
		out.Node = e.name(owner)
		t, _ = e.trunks.get(owner, m.Pool, m.Name)
	}
	if out.Problem = t.Problem; t.Left > 0 {
		out.Registered, out.Until = true, time.Now().Add(t.Left).Truncate(time.Second)
	}
	return out
}

// collectTrunks shows which registrations that this node keeps hold.
func (collector) collectTrunks(e *engine, ch chan<- prometheus.Metric) {
	for _, m := range e.registering() {
		if t, ok := e.ownTrunk(m); ok {
			ch <- prometheus.MustNewConstMetric(descTrunk, prometheus.GaugeValue, oneIf(t.Left > 0), m.Pool, m.Name)
		}
	}
}

// trunkChecks tells of each registration that does not hold, whichever node keeps it, and how many do.
func (e *engine) trunkChecks() []api.Check {
	all := map[*pb.Member]*api.MemberRegistration{}
	for _, m := range e.registering() {
		all[m] = e.registration(m)
	}
	return registrationChecks(all)
}

func registrationChecks(all map[*pb.Member]*api.MemberRegistration) (out []api.Check) {
	registered := 0
	for m, r := range all {
		if r.Registered && r.Problem == "" {
			registered++
			continue
		}
		c := api.Check{
			Name: "registration " + m.Pool + "/" + m.Name, Result: api.CheckWarn, Detail: fmt.Sprintf("user %s is not registered at %s: %s", m.User, m.Address, r.Problem),
			Advice: fmt.Sprintf("see that address, user and password are what the carrier has told, and that it lets the VIP in: holdline pool member set %s %s", m.Pool, m.Name),
		}
		switch {
		case r.Registered:
			c.Detail = fmt.Sprintf("user %s is registered at %s until %s, and not for longer: %s", m.User, m.Address, r.Until.Format(time.TimeOnly), r.Problem)
		case r.Node == "":
			c.Detail, c.Advice = fmt.Sprintf("user %s is not registered at %s: no node owns the VIP", m.User, m.Address), "see holdline status"
		case r.Problem == "":
			c.Detail, c.Advice = fmt.Sprintf("user %s is not registered at %s yet", m.User, m.Address), "look again in ten seconds"
		}
		if r.Node != "" {
			c.Detail += " (" + r.Node + ")"
		}
		out = append(out, c)
	}
	slices.SortFunc(out, func(a, b api.Check) int { return cmp.Compare(a.Name, b.Name) })
	if registered > 0 {
		out = append(out, api.Check{Name: "registrations", Result: api.CheckOK, Detail: fmt.Sprintf("registered with %d gateways", registered)})
	}
	return out
}
