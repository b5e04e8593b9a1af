package cluster

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/hashicorp/raft"

	"holdline/cluster/api"
	"holdline/cluster/store"
	"holdline/fsm"
	"holdline/fsm/pb"
)

const (
	settingLeaseForced = "lease.forced" // epoch of lease.voters that a forced recovery has put into force
	// recoveryEpochs is how far a recovery moves the epoch of lease voters: further than the lost nodes can have moved it among
	// themselves, so that no number ever means two sets of voters.
	recoveryEpochs = 1000
	recoverProbe   = time.Second
	recoverLimit   = 10 * time.Second
)

// Recover implements api.Backend: this node goes on alone with what its disk holds. Nothing protects against nodes that are said to
// be off and are not: so everything that can be heard of them is asked first, and what is confirmed must be exactly what is lost.
func (n *Node) Recover(ctx context.Context, r api.RecoverRequest) error {
	n.change.Lock()
	defer n.change.Unlock()
	e, err := n.member()
	if err != nil {
		return err
	}
	lost, err := e.lostNodes(r.Off)
	if err != nil {
		return err
	}
	if err := e.othersAreSilent(ctx, lost); err != nil {
		return err
	}
	e.logger.Warn("forced recovery: going on alone", "without", strings.Join(r.Off, ","))
	m := e.membership
	n.engine.Store(nil)
	stopped := e.stop()
	recovered := n.recoverLog(m, lost)
	if err := n.start(ctx, m, nil); err != nil {
		return errors.Join(recovered, stopped, fmt.Errorf("start again after the recovery: %w: restart holdline serve", err))
	}
	if recovered != nil {
		return fmt.Errorf("recover: %w: nothing was changed", recovered)
	}
	return n.leadsAgain(ctx)
}

// lostNodes are all the others. They must be named one by one: who names them has thought of each.
func (e *engine) lostNodes(off []string) ([]*pb.Node, error) {
	var lost []*pb.Node
	var names []string
	for _, n := range e.nodes(e.machine.Config()) {
		if n.Uuid != e.UUID {
			lost, names = append(lost, n), append(names, n.Name)
		}
	}
	if len(lost) == 0 {
		return nil, api.Errorf(api.CodeRefused, "%s is the only node: there is nothing to recover", e.Name)
	}
	given := slices.Compact(slices.Sorted(slices.Values(off)))
	slices.Sort(names)
	if !slices.Equal(given, names) {
		return nil, api.Errorf(api.CodeInvalid, "the other nodes are %s: switch each of them off for good, then name exactly these", strings.Join(names, ","))
	}
	return lost, nil
}

// othersAreSilent refuses while there is a leader, or anything is heard of the others: over the node link, from the guard's
// heartbeats, or at their port.
func (e *engine) othersAreSilent(ctx context.Context, lost []*pb.Node) error {
	if leader := e.name(e.leader()); leader != "" {
		return api.Errorf(api.CodeRefused, "the cluster has a leader (%s) and needs no recovery: take lost nodes out with `holdline node remove`", leader)
	}
	heard := map[uint32]bool{}
	if c := e.vips.client.Load(); c != nil {
		s, err := c.Status(ctx)
		if err != nil {
			return api.Errorf(api.CodeUnavailable, "the guard cannot be asked whether it hears the others: %w: systemctl restart holdline-guard", err)
		}
		for _, p := range s.Peers {
			heard[p.Node] = p.Heard && p.Age < recoverProbe
		}
	}
	for _, n := range lost {
		alive, _ := e.alive(n.Number)
		if alive || heard[n.Number] || e.answers(ctx, n.Listen) {
			return api.Errorf(api.CodeRefused, "node %s answers: it is not off, and two halves of a cluster would serve the same calls: switch it off first", n.Name)
		}
	}
	return nil
}

// answers says whether something listens on a node's port, be it a member that refuses us. A refused connection is an answer of
// the machine, not of the node: its daemon may start again, but it runs not now.
func (e *engine) answers(ctx context.Context, listen string) bool {
	ctx, cancel := context.WithTimeout(ctx, recoverProbe)
	defer cancel()
	conn, err := (&net.Dialer{LocalAddr: &net.TCPAddr{IP: e.Listen.Addr().AsSlice()}}).DialContext(ctx, "tcp", listen)
	if err != nil {
		return false
	}
	_ = conn.Close()
	return true
}

// recoverLog rewrites log and snapshot of a stopped node so that it is the only member. The new snapshot holds the change of the
// tables too: after a crash, the old state or the new one is there.
func (n *Node) recoverLog(m *membership, lost []*pb.Node) (err error) {
	logger := newHCLog(n.logger, "raft")
	disk, err := store.Open(store.Options{Dir: n.dir.path, Trouble: func(bool) {}, Logger: logger})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, disk.Close()) }()
	snapshots, err := raft.NewFileSnapshotStoreWithLogger(n.dir.path, snapshotsKept, logger)
	if err != nil {
		return fmt.Errorf("open snapshots: %w", err)
	}
	config := raftConfig(m.UUID, "fast")
	config.Logger = logger
	address := raft.ServerAddress(m.Listen.String())
	_, transport := raft.NewInmemTransport(address) // only names this node in the snapshot
	alone := raft.Configuration{Servers: []raft.Server{{ID: config.LocalID, Address: address}}}
	state := &survivor{replica: replica{machine: fsm.New()}, uuid: m.UUID, lost: lost}
	return raft.RecoverCluster(config, state, disk, disk, snapshots, transport, alone)
}

// survivor is the state machine as the recovery drives it: its one snapshot is of the state without the lost nodes.
type survivor struct {
	replica
	uuid string
	lost []*pb.Node
}

// Snapshot implements raft.FSM.
func (s *survivor) Snapshot() (raft.FSMSnapshot, error) {
	w := &rewrite{machine: s.machine}
	w.apply(s.commands(s.machine.Config())...)
	if _, err := w.snapshot(); err != nil {
		return nil, err
	}
	return s.replica.Snapshot()
}

func (s *survivor) commands(cfg *fsm.Config) (out []*pb.Command) {
	voter, draining := true, false
	for _, g := range cfg.Groups() {
		if g.Owner != "" && g.Owner != s.uuid { // fences the last owner
			take := &pb.Takeover{Group: g.Number, Epoch: g.Epoch + 1, Node: s.uuid}
			out = append(out, &pb.Command{Op: &pb.Command_Takeover{Takeover: take}})
		}
	}
	for _, n := range s.lost {
		if cfg.NodeByUUID(n.Uuid) != nil { // the table on disk may know one that the log does not hold yet
			out = append(out, &pb.Command{Op: &pb.Command_RemoveNode{RemoveNode: &pb.RemoveNode{Uuid: n.Uuid}}})
		}
	}
	for _, uuid := range leavingNodes(cfg) {
		out = append(out, putSetting(settingLeaving+uuid, ""))
	}
	out = append(out, &pb.Command{Op: &pb.Command_SetNodeState{SetNodeState: &pb.SetNodeState{Uuid: s.uuid, Voter: &voter, Draining: &draining}}})
	if self := cfg.NodeByUUID(s.uuid); self != nil {
		was, _ := parseLeaseVoters(cfg.Setting(settingLeaseVoters, ""))
		now := leaseVoters{epoch: was.epoch + recoveryEpochs, voters: []uint32{self.Number}, old: []uint32{self.Number}}
		out = append(out, putSetting(settingLeaseVoters, now.String()), putSetting(settingLeaseForced, strconv.FormatUint(now.epoch, 10)))
	}
	return out
}

// leadsAgain waits until writes are possible.
func (n *Node) leadsAgain(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, recoverLimit)
	defer cancel()
	if err := n.engine.Load().ReadIndex(ctx); err != nil {
		return api.Errorf(api.CodeUnavailable, "the log was recovered, but this node does not lead after %v: see its log and `holdline status`", recoverLimit)
	}
	return nil
}
