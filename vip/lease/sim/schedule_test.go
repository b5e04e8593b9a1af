package sim

import (
	"flag"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"holdline/vip/lease"
)

var (
	schedules = flag.Int("schedules", 4000, "random schedules to play")
	firstSeed = flag.Uint64("seed", 1, "seed of the first schedule")
	workers   = flag.Int("workers", 0, "schedules played at once; 0: as many as there are CPUs")
)

// TestSchedules plays random schedules. More of them, or one again:
//
//	go test ./vip/lease/sim -run TestSchedules -timeout 0 -schedules 1000000
//	go test ./vip/lease/sim -run TestSchedules -schedules 1 -seed 4711
func TestSchedules(t *testing.T) {
	var next, calls, packets, acquired, settleMax, briskMax, settleSum atomic.Int64
	var mu sync.Mutex
	begin := time.Now()
	n := *workers
	if n == 0 {
		n = runtime.GOMAXPROCS(0)
	}
	var wg sync.WaitGroup
	for range n {
		wg.Go(func() {
			var w World
			for !t.Failed() {
				k := next.Add(1) - 1
				if k >= int64(*schedules) {
					return
				}
				seed := *firstSeed + uint64(k)
				st, err := w.Run(seed, Options{})
				calls.Add(int64(st.Calls))
				packets.Add(int64(st.Packets))
				acquired.Add(int64(st.Acquired))
				settleSum.Add(st.Settle)
				raise(&settleMax, st.Settle)
				raise(&briskMax, st.Brisk)
				if err != nil {
					mu.Lock()
					t.Errorf("%v\n%s", err, transcript(seed, Options{}))
					mu.Unlock()
				}
			}
		})
	}
	wg.Wait()
	t.Logf("%d schedules in %s: %d calls, %d packets, %d acquisitions; an owner after quiet: mean %s, worst %s (bound %s), with all awake worst %s (bound %s)",
		*schedules, time.Since(begin).Round(time.Millisecond), calls.Load(), packets.Load(), acquired.Load(),
		time.Duration(settleSum.Load()/int64(*schedules)).Round(time.Microsecond), time.Duration(settleMax.Load()), Bound, time.Duration(briskMax.Load()), BriskBound)
}

// TestSchedulesOverTheWire plays some schedules with every packet encoded, signed, checked and decoded: they come out the same.
func TestSchedulesOverTheWire(t *testing.T) {
	wire, err := lease.NewSealer(lease.Key{ID: 7, Secret: []byte("sixteen bytes or more")})
	if err != nil {
		t.Fatal(err)
	}
	var w World
	for seed := range uint64(200) {
		plain, err := w.Run(seed, Options{})
		if err != nil {
			t.Fatal(err)
		}
		wired, err := w.Run(seed, Options{Wire: wire})
		if err != nil || plain != wired {
			t.Fatalf("seed %d: %+v over the wire, %+v without: %v", seed, wired, plain, err)
		}
	}
}

// TestRepeatable plays a seed twice: the transcripts are equal, or a failing seed would be of no use.
func TestRepeatable(t *testing.T) {
	for seed := range uint64(50) {
		if a, b := transcript(seed, Options{Heartbeats: true}), transcript(seed, Options{Heartbeats: true}); a != b {
			t.Fatalf("seed %d has come out in two ways", seed)
		}
	}
}

func raise(m *atomic.Int64, v int64) {
	for old := m.Load(); v > old && !m.CompareAndSwap(old, v); old = m.Load() {
	}
}

// transcript plays a seed again and returns the end of what happened.
func transcript(seed uint64, opt Options) string {
	var b strings.Builder
	opt.Trace = &b
	_, _ = Run(seed, opt)
	lines := strings.Split(strings.TrimRight(b.String(), "\n"), "\n")
	if len(lines) > 120 {
		lines = append(append(lines[:1:1], "…"), lines[len(lines)-120:]...)
	}
	return strings.Join(lines, "\n")
}
