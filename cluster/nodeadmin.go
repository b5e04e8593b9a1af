package cluster

import (
	"context"
	"io"
	"slices"
	"time"

	"holdline/cluster/api"
	"holdline/fsm/pb"
)

const moveLimit = 20 * time.Second

// ListNodes implements api.Backend.
func (n *Node) ListNodes(context.Context) ([]api.Node, error) {
	e, err := n.member()
	if err != nil {
		return nil, err
	}
	return e.nodeRows(), nil
}

// SetDraining implements api.Backend.
func (n *Node) SetDraining(ctx context.Context, node string, draining bool) error {
	e, err := n.member()
	if err != nil {
		return err
	}
	row, err := e.findNode(node)
	if err != nil {
		return err
	}
	if draining {
		if err := e.othersCanServe(row); err != nil {
			return err
		}
		if err := e.offerGroups(ctx, row); err != nil {
			return err
		}
	}
	set := &pb.SetNodeState{Uuid: row.Uuid, Draining: &draining}
	if err := e.write(ctx, &pb.Command{Op: &pb.Command_SetNodeState{SetNodeState: set}}); err != nil {
		return err
	}
	if !draining {
		return nil
	}
	return e.waitOwnsNothing(ctx, row)
}

// othersCanServe refuses to drain the last node that can hold VIPs. Whether another one can hold each of them shows when they are offered.
func (e *engine) othersCanServe(row *pb.Node) error {
	cfg := e.machine.Config()
	leaving := leavingNodes(cfg)
	for _, n := range cfg.Nodes() {
		if n.Uuid == row.Uuid || n.Draining || slices.Contains(leaving, n.Uuid) {
			continue
		}
		alive, _ := e.alive(n.Number)
		info, _ := e.infoOf(n.Number)
		if alive && (info.Guard || e.node.opt.WithoutGuard) {
			return nil
		}
	}
	if len(cfg.Groups()) == 0 {
		return nil
	}
	return api.Errorf(api.CodeRefused, "no other node could take the VIPs of %s, for none is alive, undrained, and has a guard that works: see `holdline status`", row.Name)
}

// waitOwnsNothing waits until a node that is alive has given its groups away.
func (e *engine) waitOwnsNothing(ctx context.Context, row *pb.Node) error {
	ctx, cancel := context.WithTimeout(ctx, moveLimit)
	defer cancel()
	for {
		owned := ""
		for _, g := range e.machine.Config().Groups() {
			if owner, _, _ := e.ownerOf(g); owner == row.Number {
				owned = g.Name
			}
		}
		if owned == "" {
			return nil
		}
		select {
		case <-ctx.Done():
			return api.Errorf(api.CodeUnavailable, "node %s still holds VIP group %s after %v: see `holdline status`; it goes on trying", row.Name, owned, moveLimit)
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// RemoveNode implements api.Backend.
func (n *Node) RemoveNode(ctx context.Context, node string, r api.RemoveNodeRequest) error {
	e, err := n.member()
	if err != nil {
		return err
	}
	if err := e.fresh(ctx); err != nil {
		return err
	}
	row, err := e.findNode(node)
	if err != nil {
		return err
	}
	alive, _ := e.alive(row.Number)
	switch {
	case row.Uuid == e.UUID:
		return api.Errorf(api.CodeRefused, "%s is this node: run `holdline leave` to take it out of the cluster", row.Name)
	case alive && !r.Force:
		return api.Errorf(api.CodeRefused, "node %s is alive: run `holdline leave` there, or repeat this with --force", row.Name)
	}
	if err := e.quorumWithout(row); err != nil {
		return err
	}
	if err := e.offerGroups(ctx, row); err != nil {
		return err
	}
	return e.takeOut(ctx, row)
}

// quorumWithout refuses a removal after which the nodes that are alive were no majority.
func (e *engine) quorumWithout(row *pb.Node) error {
	voters, alive := 0, 0
	for _, n := range e.machine.Config().Nodes() {
		if !n.Voter || n.Uuid == row.Uuid {
			continue
		}
		voters++
		if ok, _ := e.alive(n.Number); ok {
			alive++
		}
	}
	if row.Voter && alive < quorum(voters) {
		return api.Errorf(api.CodeRefused, "without %s only %d of %d voters are alive, which is no majority: bring back the others first", row.Name, alive, voters)
	}
	return nil
}

// takeOut marks a node as leaving and waits until the leader has taken it out of leases, log and table.
func (e *engine) takeOut(ctx context.Context, row *pb.Node) error {
	if err := e.write(ctx, putSetting(settingLeaving+row.Uuid, "yes")); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, moveLimit)
	defer cancel()
	for e.machine.Config().NodeByUUID(row.Uuid) != nil {
		select {
		case <-ctx.Done():
			return api.Errorf(api.CodeUnavailable, "node %s is not out of the cluster after %v: its VIPs must move first: see `holdline status`; it goes on trying", row.Name, moveLimit)
		case <-time.After(10 * time.Millisecond):
		}
	}
	return nil
}

// fresh makes the next read linearizable.
func (e *engine) fresh(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, commitPatience)
	defer cancel()
	if err := e.ReadIndex(ctx); err != nil {
		return api.Errorf(api.CodeUnavailable, "there is no raft leader, or no majority of the nodes: look at `holdline status`")
	}
	return nil
}

// Backup implements api.Backend.
func (n *Node) Backup(ctx context.Context, w io.Writer) error {
	e, err := n.member()
	if err != nil {
		return err
	}
	return e.snapshot(ctx, w)
}

// Doctor implements api.Backend.
func (n *Node) Doctor(ctx context.Context) ([]api.Check, error) {
	disk, err := n.checkDisk()
	if err != nil {
		disk.Result = api.CheckFail
	}
	checks := []api.Check{disk}
	e := n.engine.Load()
	if e == nil {
		return append(checks, api.Check{Name: "cluster", Result: api.CheckWarn, Detail: "not configured", Advice: "run holdline init or holdline join"}), nil
	}
	checks = append(checks, e.doctorPeers()...)
	checks = append(checks, e.doctorSnapshots()...)
	if config, err := n.doctorConfig(ctx); err == nil { // it fails only on an unconfigured node
		checks = append(checks, config...)
	}
	checks = append(checks, e.doctorNetworks(e.machine.Config())...)
	checks = append(checks, gatewayChecks(e.seenGateways())...)
	checks = append(checks, e.trunkChecks()...)
	checks = append(checks, e.doctorState(ctx)...)
	if certificates, err := n.ListCertificates(ctx); err == nil { // it fails only on an unconfigured node
		checks = append(checks, certificateChecks(certificates, time.Now())...)
	}
	return append(checks, n.doctorGuard(ctx)...), nil
}
