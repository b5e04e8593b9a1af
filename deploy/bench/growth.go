package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"runtime/debug"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"holdline/deploy/lab/netlab"
)

const (
	growthRegisters = 1500 // refreshes a second
	growthCalls     = 300  // calls a second
	growthWindows   = 9    // of each size
	growthWindow    = 6 * time.Second
	growthIdle      = 2 * time.Second
	growthWarm      = 4 * time.Second
	growthWarmest   = 4 * time.Minute // that a node may take until its heap grows no more
	growthFill      = 6000            // refreshes a second meanwhile
	growthSettled   = 7 * time.Second // after a start: an owner has done by then what it does for those it has taken over
)

// growthPoint is what an operation costs one node that holds so many rows. Times are CPU µs of all its processes an operation,
// medians over windows; Idle is what they take in a second without any load, in µs, the median of windows, too.
type growthPoint struct {
	Operation string  `json:"operation"` // REGISTER or call
	Held      int     `json:"held"`      // registrations, or calls beside the one that is measured
	Rate      int     `json:"rate"`
	Cost      float64 `json:"us_per_operation"`
	Low       float64 `json:"us_lowest"`
	High      float64 `json:"us_highest"`
	Ratio     float64 `json:"ratio"` // to the first size's cost in the same round, the median of rounds: the machine is not the same from one to the next
	Idle      float64 `json:"us_idle_per_second"`
	Done      int     `json:"operations"`
	Failed    int     `json:"failed"`
	Memory    int64   `json:"pss_bytes"`
	Allocated float64 `json:"allocated_bytes"`         // on the heap, an operation
	Collect   float64 `json:"us_collection"`           // CPU of one collection of the heap; a large one has hardly any in a window
	Live      int64   `json:"live_bytes"`              // on the heap after it
	Snapshot  float64 `json:"us_snapshot,omitempty"`   // CPU of one snapshot, written and read back once
	Start     float64 `json:"seconds_start,omitempty"` // from starting the node to its answering with all rows
}

// growth measures how the cost of a REGISTER grows with registrations, and that of a call with calls held. Each size is a node of its
// own, started from a state made beforehand. The nodes of all sizes are there at once and are loaded in turns: the machine is not the same from one
// minute to the next.
func (b *bench) growth(ctx context.Context, out string, registrations, calls []int) error {
	var points []growthPoint
	for _, op := range []string{opRegister, opCall} {
		held := registrations
		if op == opCall {
			held = calls
		}
		if err := b.growthOf(ctx, op, held, &points); err != nil {
			return fmt.Errorf("%s (logs are in %s): %w", op, b.dir, err)
		}
		if err := writeJSON(out, points); err != nil {
			return err
		}
	}
	return nil
}

const (
	opRegister = "REGISTER"
	opCall     = "call"
)

func (b *bench) growthOf(ctx context.Context, op string, held []int, points *[]growthPoint) (err error) {
	var nodes []*growthNode
	defer func() {
		for _, n := range nodes {
			err = errors.Join(err, n.close())
		}
	}()
	if len(held) == 0 {
		return nil
	}
	for _, rows := range held {
		n, err := b.newGrowthNode(ctx, op, rows)
		nodes = append(nodes, n)
		if err != nil {
			return fmt.Errorf("start a node with %d: %w", rows, err)
		}
	}
	if err := pause(ctx, growthSettled); err != nil {
		return err
	}
	turn := slices.Clone(nodes)
	for range growthWindows {
		for _, n := range turn {
			if err := n.window(ctx); err != nil {
				return fmt.Errorf("load the node with %d: %w", n.Held, err)
			}
		}
		slices.Reverse(turn) // a machine that gets slower does so to all sizes
	}
	for _, n := range nodes {
		if err := n.finish(ctx, nodes[0]); err != nil {
			return fmt.Errorf("look at the node with %d: %w", n.Held, err)
		}
		p := n.growthPoint
		fmt.Printf("%-8s %8d held: %6.1f µs (%.1f to %.1f), × %.2f, idle %5.0f µs/s, %d done, %d failed, %d MB; %.1f KB allocated each, a collection %.2f s of CPU of %d MB, a snapshot %.1f s, a start %.1f s\n",
			op, p.Held, p.Cost, p.Low, p.High, p.Ratio, p.Idle, p.Done, p.Failed, p.Memory>>20, p.Allocated/1e3, p.Collect/1e6, p.Live>>20, p.Snapshot/1e6, p.Start)
		*points = append(*points, p)
	}
	return nil
}

// growthNode is one size while it is measured.
type growthNode struct {
	growthPoint
	h           *holdline
	drive       func(time.Duration) (outcome, error)
	warm        func(time.Duration) (outcome, error) // as drive, if need be at a higher rate
	costs, idle []float64
	closers     []func() error // the last one first
}

func (n *growthNode) close() error {
	var errs []error
	for _, f := range slices.Backward(n.closers) {
		errs = append(errs, f())
	}
	return errors.Join(errs...)
}

// newGrowthNode starts a node and warms it up. What it returns is to be closed, whatever the error.
func (b *bench) newGrowthNode(ctx context.Context, op string, held int) (*growthNode, error) {
	n := &growthNode{growthPoint: growthPoint{Operation: op, Held: held, Rate: growthRegisters}}
	b.serial++
	dir := filepath.Join(b.dir, fmt.Sprintf("%03d-%s-%d", b.serial, op, held))
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return n, err
	}
	network, err := netlab.New()
	if err != nil {
		return n, err
	}
	n.closers = append(n.closers, func() error { network.Close(); return nil })
	var boxes [3]*netlab.Box
	for i, last := range []byte{2, 22, 11} {
		prefix := netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 77, 0, last}), 24)
		if boxes[i], err = network.AddBox([]string{"callers", "gateway", "n1"}[i], last, prefix); err != nil {
			return n, err
		}
	}
	n.h = &holdline{name: "holdline", binary: b.binary, boxes: boxes[2:], addrs: []string{"10.77.0.11"}, vips: []string{"10.77.0.101"}, dir: dir}
	n.closers = append(n.closers, func() error { return boxes[2].Signal(unix.SIGKILL) })
	f := filling{registrations: held}
	if op == opCall {
		f = filling{calls: held}
	}
	took, err := n.h.startFilled(ctx, boxes[0], f)
	if err != nil {
		return n, err
	}
	n.Start = took.Seconds()
	debug.FreeOSMemory() // what made the state is not wanted any more, and the machine may be small
	if op == opCall {
		gen, err := newSipp(dir, boxes[0], boxes[1])
		if err != nil {
			return n, err
		}
		gateway, cancel := context.WithCancel(ctx)
		n.closers = append(n.closers, func() error { cancel(); return nil })
		if err := gen.gateway(gateway, 1); err != nil {
			return n, err
		}
		n.Rate = growthCalls
		n.drive = func(d time.Duration) (outcome, error) {
			return gen.run(ctx, load{target: n.h.Target(), rate: growthCalls, time: d})
		}
		n.warm = n.drive
	} else {
		r, err := newRefresher(boxes[0], n.h.Target(), held)
		if err != nil {
			return n, err
		}
		n.closers = append(n.closers, func() error { r.close(); return nil })
		n.drive = func(d time.Duration) (outcome, error) { return r.run(ctx, growthRegisters, d) }
		n.warm = func(d time.Duration) (outcome, error) { return r.run(ctx, growthFill, d) }
	}
	return n, n.warmUp(ctx)
}

// warmUp loads the node until its heap has been collected twice. Before, garbage goes into memory that the kernel has to give first: a large heap would
// do so all the time that is measured, a small one is through at once.
func (n *growthNode) warmUp(ctx context.Context) error {
	begun, err := n.h.metric(ctx, collections)
	if err != nil {
		return err
	}
	for end := time.Now().Add(growthWarmest); ; {
		if _, err := n.warm(growthWarm); err != nil {
			return err
		}
		now, err := n.h.metric(ctx, collections)
		if err != nil || now >= begun+2 {
			return err
		}
		if time.Now().After(end) {
			return fmt.Errorf("in %v its heap was collected %.0f times", growthWarmest, now-begun)
		}
	}
}

const (
	collections = "go_gc_duration_seconds_count"
	allocated   = "go_memstats_alloc_bytes_total"
)

// window measures the node without load and then with it.
func (n *growthNode) window(ctx context.Context) error {
	idle, err := n.cpu(func() error { return pause(ctx, growthIdle) })
	if err != nil {
		return err
	}
	before, err := n.h.metric(ctx, allocated)
	if err != nil {
		return err
	}
	var o outcome
	loaded, err := n.cpu(func() (err error) {
		o, err = n.drive(growthWindow)
		return err
	})
	if err != nil {
		return err
	}
	after, err := n.h.metric(ctx, allocated)
	if err != nil {
		return err
	}
	n.Allocated += after - before // divided by Done in the end
	n.Done += o.OK
	n.Failed += o.Failed
	if o.OK == 0 {
		return fmt.Errorf("nothing was answered with success")
	}
	n.idle = append(n.idle, idle/growthIdle.Seconds())
	n.costs = append(n.costs, loaded/float64(o.OK))
	return nil
}

// cpu is what the node takes while fn runs, in µs.
func (n *growthNode) cpu(fn func() error) (float64, error) {
	before, err := cpuOf(n.h.boxes)
	if err != nil {
		return 0, err
	}
	if err := fn(); err != nil {
		return 0, err
	}
	after, err := cpuOf(n.h.boxes)
	return float64((after - before).Microseconds()), err
}

// finish works out the medians, and measures what is measured once. first is the node of the first size.
func (n *growthNode) finish(ctx context.Context, first *growthNode) (err error) {
	n.Cost, n.Low, n.High, n.Idle = median(n.costs), slices.Min(n.costs), slices.Max(n.costs), median(n.idle)
	ratios := slices.Clone(n.costs)
	for i := range ratios {
		ratios[i] /= first.costs[i]
	}
	n.Ratio = median(ratios)
	n.Allocated /= float64(n.Done)
	if n.Memory, err = rssOf(n.h.boxes); err != nil {
		return err
	}
	n.Collect, err = n.cpu(func() (err error) {
		n.Live, err = n.h.liveHeap(ctx)
		return err
	})
	if err != nil {
		return err
	}
	n.Snapshot, err = n.cpu(func() error { return n.h.clients[0].Backup(ctx, io.Discard) })
	return err
}

// startFilled starts one node, puts rows into its state while it is stopped, and starts it again, which takes as long as it says.
func (h *holdline) startFilled(ctx context.Context, probe *netlab.Box, f filling) (took time.Duration, err error) {
	if err := h.Start(ctx, probe); err != nil {
		return 0, err
	}
	dir := filepath.Join(h.dir, h.name+"-0", "data")
	if err := h.fill(ctx, dir, f, func() error { return h.stop(ctx) }); err != nil {
		return 0, fmt.Errorf("fill the node's state: %w", err)
	}
	h.clients, h.sockets = nil, nil
	began := time.Now()
	if err := h.serve(ctx, 0); err != nil {
		return 0, err
	}
	want := max(f.registrations, f.calls)
	err = until(ctx, 2*time.Minute, func() error {
		s, err := h.clients[0].Status(ctx)
		if err == nil && max(s.Counts.Registrations, s.Counts.Calls) < want {
			err = fmt.Errorf("it holds %d registrations and %d calls, not %d", s.Counts.Registrations, s.Counts.Calls, want)
		}
		return err
	})
	if err != nil {
		return 0, fmt.Errorf("after the restart: %w", err)
	}
	took = time.Since(began)
	return took, waitForOptions(ctx, probe, h.Target(), 30*time.Second)
}

// stop ends the nodes as an operator would and waits until they are gone.
func (h *holdline) stop(ctx context.Context) error {
	for _, b := range h.boxes {
		if err := b.Signal(unix.SIGTERM); err != nil {
			return err
		}
	}
	return until(ctx, 20*time.Second, func() error {
		for _, b := range h.boxes {
			if left, err := b.Processes(); err != nil || len(left) > 0 {
				return fmt.Errorf("%d processes have not ended: %w", len(left), err)
			}
		}
		return nil
	})
}
