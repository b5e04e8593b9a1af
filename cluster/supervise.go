package cluster

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/hashicorp/raft"

	"holdline/fsm"
	"holdline/fsm/pb"
	"holdline/sipcore/beat"
	"holdline/vip"
)

const (
	superviseInterval = 100 * time.Millisecond
	maxVoters         = 7
	handOverPause     = 5 * time.Second
	readyContact      = 200 * time.Millisecond // gossip of a node to be promoted may be so old, plus its interval
)

// superviseMembership is the leader's loop that brings raft's configuration, the lease voters and the homes of VIP groups in line
// with the node table, one safe step at a time. Every step starts from replicated state, so the next leader goes on where this one
// stopped.
func (e *engine) superviseMembership(ctx context.Context, l *leadership) {
	s := &supervisor{engine: e}
	tick := beat.NewAlarm()
	defer tick.Stop()
	tick.Next(superviseInterval)
	for {
		if err := s.step(ctx); err != nil && ctx.Err() == nil {
			e.logger.Warn("membership", "err", err)
			select {
			case <-ctx.Done():
			case <-time.After(superviseInterval):
			}
		}
		select {
		case <-l.wake:
		case <-tick.C:
			tick.Next(superviseInterval)
		case <-ctx.Done():
			return
		}
	}
}

// supervisor holds what one term has seen so far.
type supervisor struct {
	*engine
	handed  time.Time // last try to hand leadership over
	epoch   uint64    // of the lease voters being watched
	settled time.Time // when majorities had reported it
}

// step does the first thing that is due.
func (s *supervisor) step(ctx context.Context) error {
	cfg := s.machine.Config()
	f := s.raft.GetConfiguration()
	if err := f.Error(); err != nil {
		return err
	}
	servers := f.Configuration().Servers
	steps := []func(context.Context, *fsm.Config, []raft.Server, uint64) (bool, error){
		s.handOver, s.addMembers, s.recordVoters, s.recordReleases, s.promote, s.changeLeaseVoters, s.removeLeaving, s.dropStrangers, s.giveHomes,
	}
	for _, step := range steps {
		if done, err := step(ctx, cfg, servers, f.Index()); done || err != nil {
			return err
		}
	}
	return nil
}

// handOver gives leadership away when this node is drained: its restart will then hold up no commit.
func (s *supervisor) handOver(ctx context.Context, cfg *fsm.Config, servers []raft.Server, _ uint64) (bool, error) {
	n := cfg.NodeByUUID(s.UUID)
	if n == nil || !n.Draining || time.Since(s.handed) < handOverPause {
		return false, nil
	}
	for _, srv := range servers {
		m := cfg.NodeByUUID(string(srv.ID))
		if m == nil || srv.Suffrage != raft.Voter || m.Draining || m.Uuid == s.UUID {
			continue
		}
		if alive, _ := s.alive(m.Number); alive && s.caughtUp(m.Number) {
			s.handed = time.Now()
			return true, wrap(s.transferLeadership(ctx), "hand leadership over: this node is drained")
		}
	}
	return false, nil
}

// addMembers makes every node of the table known to raft, without a vote, at its address: a join that was granted but did not start may be run again
// with another.
func (s *supervisor) addMembers(_ context.Context, cfg *fsm.Config, servers []raft.Server, index uint64) (bool, error) {
	leaving := leavingNodes(cfg)
	for _, n := range cfg.Nodes() {
		if !reached(serverOf(servers, n.Uuid), n) && !slices.Contains(leaving, n.Uuid) {
			err := s.raft.AddNonvoter(raft.ServerID(n.Uuid), raft.ServerAddress(n.Listen), index, commitPatience).Error()
			return true, wrap(err, "add node %s to the log's replication", n.Name)
		}
	}
	return false, nil
}

// reached says whether raft has a node where the table says it is. A voter stays where it was: one that joins somewhere else may have lost its
// log, and must not vote without.
func reached(srv *raft.Server, n *pb.Node) bool {
	return srv != nil && (srv.Suffrage == raft.Voter || string(srv.Address) == n.Listen)
}

// recordVoters writes raft's suffrage into the node table.
func (s *supervisor) recordVoters(ctx context.Context, cfg *fsm.Config, servers []raft.Server, _ uint64) (bool, error) {
	for _, n := range cfg.Nodes() {
		srv := serverOf(servers, n.Uuid)
		if srv == nil || n.Voter == (srv.Suffrage == raft.Voter) {
			continue
		}
		voter := srv.Suffrage == raft.Voter
		return true, s.commit(ctx, &pb.Command{Op: &pb.Command_SetNodeState{SetNodeState: &pb.SetNodeState{Uuid: n.Uuid, Voter: &voter}}})
	}
	return false, nil
}

// promote gives votes to nodes that have caught up. An even number of voters survives no more losses than one less, so a second
// node waits for a third, a fourth for a fifth; both are promoted then, one after the other.
func (s *supervisor) promote(_ context.Context, cfg *fsm.Config, servers []raft.Server, index uint64) (bool, error) {
	var voters, healthy int
	var ready []raft.Server
	leaving := leavingNodes(cfg)
	for _, srv := range servers {
		n := cfg.NodeByUUID(string(srv.ID))
		if n == nil {
			continue
		}
		alive, _ := s.alive(n.Number)
		switch {
		case srv.Suffrage == raft.Voter:
			voters++
			if alive {
				healthy++
			}
		case alive && s.caughtUp(n.Number) && !slices.Contains(leaving, n.Uuid):
			ready = append(ready, srv)
		}
	}
	wanted := 1 + voters%2 // from odd to odd
	if len(ready) < wanted || voters+wanted > maxVoters || quorum(voters+1) > healthy+1 {
		return false, nil
	}
	err := s.raft.AddVoter(ready[0].ID, ready[0].Address, index, commitPatience).Error()
	if err == nil {
		s.logger.Info("node is a voter now", "peer", s.name(s.members.number(string(ready[0].ID))))
	}
	return true, wrap(err, "give node %s a vote", ready[0].ID)
}

func (s *engine) caughtUp(node uint32) bool {
	h, ok := s.peers.get(node)
	return ok && time.Since(h.at) < readyContact+tellInterval && !h.DiskSlow && h.LogFault == "" && h.Applied > 0 && h.Applied+lagTolerated > s.machine.Applied()
}

func quorum(n int) int { return n/2 + 1 }

// changeLeaseVoters lets the voters in leases follow those of raft, one at a time: the next change waits until majorities of the old
// and the new voters have reported the epoch, plus one maximal grant, so that any two majorities that may grant at the same time
// overlap.
func (s *supervisor) changeLeaseVoters(ctx context.Context, cfg *fsm.Config, _ []raft.Server, _ uint64) (bool, error) {
	now, ok := parseLeaseVoters(cfg.Setting(settingLeaseVoters, ""))
	if !ok {
		return false, nil
	}
	leaving := leavingNodes(cfg)
	next := leaseVoters{epoch: now.epoch + 1, old: now.voters, voters: slices.Clone(now.voters)}
	for _, v := range now.voters {
		if n := cfg.Node(v); n == nil || slices.Contains(leaving, n.Uuid) {
			if len(now.voters) > 1 {
				next.voters = slices.DeleteFunc(next.voters, func(x uint32) bool { return x == v })
			}
			break
		}
	}
	if len(next.voters) == len(now.voters) {
		for _, n := range cfg.Nodes() {
			if n.Voter && !slices.Contains(now.voters, n.Number) && !slices.Contains(leaving, n.Uuid) {
				next.voters = append(next.voters, n.Number)
				slices.Sort(next.voters)
				break
			}
		}
	}
	if len(next.voters) == len(now.voters) || !s.leaseSettled(now) {
		return false, nil
	}
	s.logger.Info("lease voters change", "epoch", next.epoch, "voters", next.voters)
	return true, s.commit(ctx, putSetting(settingLeaseVoters, next.String()))
}

// leaseSettled says whether the voters of an epoch may change again.
func (s *supervisor) leaseSettled(l leaseVoters) bool {
	if s.epoch != l.epoch {
		s.epoch, s.settled = l.epoch, time.Time{}
	}
	if s.settled.IsZero() && (s.node.opt.WithoutGuard || s.reported(l.epoch, l.voters) && s.reported(l.epoch, l.old)) {
		s.settled = time.Now()
	}
	return !s.settled.IsZero() && time.Since(s.settled) >= vip.MaxGrant
}

// reported says whether a majority of voters has the epoch in force.
func (s *supervisor) reported(epoch uint64, voters []uint32) bool {
	s.vips.mu.Lock()
	defer s.vips.mu.Unlock()
	n := 0
	for _, v := range voters {
		if s.vips.epochs[v] >= epoch {
			n++
		}
	}
	return n >= quorum(len(voters))
}

// removeLeaving takes nodes that are to go out of raft and the table, once they own nothing and vote in no lease.
func (s *supervisor) removeLeaving(ctx context.Context, cfg *fsm.Config, servers []raft.Server, index uint64) (bool, error) {
	lease, _ := parseLeaseVoters(cfg.Setting(settingLeaseVoters, ""))
	leaving := leavingNodes(cfg)
	for _, uuid := range leaving {
		n := cfg.NodeByUUID(uuid)
		switch {
		case n == nil && serverOf(servers, uuid) == nil:
			return true, s.commit(ctx, putSetting(settingLeaving+uuid, ""))
		case n == nil:
			continue // dropStrangers
		case slices.ContainsFunc(cfg.Groups(), func(g *pb.Group) bool { return g.Owner == uuid }):
			continue // the groups move first
		case slices.Contains(lease.voters, n.Number) || !s.leaseSettled(lease):
			continue // its vote goes first
		case uuid == s.UUID:
			return true, wrap(s.transferLeadership(ctx), "hand leadership over before leaving")
		}
		if serverOf(servers, uuid) != nil {
			err := s.raft.RemoveServer(raft.ServerID(uuid), index, commitPatience).Error()
			return true, wrap(err, "remove node %s from the log's replication", n.Name)
		}
		return true, s.commit(ctx, &pb.Command{Op: &pb.Command_RemoveNode{RemoveNode: &pb.RemoveNode{Uuid: uuid}}})
	}
	return false, nil
}

// dropStrangers takes servers out of raft that the table does not hold.
func (s *supervisor) dropStrangers(_ context.Context, cfg *fsm.Config, servers []raft.Server, index uint64) (bool, error) {
	for _, srv := range servers {
		if cfg.NodeByUUID(string(srv.ID)) == nil && string(srv.ID) != s.UUID {
			err := s.raft.RemoveServer(srv.ID, index, commitPatience).Error()
			return true, wrap(err, "remove server %s from the log's replication", srv.ID)
		}
	}
	return false, nil
}

// giveHomes gives every voter a home group while there are groups without one: VIPs named at init spread over the nodes as these
// join. The owner moves the group when it sees its new home.
func (s *supervisor) giveHomes(ctx context.Context, cfg *fsm.Config, _ []raft.Server, _ uint64) (bool, error) {
	homes := map[string]int{}
	for _, g := range cfg.Groups() {
		homes[g.HomeNode]++
	}
	if homes[""] == 0 {
		return false, nil
	}
	lease, _ := parseLeaseVoters(cfg.Setting(settingLeaseVoters, ""))
	for _, n := range cfg.Nodes() {
		if homes[n.Uuid] > 0 || !n.Voter || n.Draining || !slices.Contains(lease.voters, n.Number) {
			continue
		}
		if i, ok := s.infoOf(n.Number); !ok || !(i.Guard && !i.GuardRefuses && i.SIPFault == nil || s.node.opt.WithoutGuard) {
			continue
		}
		for _, g := range cfg.Groups() {
			if g.HomeNode == "" {
				return true, s.commit(ctx, &pb.Command{Op: &pb.Command_PutGroup{PutGroup: &pb.PutGroup{Group: &pb.Group{
					Number: g.Number, Name: g.Name, Vips: g.Vips, HomeNode: n.Uuid,
				}}}})
			}
		}
	}
	return false, nil
}

func serverOf(servers []raft.Server, uuid string) *raft.Server {
	for i := range servers {
		if string(servers[i].ID) == uuid {
			return &servers[i]
		}
	}
	return nil
}

func putSetting(name, value string) *pb.Command {
	return &pb.Command{Op: &pb.Command_PutSetting{PutSetting: &pb.PutSetting{Name: name, Value: value}}}
}

func wrap(err error, format string, args ...any) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf(format+": %w", append(args, err)...)
}

// commit writes a command of the cluster's own and waits for it.
func (e *engine) commit(ctx context.Context, cmd *pb.Command) error {
	ctx, cancel := context.WithTimeout(ctx, commitPatience)
	defer cancel()
	r, err := e.submitter.SubmitWait(ctx, cmd)
	if err != nil {
		return err
	}
	if r.Code != pb.Code_OK {
		return errors.New(r.Error)
	}
	return nil
}
