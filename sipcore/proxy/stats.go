package proxy

import "sync/atomic"

// Stats counts what the proxy does, over all shards. Safe for concurrent use.
type Stats struct {
	Requests, Responses   atomic.Uint64 // handled with or without state
	Retransmissions       atomic.Uint64 // absorbed
	Calls                 atomic.Uint64 // INVITEs that made a call
	Unreplicated          atomic.Uint64 // commits gone without: no leader
	Stale                 atomic.Uint64 // transactions dropped: a newer owner has taken over
	StatelessResponses    atomic.Uint64 // relayed by their branch alone
	StrayResponses        atomic.Uint64 // dropped: branch unknown or forged
	StrayAcks             atomic.Uint64
	Refused               atomic.Uint64 // requests answered by ourselves with 3xx to 6xx
	Overload              atomic.Uint64 // 503: no room for another transaction
	DroppedTransactions   atomic.Uint64 // with a group that was lost
	DroppedNegative       atomic.Uint64 // negative answers withheld shortly after a takeover
	Unroutable, BadFrames atomic.Uint64
}
