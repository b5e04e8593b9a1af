package cluster

import (
	"context"
	"fmt"
	"time"

	"holdline/cluster/api"
	"holdline/vip/lease"
)

// doctorPeers reports the node link to every peer.
func (e *engine) doctorPeers() []api.Check {
	var out []api.Check
	for _, p := range e.link.Load().Peers() {
		c := api.Check{Name: "link " + e.name(p.Node), Result: api.CheckOK, Detail: fmt.Sprintf("round trip %v", p.RTT.Round(10*time.Microsecond))}
		if alive, _ := e.alive(p.Node); !alive || !p.Connected {
			c.Result = api.CheckFail
			c.Detail, c.Advice = e.unconnected(p.Node)
		}
		out = append(out, c)
		if info, told := e.peers.get(p.Node); told && c.Result == api.CheckOK && info.WallMs != 0 {
			out = append(out, clockCheck(e.name(p.Node), info.clockOff()))
		}
	}
	if fault := e.logFault(); fault != "" {
		f := faultyLogs{e.Name: fault}
		out = append(out, api.Check{Name: "raft log", Result: api.CheckFail, Detail: f.what(), Advice: f.advice(e.Name)})
	}
	if e.logScore() > 0 || e.store.Slow() {
		out = append(out, api.Check{Name: "raft", Result: api.CheckWarn, Detail: "no leader, a slow disk, or behind the log", Advice: "see holdline status"})
	}
	return out
}

// clockCheck judges how far this node's clock is ahead of a peer's.
func clockCheck(peer string, off time.Duration) api.Check {
	c, err := checkClock(off)
	c.Name, c.Detail = "clock "+peer, fmt.Sprintf("differs by %v from this node's", (-off).Round(time.Millisecond))
	if err != nil {
		c.Advice = "set both clocks (chrony or ntpd): call records carry wall time, and a node that is so far off is not let in"
	}
	return c
}

// unconnected is what doctor says of a peer without a link. A port that is closed and a node that is gone look alike on the link; memberlist uses another port.
func (e *engine) unconnected(peer uint32) (detail, advice string) {
	name, port := e.name(peer), e.Listen.Port()
	if e.refusedBy(peer) {
		return fmt.Sprintf("%s answers, but does not let this node in: it does not take it for a member", name),
			"if this node was removed from the cluster: holdline leave --force, then join again"
	}
	if e.gossips(peer) {
		return fmt.Sprintf("not connected, though %s is heard on port %d", name, port+gossipPortOffset),
			fmt.Sprintf("open port %d/tcp both ways; if it is open, see the log of %s for refused connections", port, name)
	}
	return fmt.Sprintf("not connected, nor heard on port %d", port+gossipPortOffset),
		fmt.Sprintf("see that %s runs and that ports %d/tcp and %d, udp and tcp, are open both ways", name, port, port+gossipPortOffset)
}

// doctorGuard reports the SIP sockets, and what the guard says of itself.
func (n *Node) doctorGuard(ctx context.Context) []api.Check {
	e := n.engine.Load()
	if e == nil || n.opt.WithoutGuard {
		return nil
	}
	sockets := socketCheck(e.vips.socketFault(), e.Name)
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	s, err := e.vips.client.Load().Status(ctx)
	if err != nil {
		return []api.Check{sockets, {Name: "guard", Result: api.CheckFail, Detail: err.Error(), Advice: "systemctl restart holdline-guard"}}
	}
	out := []api.Check{sockets, {Name: "guard", Result: api.CheckOK, Detail: fmt.Sprintf("worst turn of its loop %v", s.WorstLoop.Round(10*time.Microsecond))}}
	if refused := e.vips.refusal(); refused != "" {
		out = append(out, api.Check{Name: "guard", Result: api.CheckFail, Detail: refused, Advice: "mend what it names: it is tried again every second"})
	}
	warn := func(bad bool, name, detail, advice string) {
		if bad {
			out = append(out, api.Check{Name: name, Result: api.CheckWarn, Detail: detail, Advice: advice})
		}
	}
	if p, err := lease.ProfileNamed(e.machine.Config().Setting(settingLeaseProfile, "")); err == nil {
		out = append(out, wakingCheck(s.WorstLate, time.Duration(p.Grant)))
	}
	warn(!s.RealTime, "guard priority", "no real-time priority", "run the guard as its systemd unit, or with CAP_SYS_NICE")
	warn(!s.MemLocked, "guard memory", "not locked", "raise LimitMEMLOCK, or run it with CAP_IPC_LOCK")
	warn(s.Fence != "nftables", "fence", s.Fence, "load the nf_tables module: without the fence a frozen guard is off the network a second later only")
	for _, f := range s.Failures {
		warn(true, "guard", f, "")
	}
	for _, p := range s.Peers {
		c := api.Check{Name: "heartbeats " + p.Name, Result: api.CheckOK, Detail: fmt.Sprintf("worst gap %v", p.WorstGap.Round(100*time.Microsecond))}
		if !p.Heard || p.Age > time.Second {
			c.Result, c.Detail = api.CheckFail, "not heard"
			c.Advice = fmt.Sprintf("open UDP port %d between the nodes", e.Listen.Port()+guardPortOffset)
		}
		out = append(out, c)
	}
	for _, g := range s.Groups {
		name := fmt.Sprint(g.Group)
		if row := e.machine.Config().Group(g.Group); row != nil {
			name = row.Name
		}
		warn(!g.Candidate && g.WhyNot != "", "VIP group "+name, g.WhyNot, unfitAdvice(e.Name, g.WhyNot))
	}
	for _, a := range s.Alarms {
		warn(true, "alarm", fmt.Sprintf("%s (%d times, last %s)", a.Text, a.Count, a.Last.Format(time.TimeOnly)), "")
	}
	return out
}

// wakingCheck judges how late the guard was woken at worst, against the grants that its lease is made of: an owner stops before they end, and
// renews in time only if it runs. It counts from the guard's start, also when the process was stopped.
func wakingCheck(worst, grant time.Duration) api.Check {
	c := api.Check{Name: "guard waking", Result: api.CheckOK, Detail: fmt.Sprintf("%v late at worst", worst.Round(10*time.Microsecond))}
	if worst > grant/4 {
		c.Result = api.CheckWarn
		c.Advice = fmt.Sprintf("something holds this machine's processors, and grants end after %v: boot with preempt=full; on a virtual machine, pin its processors", grant)
	}
	return c
}
