package vip

import (
	"os"
	"slices"
	"time"
)

func (g *guard) fenceKind() string {
	switch {
	case g.fence == nil:
		return "none: " + g.fenceErr.Error()
	case g.fenceErr != nil:
		return "none: " + g.fenceErr.Error()
	}
	return "nftables"
}

// status is made on the loop.
func (g *guard) status() Status {
	now := g.clock.now()
	s := Status{
		PID: os.Getpid(), Uptime: time.Duration(now - g.started), Configured: g.cfg != nil,
		RealTime: g.realTime, MemLocked: g.locked, Fence: g.fenceKind(),
		WorstLoop: g.worstTurn, WorstLate: g.worstLate,
		Groups: []GroupStatus{}, Peers: []PeerStatus{},
		Failures: slices.Clone(g.failures), Alarms: slices.Clone(g.alarms.list),
	}
	if g.peer != nil {
		s.CorePID, s.CoreBeatAge = g.peer.pid, time.Duration(now-g.peer.beatAt)
	}
	for _, f := range g.sysctls {
		s.Failures = append(s.Failures, f...)
	}
	for node, err := range g.unsent {
		s.Failures = append(s.Failures, "heartbeats to "+g.nodeName(node)+": "+err.Error())
	}
	if g.recvErr != nil {
		s.Failures = append(s.Failures, "heartbeats: "+g.recvErr.Error())
	}
	slices.Sort(s.Failures)
	if g.core == nil {
		return s
	}
	s.Epoch, s.EpochReady = g.core.Epoch()
	_, s.Muted = g.core.Muted(now)
	for _, gr := range g.groups {
		s.Groups = append(s.Groups, g.groupStatus(gr, now))
	}
	for _, p := range g.core.Peers(now, nil) {
		st := PeerStatus{
			Node: p.Node, Voter: p.Voter, Alive: p.Alive, Heard: p.Heard != 0, WorstGap: time.Duration(p.WorstGap),
			Epoch: p.Epoch, Health: p.Health,
		}
		if st.Heard {
			st.Age = time.Duration(now - p.Heard)
		}
		st.Name = g.nodeName(p.Node)
		s.Peers = append(s.Peers, st)
	}
	return s
}

// nodeName is what people call a node; "" when it is not in the configuration.
func (g *guard) nodeName(node uint32) string {
	if n := g.cfg.node(node); n != nil {
		return n.Name
	}
	return ""
}

func (g *guard) groupStatus(gr *group, now int64) GroupStatus {
	s := GroupStatus{
		Group: gr.number, Held: gr.held, Owner: gr.owner, Ballot: gr.ownerBallot, LastMove: gr.lastMove,
		LastLost: gr.lastLost, Destroyed: gr.destroyed, VIPs: []string{}, Interfaces: []string{},
	}
	if gr.held {
		s.Ballot, s.Margin = gr.ballot, time.Duration(gr.until-now)
	}
	for _, v := range gr.vips {
		s.VIPs = append(s.VIPs, v.prefix.String())
		name := ""
		if i := g.net.ifaces[v.iface]; i != nil {
			name = i.name
		}
		s.Interfaces = append(s.Interfaces, name)
	}
	order := g.cfg.group(gr.number).Candidates
	switch {
	case g.why != "":
		s.WhyNot = g.why
	case !gr.fit:
		s.WhyNot = gr.whyNot
	case len(order) > 0 && !slices.Contains(order, g.cfg.Self):
		s.WhyNot = "this node is not among the group's candidates"
	default:
		s.Candidate = true
	}
	return s
}
