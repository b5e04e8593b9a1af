package cluster

import (
	"context"
	"encoding/json"
	"slices"
	"time"

	"holdline/cluster/api"
	"holdline/fsm"
	"holdline/fsm/pb"
)

const (
	// silentPatience is how long a planned move waits for a node that is silent at this moment: one that has just been plugged in again
	// is reached when its connections' next retransmission comes, while status goes by what was heard last.
	silentPatience = 2 * time.Second
	// askAgain is how often the owner is asked to give a group away. An offer stands for half a second (lease.Core.Release).
	askAgain = 600 * time.Millisecond
)

// moveAsk is what an owner is told over the link: to give a group away to a node. It is asked again until it has, so it may get lost.
type moveAsk struct {
	Group uint32 `json:"group"`
	To    uint32 `json:"to"`    // 0: to the best that can take it
	Epoch uint64 `json:"epoch"` // of the lease that is to end
}

// MoveVIP implements api.Backend. The new owner becomes the group's home, and the present one is asked to release it, on whichever
// node it is.
func (n *Node) MoveVIP(ctx context.Context, group string, r api.MoveRequest) (api.Group, error) {
	e, err := n.member()
	if err != nil {
		return api.Group{}, err
	}
	cfg := e.machine.Config()
	g, err := findGroup(cfg, group)
	if err != nil {
		return api.Group{}, err
	}
	if r.To != "" {
		e.awaitHeard(ctx, g, r.To)
	}
	owner, _, _ := e.ownerOf(g)
	to, err := e.moveTarget(cfg, g, owner, r.To)
	if err != nil {
		return api.Group{}, err
	}
	if owner == to.Number {
		return e.groupRow(g), nil
	}
	if g.HomeNode != to.Uuid {
		row := &pb.Group{Number: g.Number, Name: g.Name, Vips: g.Vips, HomeNode: to.Uuid}
		if err := e.write(ctx, &pb.Command{Op: &pb.Command_PutGroup{PutGroup: &pb.PutGroup{Group: row}}}); err != nil {
			return api.Group{}, err
		}
	}
	return e.awaitMove(ctx, g, to)
}

// awaitMove asks whoever owns the group for it until the target does.
func (e *engine) awaitMove(ctx context.Context, g *pb.Group, to *pb.Node) (api.Group, error) {
	ctx, cancel := context.WithTimeout(ctx, commitPatience)
	defer cancel()
	ask := time.NewTicker(askAgain)
	defer ask.Stop()
	e.askOwner(g, to.Number)
	for {
		if owner, _, _ := e.ownerOf(g); owner == to.Number {
			return e.groupNow(g.Number)
		}
		select {
		case <-ctx.Done():
			return api.Group{}, api.Errorf(api.CodeUnavailable, "VIP group %s has not moved to %s within %v: see that its guard runs (holdline doctor there); its preference is recorded", g.Name, to.Name, commitPatience)
		case <-ask.C:
			e.askOwner(g, to.Number)
		case <-time.After(5 * time.Millisecond):
		}
	}
}

// askOwner tells the owner of a group, if one is known, to give it away.
func (e *engine) askOwner(g *pb.Group, to uint32) {
	owner, epoch, _ := e.ownerOf(g)
	ask := moveAsk{Group: g.Number, To: to, Epoch: epoch}
	if owner == e.number.Load() {
		e.moveAsked(ask)
		return
	}
	text, err := json.Marshal(ask)
	if err != nil {
		e.logger.Error("encode gossip", "err", err)
		return
	}
	if owner != 0 {
		e.link.Load().GossipTo(owner, append([]byte{gossipMove}, text...))
	}
}

// moveAsked gives a group away if this node still holds it under the lease that the question was about.
func (e *engine) moveAsked(ask moveAsk) {
	if to := e.machine.Config().Node(ask.To); ask.To != 0 && (to == nil || to.Draining) || e.vips.client.Load() == nil {
		return
	}
	if epoch, _, held := e.vips.Lease(ask.Group); held && epoch == ask.Epoch && e.ctx.Err() == nil {
		e.wg.Go(func() { e.release(e.ctx, ask.Group, ask.To) })
	}
}

// awaitHeard waits a moment for a node that is silent now, or whose last word was that it could not serve the group: its cable may be in again.
func (e *engine) awaitHeard(ctx context.Context, g *pb.Group, name string) {
	to, err := e.findNode(name)
	if err != nil {
		return // moveTarget says so
	}
	ctx, cancel := context.WithTimeout(ctx, silentPatience)
	defer cancel()
	for {
		if alive, _ := e.alive(to.Number); alive && e.cannotServe(to.Number, g) == "" {
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(5 * time.Millisecond):
		}
	}
}

func (e *engine) moveTarget(cfg *fsm.Config, g *pb.Group, owner uint32, name string) (*pb.Node, error) {
	if name == "" {
		for _, c := range candidates(cfg.Nodes(), g, leavingNodes(cfg)) {
			if alive, _ := e.alive(c); alive && c != owner && e.cannotServe(c, g) == "" {
				return cfg.Node(c), nil
			}
		}
		return nil, api.Errorf(api.CodeRefused, "no other node can take VIP group %s: see `holdline status`", g.Name)
	}
	to, err := e.findNode(name)
	if err != nil {
		return nil, err
	}
	alive, _ := e.alive(to.Number)
	switch {
	case !alive:
		return nil, api.Errorf(api.CodeRefused, "node %s does not answer", to.Name)
	case to.Draining || slices.Contains(leavingNodes(cfg), to.Uuid):
		return nil, api.Errorf(api.CodeRefused, "node %s is drained or leaving and takes no VIP", to.Name)
	}
	if why := e.cannotServe(to.Number, g); why != "" {
		return nil, api.Errorf(api.CodeRefused, "node %s could not serve VIP group %s: %s", to.Name, g.Name, why)
	}
	return to, nil
}

// cannotServe is why a node could not serve a group, by what it has told; "": nothing is known against it.
func (e *engine) cannotServe(node uint32, g *pb.Group) string {
	info, told := e.infoOf(node)
	switch {
	case !told:
		return ""
	case info.Unfit[g.Number] != "":
		return info.Unfit[g.Number]
	case info.SIPFault != nil:
		return "its SIP sockets cannot be opened: " + info.SIPFault.Why
	}
	return ""
}
