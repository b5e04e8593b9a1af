package cluster

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"holdline/cluster/api"
	"holdline/fsm"
	"holdline/fsm/pb"
	"holdline/vip"
)

// Leave implements api.Backend.
func (n *Node) Leave(ctx context.Context, r api.LeaveRequest) (api.LeaveAnswer, error) {
	n.change.Lock()
	defer n.change.Unlock()
	e, err := n.member()
	if err != nil {
		return api.LeaveAnswer{}, err
	}
	var a api.LeaveAnswer
	nodes := e.nodes(e.machine.Config())
	if !e.listed(nodes) && !e.cutOff() { // it may have yet to hear that it has joined
		if err := e.fresh(ctx); err != nil {
			return api.LeaveAnswer{}, err
		}
		nodes = e.nodes(e.machine.Config())
	}
	switch {
	case !e.listed(nodes): // the others have taken it out
	case len(nodes) == 1 && !r.Force:
		err = api.Errorf(api.CodeRefused, "%s is the only node: everything is lost when it leaves: repeat with --force if that is wanted", e.Name)
	case len(nodes) == 1:
	case e.cutOff():
		a.Notes, err = e.leaveUnheard(ctx, r.Force)
	default:
		err = e.leaveInOrder(ctx, r.Force)
	}
	if err != nil {
		return api.LeaveAnswer{}, err
	}
	n.engine.Store(nil)
	stopped := e.stop()
	n.forgetGuard()
	return a, errors.Join(stopped, n.dir.wipe())
}

// listed reports whether this node is a member by nodes, or by a table on disk that is later than the configuration that it has: one that joins gets the log from its
// begin, or a snapshot from before it joined.
func (e *engine) listed(nodes []*pb.Node) bool {
	self := func(n *pb.Node) bool { return n.Uuid == e.UUID }
	return slices.ContainsFunc(nodes, self) || e.members.known() > e.machine.Config().Version && slices.ContainsFunc(e.members.rows(), self)
}

// forgetLimit is how long the guard may take to forget.
const forgetLimit = 3 * time.Second

// forgetGuard has a guard that is a unit of its own, and so outlives the membership, forget it: it would keep the port of the heartbeats, which the next join must
// find free. No engine may run.
func (n *Node) forgetGuard() {
	if n.opt.WithoutGuard {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), forgetLimit)
	defer cancel()
	if err := vip.Forget(ctx, n.opt.RunDir); err != nil {
		n.logger.Warn("the guard goes on with what this node was: systemctl restart holdline-guard", "err", err)
	}
}

// leaveInOrder has the others take this node out, if they can go on without it.
func (e *engine) leaveInOrder(ctx context.Context, force bool) error {
	if err := e.fresh(ctx); err != nil { // a node that has just started has yet to apply its log
		return err
	}
	cfg := e.machine.Config()
	row := cfg.NodeByUUID(e.UUID)
	if row == nil {
		return nil
	}
	if ha := e.haWithout(cfg, row); ha != "" && !force {
		return api.Errorf(api.CodeRefused, "%s: repeat with --force if that is wanted", ha)
	}
	if err := e.othersCanServe(row); err != nil {
		return err
	}
	if err := e.quorumWithout(row); err != nil {
		return err
	}
	return e.leaveOthers(ctx, row)
}

// haWithout says what leaving costs, "" when the cluster survives as many losses as before.
func (e *engine) haWithout(cfg *fsm.Config, row *pb.Node) string {
	voters := 0
	for _, n := range cfg.Nodes() {
		if n.Voter && n.Uuid != row.Uuid {
			voters++
		}
	}
	if row.Voter && voters < 3 {
		return fmt.Sprintf("without %s the cluster has %d voters and survives no loss", row.Name, voters)
	}
	return ""
}

// leaveOthers gives groups and leadership away and has the others take this node out. The log tells this node of its removal only
// if it is still replicated to it, so the leader's answer is asked for: no leader that holds us any more means we are out.
func (e *engine) leaveOthers(ctx context.Context, row *pb.Node) error {
	if err := e.offerGroups(ctx, row); err != nil {
		return err
	}
	if err := e.write(ctx, putSetting(settingLeaving+row.Uuid, "yes")); err != nil {
		return err
	}
	if err := e.waitOwnsNothing(ctx, row); err != nil {
		return err
	}
	deadline := time.Now().Add(moveLimit)
	for time.Now().Before(deadline) {
		if e.machine.Config().NodeByUUID(row.Uuid) == nil {
			return nil
		}
		f := e.raft.GetConfiguration()
		if f.Error() == nil && serverOf(f.Configuration().Servers, row.Uuid) == nil {
			return nil
		}
		if time.Since(e.raft.LastContact()) > time.Second && e.lead.Load() == nil && e.expelled() {
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(10 * time.Millisecond):
		}
	}
	return api.Errorf(api.CodeUnavailable, "the others have not taken %s out within %v: see `holdline status`, then run the same command again", row.Name, moveLimit)
}

// expelled says whether the peers refuse this node: they do once it is out of their tables.
func (e *engine) expelled() bool {
	for _, m := range e.members.numbers() {
		if alive, _ := e.alive(m); alive && m != e.number.Load() {
			return false
		}
	}
	return true
}
