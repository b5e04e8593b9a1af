package cluster

import (
	"context"
	"runtime"
	"strings"
	"time"

	"github.com/hashicorp/raft"

	"holdline/cluster/api"
	"holdline/fsm/pb"
)

const suspectAfter = time.Second

// Version implements api.Backend.
func (n *Node) Version(context.Context) (api.Version, error) {
	return api.Version{Version: n.opt.Version, Go: runtime.Version(), FeatureLevel: n.opt.Release.level()}, nil
}

// Status implements api.Backend. It reads memory only, so it answers whatever is broken.
func (n *Node) Status(context.Context) (api.Status, error) {
	s := api.Status{Version: n.opt.Version, Time: time.Now()}
	e := n.engine.Load()
	if e == nil {
		s.HA = api.HA{Level: api.HAUnconfigured, Summary: "no, this node is not configured: run `holdline init` on the first node, `holdline join TOKEN` on the others"}
		s.Raft.LastContactMS = -1
		return s, nil
	}
	cfg := e.machine.Config()
	s.Node = e.Name
	s.HA = e.haOf(cfg)
	s.Nodes = e.nodeRows()
	s.VIPs = e.groupRows()
	s.Raft = e.raftRow()
	s.Raft.FeatureLevel = cfg.FeatureLevel
	counts := e.machine.Counts()
	s.Counts = api.Counts{Users: cfg.UserCount(), Registrations: counts.Bindings, Calls: counts.Calls}
	for _, n := range e.members.numbers() {
		if i, ok := e.infoOf(n); ok {
			s.Counts.Unrecorded += i.Unrecorded
		}
	}
	cfg.Domains(func(*pb.Domain) bool { s.Counts.Domains++; return true })
	return s, nil
}

func (e *engine) raftRow() api.Raft {
	r := api.Raft{
		State: strings.ToLower(e.raft.State().String()), Leader: e.name(e.leader()), Term: e.raft.CurrentTerm(),
		LastIndex: e.raft.LastIndex(), CommitIndex: e.raft.CommitIndex(), AppliedIndex: e.raft.AppliedIndex(), LastContactMS: -1,
		FsyncP99US: e.store.FsyncP99().Microseconds(),
	}
	if e.raft.State() == raft.Leader {
		r.LastContactMS = 0
	} else if at := e.raft.LastContact(); !at.IsZero() {
		r.LastContactMS = time.Since(at).Milliseconds()
	}
	for _, n := range e.nodes(e.machine.Config()) {
		if n.Voter {
			r.Voters++
		}
	}
	return r
}

func (e *engine) nodeRows() []api.Node {
	var out []api.Node
	for _, n := range e.nodes(e.machine.Config()) {
		out = append(out, e.nodeRow(n))
	}
	return out
}

func (e *engine) nodeRow(n *pb.Node) api.Node {
	self := n.Uuid == e.UUID
	alive, heard := e.alive(n.Number)
	row := api.Node{
		Number: n.Number, UUID: n.Uuid, Name: n.Name, Listen: n.Listen, Self: self, Voter: n.Voter, Draining: n.Draining,
		Version: n.Version, FeatureLevel: n.FeatureLevel, Leader: e.leader() == n.Number, State: nodeState(alive, heard),
	}
	if !self {
		row.LastHeard = heard
		row.WorstGapUS = e.vips.worstGap(n.Number).Microseconds()
	}
	if i, ok := e.infoOf(n.Number); ok && alive {
		row.Guard, row.LogFault = i.Guard, i.LogFault
		if i.SIPFault != nil {
			row.SIPFault = i.SIPFault.Why
		}
		row.Unfit = unfitByName(e.machine.Config(), i.Unfit)
		if i.Version != "" {
			row.Version = i.Version
		}
	}
	for _, g := range e.machine.Config().Groups() {
		if owner, _, _ := e.ownerOf(g); owner == n.Number {
			row.Groups = append(row.Groups, g.Name)
		}
	}
	return row
}

func nodeState(alive bool, heard time.Time) string {
	switch {
	case alive:
		return api.NodeAlive
	case heard.IsZero():
		return api.NodeUnknown
	case time.Since(heard) < suspectAfter:
		return api.NodeSuspect
	}
	return api.NodeDead
}

func (e *engine) groupRows() []api.Group {
	var out []api.Group
	for _, g := range e.machine.Config().Groups() {
		out = append(out, e.groupRow(g))
	}
	return out
}

func (e *engine) groupRow(g *pb.Group) api.Group {
	owner, epoch, ago := e.ownerOf(g)
	row := api.Group{Number: g.Number, Name: g.Name, Owner: e.name(owner), Epoch: epoch}
	if owner == 0 && e.cutOff() {
		row.Unknown, row.Epoch = true, 0 // what was heard last may not be true any more
	}
	switch {
	case owner != 0 && ago > 0:
		row.Since = time.Now().Add(-time.Duration(ago) * time.Millisecond)
	case owner != 0 && g.SinceWallMs > 0 && epoch == g.Epoch:
		row.Since = time.UnixMilli(g.SinceWallMs)
	}
	if n := e.machine.Config().NodeByUUID(g.HomeNode); n != nil {
		row.HomeNode = n.Name
	}
	for _, v := range g.Vips {
		row.VIPs = append(row.VIPs, api.VIP{Prefix: v.Prefix, Advertise: v.Advertise})
	}
	row.Calls = e.callsOf(g.Number)
	return row
}

// Live implements api.Backend.
func (n *Node) Live(context.Context) error {
	e := n.engine.Load()
	switch {
	case e == nil:
		return nil
	case e.raft.State() == raft.Shutdown:
		return api.Errorf(api.CodeInternal, "raft has stopped on this node: restart holdline serve")
	case e.stuck.stuck():
		return api.Errorf(api.CodeInternal, "a leadership transfer hangs and all writes with it: restart holdline serve")
	}
	return nil
}

// Ready implements api.Backend.
func (n *Node) Ready(context.Context) error {
	e := n.engine.Load()
	if e == nil {
		return nil
	}
	sockets := e.vips.socketFault()
	switch {
	case e.logFault() != "":
		return api.Errorf(api.CodeUnavailable, "this node cannot write its raft log: %s", e.logFault())
	case e.leader() == 0:
		return api.Errorf(api.CodeUnavailable, "there is no raft leader: calls are served, but nothing new is committed")
	case sockets != nil:
		return api.Errorf(api.CodeUnavailable, "this node cannot open its SIP sockets: %s", sockets.Why)
	case e.logScore() > 0 || e.store.Slow():
		return api.Errorf(api.CodeUnavailable, "this node is behind the cluster or its disk is slow")
	}
	return nil
}
