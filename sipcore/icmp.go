package sipcore

import (
	"sync/atomic"

	"holdline/sipcore/proxy"
	"holdline/sipcore/transport"
)

// icmpRate is how many ICMP errors a second are looked at. An error rarely quotes the Call-ID, so that all shards are asked.
const icmpRate = 1000

// icmp bounds what ICMP errors may cost.
type icmp struct {
	ignored atomic.Uint64
	pace    proxy.Pace
}

// unreachable takes an ICMP error to the owner of the request's transaction. Only one that quotes a branch of ours is looked at;
// the shard that has the transaction checks it. It may be called with a shard locked.
func (c *Core) unreachable(e transport.Unreachable) {
	x, ok := proxy.ParseUnreachable(e.Quoted)
	if !ok || !c.icmp.pace.Admits(c.now(), icmpRate) {
		c.icmp.ignored.Add(1)
		return
	}
	x.Remote, x.Hard = e.Remote, e.Hard
	home := x.Branch.Home
	if _, _, ok := c.opt.Owners.Lease(home); !ok {
		hard := byte(0)
		if e.Hard {
			hard = 1
		}
		to := transport.Flow{Group: home, Remote: e.Remote}
		c.sendToOwner(home, frameUnreachable, to, append([]byte{hard}, e.Quoted...))
		return
	}
	for _, s := range c.shards {
		s.post(posted{unreachable: &x})
	}
}
