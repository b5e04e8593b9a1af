package sipcore

// Counters calls fn for each counter of the core with a name and an explanation fit for metrics.
func (c *Core) Counters(fn func(name, help string, value uint64)) {
	c.stats.Each(fn)
	fn("not_owned", "datagrams dropped: they came in on a VIP whose lease this node does not hold, or is giving away", c.drops.notOwned.Load())
	fn("before_lease", "datagrams dropped: they came in before this node's lease began", c.drops.stale.Load())
	fn("unreadable", "datagrams dropped: not SIP, or SIP that cannot be answered", c.drops.garbage.Load())
	fn("bad_frames", "frames of other nodes dropped: they could not be read", c.drops.frames.Load())
	c.streams.Each(fn)
	fn("keepalives_sent", "keep-alives sent to phones behind NATs", c.alive.sent.Load())
	fn("keepalives_skipped", "keep-alives due that another node sends: it holds the lease of their VIP group", c.alive.skipped.Load())
	fn("keepalives_answered", "answers of phones to OPTIONS sent as keep-alives, whatever their status", c.alive.answered.Load())
	fn("tickles_sent", "ACKs sent after a takeover to peers whose connections went with the last owner", c.tickles.sent.Load())
	fn("tickles_failed", "ACKs after a takeover that the kernel did not take", c.tickles.failed.Load())
	t := c.udp.Stats()
	fn("icmp_errors", "ICMP errors about datagrams of ours, whether believed or not", t.ICMPErrors)
	fn("icmp_ignored", "ICMP errors that quote no request of ours, or came faster than they are looked at", c.icmp.ignored.Load())
	fn("udp_received", "datagrams received", t.Received)
	fn("udp_kernel_drops", "datagrams lost in full receive buffers", t.KernelDrops)
	fn("udp_sent", "datagrams sent", t.Sent)
	fn("udp_send_drops", "datagrams not sent: full buffer, fence, no socket or another error", t.SendFull+t.SendFenced+t.SendErrors+t.SendNoSocket)
}

// Unrecorded is the number of calls of which this node has done something that is not in the replicated table yet, for lack
// of a raft leader.
func (c *Core) Unrecorded() int { return int(c.stats.Behind.Load()) }

// Pressure is the share of new requests that is refused now for overload; what exceeds 1 is the share left unanswered.
func (c *Core) Pressure() float64 { return c.admission.Pressure() }

// Transactions is the number of transactions under way or kept for retransmissions.
func (c *Core) Transactions() int {
	n := 0
	for _, s := range c.shards {
		s.mu.Lock()
		n += s.proxy.Len()
		s.mu.Unlock()
	}
	return n
}
