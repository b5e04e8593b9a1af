package sipcore

import (
	"strings"
	"time"

	"holdline/sipcore/proxy"
	"holdline/sipcore/transport"
	"holdline/sipcore/wire"
)

// Refusal is a request that this node has refused.
type Refusal struct {
	proxy.Refusal
	Time time.Time
}

// Refusals returns what this node itself has refused last, the newest last, and how many requests more it has refused that were not written down:
// there were too many in a second.
func (c *Core) Refusals() (all []Refusal, leftOut uint64) {
	kept, leftOut := c.refusals.All()
	wall, now := time.Now(), c.now() // the wall clock may have been set since: how long ago it was is certain
	for _, x := range kept {
		all = append(all, Refusal{x, wall.Add(time.Duration(x.At - now))})
	}
	return all, leftOut
}

// reply answers a request that gets no further than here.
func (c *Core) reply(out *transport.Sender, sc *scratch, flow transport.Flow, r *wire.Response) {
	sc.reply = proxy.AppendReply(sc.reply[:0], &sc.msg, flow, r)
	if len(sc.reply) > 0 && r.Status >= 300 {
		c.stats.Refused.Add(1)
		c.refusals.Note(c.now(), &sc.msg, flow, r)
	}
	c.answer(out, sc, flow)
}

// tellWrong writes a line to the log for each request whose credentials were wrong, ten at a time, and how many more there were. It is called each
// second: shards do not wait for a log.
func (c *Core) tellWrong() {
	wrong, more := c.refusals.UntoldWrong()
	for i := range wrong {
		x := &wrong[i]
		c.log.Info("wrong credentials", "source", x.Source.Addr(), "port", x.Source.Port(), "transport", strings.ToLower(x.Proto.String()),
			"method", x.Method, "user", x.User, "from", x.From, "to", x.To, "call_id", x.CallID, "why", x.Why)
	}
	if more > 0 {
		c.log.Info("more wrong credentials, not told one by one", "requests", more)
	}
}
