package lab

import (
	"context"
	"fmt"
	"io"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"text/tabwriter"
	"time"

	"holdline/deploy/lab/node"
)

// A soak is rounds without a fault, one after the other, with every CPU busy: what must not happen is anything.
const (
	soakRound = time.Minute // what a round's probes and frames are kept for
	// A node has grown out of bounds when it has in the last quarter of a soak more than grownBy times what it had in the second, and
	// grownMB more. The first is warming up.
	grownBy = 1.5
	grownMB = 64
	// soakCDRs is how many call records are kept where nobody fetches them: by default so many that an hour would not reach the bound, and
	// what is kept on purpose could not be told from what grows.
	soakCDRs = "20000"
)

// Soak is what a soak found beside lost calls.
type Soak struct {
	Seconds float64      `json:"seconds"` // as asked for
	Burners int          `json:"burners"` // threads that do nothing but keep CPUs busy
	Moves   int          `json:"spurious_moves"`
	Machine int          `json:"machine_moves"`    // after this machine itself had stood still
	Stalls  []Stall      `json:"stalls,omitempty"` // when it did
	Blind   []string     `json:"blind,omitempty"`  // why that is not known
	Nodes   []NodeMemory `json:"memory"`
}

// NodeMemory is the memory of a node's processes during a soak: anonymous pages in MiB, at the end of each round.
type NodeMemory struct {
	Node    string    `json:"node"`
	ServeMB []float64 `json:"serve_mb"`
	GuardMB []float64 `json:"guard_mb"`
}

// soakRounds is how many rounds a soak of that length has.
func soakRounds(d time.Duration) int { return int((d + soakRound - 1) / soakRound) }

// untilRoundEnds waits out a soak's round; the last may be shorter.
func (r *round) untilRoundEnds(ctx context.Context) error {
	length := min(soakRound, r.o.Soak-time.Duration(r.out.Number-1)*soakRound)
	return sleep(ctx, time.Until(r.began.Add(length)))
}

// burn keeps every CPU busy until the returned function is called.
func burn() (threads int, stop func()) {
	threads = runtime.NumCPU()
	// As many more threads for the phones, so that it is the kernel that shares the CPUs out, as between processes.
	before := runtime.GOMAXPROCS(2 * threads)
	var over atomic.Bool
	var all sync.WaitGroup
	for range threads {
		all.Go(func() {
			runtime.LockOSThread()
			defer runtime.UnlockOSThread()
			for !over.Load() {
			}
		})
	}
	return threads, func() {
		over.Store(true)
		all.Wait()
		runtime.GOMAXPROCS(before)
	}
}

// weigh takes every node's memory into the soak.
func (s *Soak) weigh(nodes []*node.Node) error {
	if s.Nodes == nil {
		s.Nodes = make([]NodeMemory, len(nodes))
	}
	for i, n := range nodes {
		serve, guard, err := n.Memory()
		if err != nil {
			return err
		}
		m := &s.Nodes[i]
		m.Node = n.Name
		m.ServeMB, m.GuardMB = append(m.ServeMB, mebibytes(serve)), append(m.GuardMB, mebibytes(guard))
	}
	return nil
}

func mebibytes(bytes uint64) float64 { return float64(bytes>>10) / 1024 }

// grown says which process has grown out of bounds.
func (s *Soak) grown() (out []string) {
	for _, n := range s.Nodes {
		for name, mb := range map[string][]float64{"serve": n.ServeMB, "guard": n.GuardMB} {
			if from, to := quarter(mb, 1), quarter(mb, 3); to > grownBy*from && to > from+grownMB {
				out = append(out, fmt.Sprintf("%s on %s grew from %.0f to %.0f MiB between the second and the last quarter", name, n.Node, from, to))
			}
		}
	}
	slices.Sort(out)
	return out
}

// quarter is the mean of a quarter of the values, counted from 0.
func quarter(values []float64, which int) float64 {
	if len(values) == 0 {
		return 0
	}
	from, to := len(values)*which/4, len(values)*(which+1)/4
	part := values[from:max(to, min(from+1, len(values)))]
	sum := 0.0
	for _, v := range part {
		sum += v
	}
	return sum / float64(max(1, len(part)))
}

// sumSoak judges what only a soak judges.
func (rep *Report) sumSoak() {
	if rep.Soak == nil {
		return
	}
	rep.Soak.Moves, rep.Soak.Machine = 0, 0
	for _, r := range rep.Rounds {
		rep.Soak.Moves += r.SpuriousMoves
		rep.Soak.Machine += r.MachineMoves
	}
	if why := rep.Soak.grown(); len(why) > 0 {
		rep.Verdict = VerdictFail
		rep.Why = append(rep.Why, why...)
	}
}

// text writes the soak for a person.
func (s *Soak) text(w io.Writer) error {
	fmt.Fprintf(w, "Soak: %.0f s with %d busy threads beside the load: %d VIP moves without need, %d after this machine had stood still\n", s.Seconds, s.Burners, s.Moves, s.Machine)
	for _, what := range []string{stallCPU, stallDisk} {
		n, most := 0, 0.0
		for _, x := range s.Stalls {
			if x.What == what {
				n++
				most = max(most, x.MS)
			}
		}
		fmt.Fprintf(w, "      this machine's %s stood still %d times, %.0f ms at most (whatever runs on it)\n", what, n, most)
	}
	for _, why := range s.Blind {
		fmt.Fprintf(w, "      not all of that is known: %s\n", why)
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintf(t, "memory (MiB)\tserve: first minute\tsecond quarter\tlast quarter\tmost\tguard: first minute\tlast quarter\tmost\n")
	for _, n := range s.Nodes {
		if len(n.ServeMB) == 0 || len(n.GuardMB) == 0 {
			continue // it was gone before its first round was over
		}
		fmt.Fprintf(t, "%s\t%.1f\t%.1f\t%.1f\t%.1f\t%.1f\t%.1f\t%.1f\n", n.Node, n.ServeMB[0], quarter(n.ServeMB, 1), quarter(n.ServeMB, 3), slices.Max(n.ServeMB),
			n.GuardMB[0], quarter(n.GuardMB, 3), slices.Max(n.GuardMB))
	}
	if err := t.Flush(); err != nil {
		return fmt.Errorf("write the report: %w", err)
	}
	return nil
}
