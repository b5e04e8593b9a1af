package cluster

import (
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"holdline/fsm/pb"
)

// BenchmarkCommit commits takeover-sized commands from all three nodes at a fixed rate, and reports the processor time per command
// summed over the nodes, and the delay.
func BenchmarkCommit(b *testing.B) {
	for _, rate := range []int{500, 2000, 7500} {
		b.Run(fmt.Sprintf("%d per s", rate), func(b *testing.B) {
			l := newLab(b, 3).formed()
			cmd := putSetting("bench", string(make([]byte, 300)))
			var mu sync.Mutex
			var delays []time.Duration
			var wg sync.WaitGroup
			before := cpu(b)
			start := time.Now()
			b.ResetTimer()
			for k := range b.N {
				due := start.Add(time.Duration(k) * time.Second / time.Duration(rate))
				if wait := time.Until(due); wait > 0 {
					time.Sleep(wait)
				}
				sent := time.Now()
				wg.Add(1)
				l.nodes[k%3].engine.Load().submitter.Submit(cmd, time.Second, func(r *pb.Result, err error) {
					if err != nil || r.Code != pb.Code_OK {
						b.Errorf("%v, %v", r, err)
					}
					mu.Lock()
					delays = append(delays, time.Since(sent))
					mu.Unlock()
					wg.Done()
				})
			}
			wg.Wait()
			b.StopTimer()
			b.ReportMetric(float64((cpu(b)-before).Microseconds())/float64(b.N), "cpu-µs/op")
			b.ReportMetric(percentile(delays, 50), "p50-ms")
			b.ReportMetric(percentile(delays, 99), "p99-ms")
		})
	}
}

func cpu(b *testing.B) time.Duration {
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// percentile returns the p-th percentile in milliseconds.
func percentile(d []time.Duration, p int) float64 {
	slices.Sort(d)
	return float64(d[(len(d)-1)*p/100].Microseconds()) / 1000
}
