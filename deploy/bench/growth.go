package main

import (
	"context"
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
	growthWindows   = 5
	growthWindow    = 6 * time.Second
)

// growthPoint is what an operation costs one node that holds so many rows. Times are CPU µs of all its processes an operation,
// medians over windows; Idle is what they take in a second without any load, in µs.
type growthPoint struct {
	Operation string  `json:"operation"` // REGISTER or call
	Held      int     `json:"held"`      // registrations, or calls beside the one that is measured
	Rate      int     `json:"rate"`
	Cost      float64 `json:"us_per_operation"`
	Low       float64 `json:"us_lowest"`
	High      float64 `json:"us_highest"`
	Idle      float64 `json:"us_idle_per_second"`
	Done      int     `json:"operations"`
	Failed    int     `json:"failed"`
	Memory    int64   `json:"pss_bytes"`
	Snapshot  float64 `json:"us_snapshot,omitempty"`   // CPU of one snapshot, written and read back once
	Start     float64 `json:"seconds_start,omitempty"` // from starting the node to its answering with all rows
}

// growth measures how the cost of a REGISTER grows with registrations, and that of a call with calls held. Each size is a node of its
// own, started from a state made beforehand.
func (b *bench) growth(ctx context.Context, out string, registrations, calls []int) error {
	var points []growthPoint
	measure := func(op string, sizes []int) error {
		for _, n := range sizes {
			p, err := b.growthPoint(ctx, op, n)
			if err != nil {
				return fmt.Errorf("%d rows of %s (logs are in %s): %w", n, op, b.dir, err)
			}
			points = append(points, p)
			fmt.Printf("%-8s %8d held: %6.1f µs (%.1f to %.1f), idle %5.0f µs/s, %d done, %d failed, %d MB; a snapshot %.1f s of CPU, a start %.1f s\n",
				op, n, p.Cost, p.Low, p.High, p.Idle, p.Done, p.Failed, p.Memory>>20, p.Snapshot/1e6, p.Start)
			if err := writeJSON(out, points); err != nil {
				return err
			}
		}
		return nil
	}
	if err := measure("REGISTER", registrations); err != nil {
		return err
	}
	return measure("call", calls)
}

func (b *bench) growthPoint(ctx context.Context, op string, held int) (p growthPoint, err error) {
	p = growthPoint{Operation: op, Held: held, Rate: growthRegisters}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	b.serial++
	dir := filepath.Join(b.dir, fmt.Sprintf("%03d-%s-%d", b.serial, op, held))
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return p, err
	}
	network, err := netlab.New()
	if err != nil {
		return p, err
	}
	defer network.Close()
	var boxes [3]*netlab.Box
	for i, last := range []byte{2, 22, 11} {
		prefix := netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 77, 0, last}), 24)
		if boxes[i], err = network.AddBox([]string{"callers", "gateway", "n1"}[i], last, prefix); err != nil {
			return p, err
		}
	}
	h := &holdline{name: "holdline", binary: b.binary, boxes: boxes[2:], addrs: []string{"10.77.0.11"}, vips: []string{"10.77.0.101"}, dir: dir}
	defer func() {
		if e := boxes[2].Signal(unix.SIGKILL); err == nil {
			err = e
		}
	}()
	f := filling{registrations: held}
	if op == "call" {
		f = filling{calls: held}
	}
	took, err := h.startFilled(ctx, boxes[0], f)
	if err != nil {
		return p, err
	}
	p.Start = took.Seconds()
	debug.FreeOSMemory() // what made the state is not wanted any more, and the machine may be small
	gen, err := newSipp(dir, boxes[0], boxes[1])
	if err != nil {
		return p, err
	}
	if err := gen.gateway(ctx, 1); err != nil {
		return p, err
	}
	drive := func(d time.Duration) (outcome, error) {
		return gen.run(ctx, load{target: h.Target(), rate: growthCalls, time: d})
	}
	if op == "call" {
		p.Rate = growthCalls
	} else {
		r, err := newRefresher(boxes[0], h.Target(), held)
		if err != nil {
			return p, err
		}
		defer r.close()
		drive = func(d time.Duration) (outcome, error) { return r.run(ctx, growthRegisters, d) }
	}
	if _, err := drive(4 * time.Second); err != nil { // warm up
		return p, err
	}
	if err := p.measure(ctx, boxes[2:], drive); err != nil {
		return p, err
	}
	before, err := cpuOf(boxes[2:])
	if err != nil {
		return p, err
	}
	if err := h.clients[0].Backup(ctx, io.Discard); err != nil {
		return p, err
	}
	after, err := cpuOf(boxes[2:])
	p.Snapshot = float64((after - before).Microseconds())
	return p, err
}

// measure takes the windows.
func (p *growthPoint) measure(ctx context.Context, boxes []*netlab.Box, drive func(time.Duration) (outcome, error)) error {
	before, err := cpuOf(boxes)
	if err != nil {
		return err
	}
	select {
	case <-time.After(3 * time.Second):
	case <-ctx.Done():
		return ctx.Err()
	}
	after, err := cpuOf(boxes)
	if err != nil {
		return err
	}
	p.Idle = float64((after - before).Microseconds()) / 3
	var costs []float64
	for range growthWindows {
		if before, err = cpuOf(boxes); err != nil {
			return err
		}
		o, err := drive(growthWindow)
		if err != nil {
			return err
		}
		if after, err = cpuOf(boxes); err != nil {
			return err
		}
		p.Done += o.OK
		p.Failed += o.Failed
		if o.OK == 0 {
			return fmt.Errorf("nothing was answered with success")
		}
		costs = append(costs, float64((after-before).Microseconds())/float64(o.OK))
	}
	p.Cost, p.Low, p.High = median(costs), slices.Min(costs), slices.Max(costs)
	p.Memory, err = rssOf(boxes)
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
