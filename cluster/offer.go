package cluster

import (
	"context"
	"math"
	"strings"
	"time"

	"holdline/cluster/api"
	"holdline/fsm/pb"
)

// offerLimit is how long the others are asked to take a node's groups since the last one was taken. An offer stands for half a second, a node that has just started
// takes none for a third of one, and the owner may wait as long for its commits before each.
const offerLimit = 3 * time.Second

// offerGroups has a node's VIP groups offered to the others, and returns when each has another owner. It comes before the node is drained or
// taken out, for a node that is no candidate any more gives up all it holds at once, be there nobody else who can take it: no interface in
// its network, no carrier, no guard. What is offered is given up only once it is accepted (lease.Core.Release): after an error it is served
// as before.
func (e *engine) offerGroups(ctx context.Context, row *pb.Node) error {
	limit := time.NewTimer(offerLimit)
	defer limit.Stop()
	ask := time.NewTicker(askAgain)
	defer ask.Stop()
	offered := map[uint32]bool{}
	least := math.MaxInt
	for due := true; ; {
		var waiting []string
		for _, g := range e.machine.Config().Groups() {
			owner, _, _ := e.ownerOf(g)
			switch {
			case owner == row.Number:
				offered[g.Number] = true
				if due {
					e.askOwner(g, 0)
				}
			case owner != 0 || !offered[g.Number]:
				continue
			}
			waiting = append(waiting, g.Name)
		}
		if len(waiting) == 0 {
			return nil
		}
		if len(waiting) < least {
			least = len(waiting)
			limit.Reset(offerLimit)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-limit.C:
			return api.Errorf(api.CodeRefused, "no other node has taken VIP group %s from %s within %v, so it stays there: `holdline doctor` on the others says why they cannot; mend that and run the same command again",
				strings.Join(waiting, ", "), row.Name, offerLimit)
		case <-ask.C:
			due = true
		case <-time.After(5 * time.Millisecond):
			due = false
		}
	}
}
