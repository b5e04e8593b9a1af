package transport

import "sync/atomic"

type streamCounters struct {
	accepted, refused, notOwned, evicted, acceptErrors atomic.Uint64
	dialed, dialsFailed, dialsRefused                  atomic.Uint64
	received, sent, undelivered, pings                 atomic.Uint64
	ended                                              [numEndings]atomic.Uint64
}

// Each calls fn for each counter with a name and an explanation fit for metrics.
func (s *Streams) Each(fn func(name, help string, value uint64)) {
	c := &s.counters
	fn("stream_received", "messages received over connections", c.received.Load())
	fn("stream_sent", "messages sent over connections", c.sent.Load())
	fn("stream_undelivered", "messages not sent: the connection was gone, too slow, or could not be opened", c.undelivered.Load())
	fn("stream_pings", "keep-alives received over connections", c.pings.Load())
	fn("stream_accepted", "connections accepted", c.accepted.Load())
	fn("stream_refused", "connections refused: too many, in all or from their source", c.refused.Load())
	fn("stream_not_owned", "connections refused: this node does not hold the VIP's lease", c.notOwned.Load())
	fn("stream_accept_errors", "failures to accept connections", c.acceptErrors.Load())
	fn("stream_dialed", "connections begun by this node", c.dialed.Load())
	fn("stream_dials_failed", "connections begun by this node that could not be opened", c.dialsFailed.Load())
	fn("stream_dials_refused", "connections not begun: too many under way, or no such VIP", c.dialsRefused.Load())
	for i, e := range [numEndings]struct{ name, help string }{
		endPeer:      {"peer", "the peer or the network ended them"},
		endClosed:    {"closed", "their VIP is not served any more"},
		endLost:      {"lost", "another node owns their VIP group"},
		endEvicted:   {"evicted", "they had sent nothing, and room was needed"},
		endIdle:      {"idle", "nothing was said for too long, or a message took too long"},
		endFraming:   {"framing", "what they sent is not SIP, or lacks Content-Length"},
		endSlow:      {"slow", "they did not read what was written"},
		endHandshake: {"handshake", "TLS or WebSocket failed"},
	} {
		fn("stream_ended_"+e.name, "connections ended: "+e.help, c.ended[i].Load())
	}
}
