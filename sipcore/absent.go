package sipcore

import (
	"maps"
	"slices"
	"sync"
	"sync/atomic"
)

// maxWaiting bounds the requests that wait for phones to register again, in all. Each holds a transaction.
const maxWaiting = 10_000

// absentees are the phones that requests wait for. The zero value is ready; safe for concurrent use.
type absentees struct {
	n     atomic.Int64 // requests that wait
	mu    sync.Mutex   // guards byAoR
	byAoR map[string]map[*shard]int
}

// await notes that a request in s waits for a phone of aor; false: too many wait.
func (a *absentees) await(aor string, s *shard) bool {
	if a.n.Add(1) > maxWaiting {
		a.n.Add(-1)
		return false
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.byAoR == nil {
		a.byAoR = map[string]map[*shard]int{}
	}
	m := a.byAoR[aor]
	if m == nil {
		m = map[*shard]int{}
		a.byAoR[aor] = m
	}
	m[s]++
	return true
}

// awaited ends an await.
func (a *absentees) awaited(aor string, s *shard) {
	a.n.Add(-1)
	a.mu.Lock()
	defer a.mu.Unlock()
	m := a.byAoR[aor]
	if m[s]--; m[s] <= 0 {
		delete(m, s)
	}
	if len(m) == 0 {
		delete(a.byAoR, aor)
	}
}

// rebound tells the shards that wait for the AoR. It is called inside Apply.
func (a *absentees) rebound(aor string) {
	if a.n.Load() == 0 {
		return
	}
	a.mu.Lock()
	shards := slices.Collect(maps.Keys(a.byAoR[aor]))
	a.mu.Unlock()
	for _, s := range shards {
		s.post(posted{rebound: aor})
	}
}

// reboundAll has everything that waits look again: the whole state was replaced.
func (a *absentees) reboundAll() {
	a.mu.Lock()
	aors := slices.Collect(maps.Keys(a.byAoR))
	a.mu.Unlock()
	for _, aor := range aors {
		a.rebound(aor)
	}
}

// Await implements proxy.Env.
func (s *shard) Await(aor string) bool { return s.core.absent.await(aor, s) }

// Awaited implements proxy.Env.
func (s *shard) Awaited(aor string) { s.core.absent.awaited(aor, s) }

// MovedAt implements proxy.Env.
func (s *shard) MovedAt(group uint32) int64 { return (*s.core.moved.Load())[group] }
