package lab

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// Stall is a time in which this machine did not do what it was asked for, whoever asks: a processor that a thread above everything in
// the cluster waited for, or a write of a few bytes that was not synced. What the cluster does about that is not without need.
type Stall struct {
	What string    `json:"what"`
	At   time.Time `json:"at"` // its end
	MS   float64   `json:"ms"`
}

// What stalls.
const (
	stallCPU  = "cpu"
	stallDisk = "disk"
)

const (
	// A lease lapses when its owner is not run for some 50 ms; a disk is distrusted after a tenth of a second.
	leastCPUStall  = 40 * time.Millisecond
	leastDiskStall = 100 * time.Millisecond
	diskEvery      = 50 * time.Millisecond
	// stallPriority is above the guard's, and below that of the kernel's interrupt threads.
	stallPriority = 30
	// stallEffect is how long after a stall a VIP may move for it: a lease has lapsed, a leader is distrusted, ranks have changed.
	stallEffect = 2 * time.Second
)

// noted is a line of what WatchStalls writes: a stall, or why it cannot see those of processors.
type noted struct {
	Stall
	Blind string `json:"blind,omitempty"`
}

// WatchStalls writes a line to out for each stall of this machine until in ends. It is a process of its own: in the drill's, which keeps every
// CPU busy, Go's scheduler would stand between the kernel and the thread that waits. dir is on the disk to be watched.
func WatchStalls(in io.Reader, out io.Writer, dir string) error {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(2*runtime.NumCPU() + 1)) // no watching thread waits for a processor of Go's
	var mu sync.Mutex
	write := json.NewEncoder(out)
	var failed error
	tell := func(n noted) {
		mu.Lock()
		defer mu.Unlock()
		failed = errors.Join(failed, write.Encode(n))
	}
	ended := make(chan struct{})
	var all sync.WaitGroup
	for cpu := range runtime.NumCPU() {
		all.Go(func() {
			if err := watchCPU(cpu, ended, tell); err != nil {
				tell(noted{Blind: err.Error()})
			}
		})
	}
	all.Go(func() {
		if err := watchDisk(filepath.Join(dir, "stalls"), ended, tell); err != nil {
			tell(noted{Blind: err.Error()})
		}
	})
	_, err := io.Copy(io.Discard, in)
	close(ended)
	all.Wait()
	return errors.Join(err, failed)
}

// watchCPU sleeps a few milliseconds at a time on one processor and tells of sleeps that were much longer.
func watchCPU(cpu int, ended <-chan struct{}, tell func(noted)) error {
	runtime.LockOSThread() // for good: the thread ends with its goroutine, and with it what is set here
	var only unix.CPUSet
	only.Set(cpu)
	attr := unix.SchedAttr{Size: unix.SizeofSchedAttr, Policy: unix.SCHED_FIFO, Priority: stallPriority}
	err := unix.SchedSetaffinity(0, &only)
	if err == nil {
		err = unix.SchedSetAttr(0, &attr, 0)
	}
	if err != nil {
		return fmt.Errorf("no real-time thread on processor %d: %w", cpu, err)
	}
	nap := unix.NsecToTimespec(int64(4 * time.Millisecond))
	for last := time.Now(); ; {
		select {
		case <-ended:
			return nil
		default:
		}
		_ = unix.ClockNanosleep(unix.CLOCK_MONOTONIC, 0, &nap, nil) // EINTR: a look that is early does no harm
		now := time.Now()
		if d := now.Sub(last); d >= leastCPUStall {
			tell(noted{Stall: Stall{What: stallCPU, At: now, MS: milliseconds(d)}})
		}
		last = now
	}
}

// watchDisk syncs a few bytes time and again and tells of what took long.
func watchDisk(path string, ended <-chan struct{}, tell func(noted)) error {
	f, err := os.Create(path)
	if err != nil {
		return fmt.Errorf("watch the disk: %w", err)
	}
	defer os.Remove(path)
	defer f.Close()
	tick := time.NewTicker(diskEvery)
	defer tick.Stop()
	for {
		select {
		case <-ended:
			return nil
		case <-tick.C:
		}
		start := time.Now()
		_, err := f.WriteAt([]byte("stall"), 0)
		if err := errors.Join(err, f.Sync()); err != nil {
			return fmt.Errorf("watch the disk: %w", err)
		}
		if d := time.Since(start); d >= leastDiskStall {
			tell(noted{Stall: Stall{What: stallDisk, At: start.Add(d), MS: milliseconds(d)}})
		}
	}
}

// stalls is what such a process has told. Nil: none runs. Safe for concurrent use.
type stalls struct {
	cmd   *exec.Cmd
	stdin io.Closer
	done  chan struct{}

	mu    sync.Mutex
	all   []Stall
	blind []string
}

// startStalls starts one of the binary under test.
func startStalls(binary, dir string) (*stalls, error) {
	cmd := exec.Command(binary, "stalls", dir)
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, fmt.Errorf("watch this machine: %w", err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, fmt.Errorf("watch this machine: %w", err)
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("watch this machine: %w", err)
	}
	s := &stalls{cmd: cmd, stdin: in, done: make(chan struct{})}
	go func() {
		defer close(s.done)
		s.read(out)
	}()
	return s, nil
}

func (s *stalls) read(out io.Reader) {
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		var n noted
		err := json.Unmarshal(lines.Bytes(), &n)
		s.mu.Lock()
		switch {
		case err != nil:
			s.blind = append(s.blind, err.Error())
		case n.Blind != "":
			s.blind = append(s.blind, n.Blind)
		default:
			s.all = append(s.all, n.Stall)
		}
		s.mu.Unlock()
	}
}

func (s *stalls) stop() error {
	if s == nil {
		return nil
	}
	err := s.stdin.Close()
	<-s.done
	if err := errors.Join(err, s.cmd.Wait()); err != nil {
		return fmt.Errorf("watch this machine: %w", err)
	}
	return nil
}

// explain finds the longest stall that may have moved a VIP between two moments.
func (s *stalls) explain(from, to time.Time) (Stall, bool) {
	if s == nil {
		return Stall{}, false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	var found Stall
	for _, x := range s.all {
		began := x.At.Add(-time.Duration(x.MS * float64(time.Millisecond)))
		if began.Before(to) && x.At.After(from.Add(-stallEffect)) && x.MS > found.MS {
			found = x
		}
	}
	return found, found.MS > 0
}

// told is all of it.
func (s *stalls) told() (all []Stall, blind []string) {
	if s == nil {
		return nil, nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.all), slices.Clone(s.blind)
}
