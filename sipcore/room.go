package sipcore

import (
	"math"
	"runtime/metrics"
)

// room tells how much of the memory that transactions may have something else takes: rows of phones and calls, long messages, the log's cache. It goes by what
// lives on the heap, which is known after each collection. Not safe for concurrent use.
type room struct {
	memory int64 // limit to it, in bytes
	live   uint64
	sample []metrics.Sample
}

func newRoom(memory int64) room {
	return room{memory: memory, sample: []metrics.Sample{{Name: "/gc/heap/live:bytes"}}}
}

// collected reports whether the heap has been collected since it was last asked.
func (r *room) collected() bool {
	if r.memory == math.MaxInt64 {
		return false
	}
	metrics.Read(r.sample)
	live := r.sample[0].Value.Uint64()
	was := r.live
	r.live = live
	return live != was
}

// taken is how many transactions would have room in what lives beside the so many that there are. An eighth of the memory is left out: it is for what a node
// always has, and for what came while the heap was collected, which counts as living.
func (r *room) taken(transactions int) int {
	return max(int(int64(r.live)-r.memory/8)/transactionSize-transactions, 0)
}

// roomFor is how many transactions may be remembered in so many bytes. The collector needs the rest.
func roomFor(memory int64) int {
	if memory == math.MaxInt64 {
		return maxTransactions
	}
	return int(memory / 4 * 3 / transactionSize)
}
