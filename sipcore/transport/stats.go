package transport

import "sync/atomic"

// Stats counts datagrams since the start.
type Stats struct {
	Received      uint64 // handed to the handler
	ReceivedBytes uint64
	Batches       uint64 // calls of the handler
	KernelDrops   uint64 // lost in full receive buffers (SO_RXQ_OVFL)
	Keepalives    uint64 // CRLF and the like, dropped
	STUN          uint64 // STUN messages
	ReadErrors    uint64
	ICMPErrors    uint64 // about datagrams of ours, whether believed or not
	Sent          uint64
	SentBytes     uint64
	SendFull      uint64 // dropped: send buffer full
	SendFenced    uint64 // dropped: EPERM, the fence of a VIP that this node does not own
	SendErrors    uint64 // dropped: other errors, an unreachable peer among them
	SendNoSocket  uint64 // dropped: the flow's endpoint is not open here
}

type counters struct {
	received, receivedBytes, batches, kernelDrops, keepalives, stun, readErrors, icmpErrors atomic.Uint64
	sent, sentBytes, sendFull, sendFenced, sendErrors, sendNoSocket                         atomic.Uint64
}

// Stats returns the counters. They are read one by one, not as of one instant.
func (u *UDP) Stats() Stats {
	c := &u.counters
	return Stats{
		Received: c.received.Load(), ReceivedBytes: c.receivedBytes.Load(), Batches: c.batches.Load(),
		KernelDrops: c.kernelDrops.Load(), Keepalives: c.keepalives.Load(), STUN: c.stun.Load(),
		ReadErrors: c.readErrors.Load(), ICMPErrors: c.icmpErrors.Load(),
		Sent: c.sent.Load(), SentBytes: c.sentBytes.Load(), SendFull: c.sendFull.Load(),
		SendFenced: c.sendFenced.Load(), SendErrors: c.sendErrors.Load(), SendNoSocket: c.sendNoSocket.Load(),
	}
}
