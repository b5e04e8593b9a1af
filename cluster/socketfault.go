package cluster

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"syscall"

	"holdline/cluster/api"
	"holdline/fsm"
	"holdline/fsm/pb"
	"holdline/sipcore"
	"holdline/sipcore/transport"
)

// SIP sockets are bound to every VIP on every node beforehand, whoever holds it (IP_FREEBIND), so what cannot be opened is a fault of the
// box, whether or not a VIP is on it: another program has the port, as a rule. Such a node gives its VIPs to a healthier one.

// socketFault is what a node's SIP core could not open.
type socketFault struct {
	Why   string   `json:"why"`             // for people, one line
	Ports []uint16 `json:"ports,omitempty"` // those that something else has
	Count int      `json:"count"`           // addresses and ports
}

// socketFaultOf makes one of what Core.SetGroups has returned for these groups; nil: every endpoint is open.
func socketFaultOf(err error, groups []sipcore.Group) *socketFault {
	unopened := transport.Unopened(err)
	if len(unopened) == 0 {
		return nil
	}
	all := map[netip.Addr]bool{}
	for _, g := range groups {
		for _, v := range g.VIPs {
			all[v.Addr] = true
		}
	}
	type place struct {
		port         uint16
		network, why string
	}
	f := &socketFault{Count: len(unopened)}
	where := map[place][]string{}
	for _, u := range unopened {
		p := place{u.Local.Port(), "tcp", u.Err.Error()}
		if u.Proto == pb.Transport_UDP {
			p.network = "udp"
		}
		var errno syscall.Errno
		if errors.As(u.Err, &errno) {
			p.why = errno.Error()
		}
		if errno == syscall.EADDRINUSE && !slices.Contains(f.Ports, p.port) {
			f.Ports = append(f.Ports, p.port)
		}
		where[p] = append(where[p], u.Local.Addr().String())
	}
	slices.Sort(f.Ports)
	places := slices.SortedFunc(maps.Keys(where), func(a, b place) int {
		return cmp.Or(cmp.Compare(a.why, b.why), cmp.Compare(a.port, b.port), -cmp.Compare(a.network, b.network))
	})
	var text strings.Builder
	for i, p := range places {
		switch {
		case i > 0 && places[i-1].why == p.why:
			text.WriteString(", ")
		case i > 0:
			fmt.Fprintf(&text, ": %s; ", places[i-1].why)
		}
		fmt.Fprintf(&text, "%d/%s", p.port, p.network)
		if addrs := where[p]; len(addrs) < len(all) {
			slices.Sort(addrs)
			fmt.Fprintf(&text, " of %s", strings.Join(slices.Compact(addrs), " and "))
		}
	}
	fmt.Fprintf(&text, ": %s", places[len(places)-1].why)
	f.Why = text.String()
	return f
}

// missing is how many addresses and ports could not be opened.
func (f *socketFault) missing() int {
	if f == nil {
		return 0
	}
	return f.Count
}

// advice is what to do about it on a node.
func (f *socketFault) advice(node string) string {
	if len(f.Ports) == 0 {
		return fmt.Sprintf("journalctl -u holdline on %s tells more; it is tried again every second", node)
	}
	var ports []string
	for _, p := range f.Ports {
		ports = append(ports, fmt.Sprintf("sport = :%d", p))
	}
	return fmt.Sprintf("see what has the port on %s, and stop it there: ss -lntup '%s'; it is tried again every second", node, strings.Join(ports, " or "))
}

// socketCheck is what doctor says on a node.
func socketCheck(f *socketFault, node string) api.Check {
	if f == nil {
		return api.Check{Name: "SIP sockets", Result: api.CheckOK, Detail: "open on every VIP"}
	}
	return api.Check{Name: "SIP sockets", Result: api.CheckFail, Detail: f.Why, Advice: f.advice(node)}
}

// openSockets has the SIP core listen on the VIPs. What it cannot open is tried again after a while.
func (e *engine) openSockets(cfg *fsm.Config) {
	groups := coreGroups(cfg)
	err := e.vips.core.Load().SetGroups(groups)
	if e.ctx.Err() != nil {
		return // the core may be closed already
	}
	fault := socketFaultOf(err, groups)
	news := e.vips.setSocketFault(fault)
	switch {
	case fault != nil && news:
		e.logger.Error("SIP sockets cannot be opened; it is tried again", "every", configureAgain, "err", err)
	case fault == nil && err != nil:
		e.logger.Error("SIP sockets", "err", err)
	case fault == nil && news:
		e.logger.Info("SIP sockets are open")
	}
	if fault != nil {
		e.vips.tryAgain(e.changed)
	}
}

// setSocketFault notes what the SIP core could not open, and says whether that is news.
func (v *vips) setSocketFault(f *socketFault) bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	was := v.unopened
	v.unopened = f
	return (f == nil) != (was == nil) || f != nil && f.Why != was.Why
}

// socketFault is what the SIP core could not open; nil: nothing.
func (v *vips) socketFault() *socketFault {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.unopened
}

// deafNodes are nodes that answer and could not open their SIP sockets, by name.
type deafNodes map[string]*socketFault

func (d deafNodes) names() []string { return slices.Sorted(maps.Keys(d)) }

// summary is what some of them lack, and what to do about the first.
func (d deafNodes) summary(names ...string) string {
	var what []string
	for _, name := range names {
		what = append(what, fmt.Sprintf("%s cannot open its SIP sockets: %s", name, d[name].Why))
	}
	return strings.Join(what, "; ") + ": " + d[names[0]].advice(names[0])
}

func (d deafNodes) problems() []api.Problem {
	var out []api.Problem
	for _, name := range d.names() {
		out = append(out, api.Problem{What: fmt.Sprintf("node %s cannot open its SIP sockets: %s", name, d[name].Why), Do: d[name].advice(name)})
	}
	return out
}
