package main

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"holdline/deploy/lab/netlab"
)

// cpuOf sums user and system time of every process that lives in the boxes, finished children included.
func cpuOf(boxes []*netlab.Box) (time.Duration, error) {
	var sum time.Duration
	for _, b := range boxes {
		procs, err := b.Processes()
		if err != nil {
			return 0, err
		}
		for _, p := range procs {
			d, err := cpuOfProcess(p.PID)
			if err != nil {
				return 0, err
			}
			sum += d
		}
	}
	return sum, nil
}

func cpuOfProcess(pid int) (time.Duration, error) {
	// schedstat counts in nanoseconds, but of one thread only: sum the threads.
	dir := fmt.Sprintf("/proc/%d/task", pid)
	entries, err := os.ReadDir(dir)
	if err != nil {
		return 0, fmt.Errorf("read CPU time of process %d: %w", pid, err)
	}
	var ns int64
	for _, e := range entries {
		b, err := os.ReadFile(dir + "/" + e.Name() + "/schedstat")
		if err != nil {
			continue // the thread has just ended
		}
		f := strings.Fields(string(b))
		if len(f) < 1 {
			return 0, fmt.Errorf("read CPU time of process %d: schedstat says %q", pid, b)
		}
		v, err := strconv.ParseInt(f[0], 10, 64)
		if err != nil {
			return 0, fmt.Errorf("read CPU time of process %d: %w", pid, err)
		}
		ns += v
	}
	return time.Duration(ns), nil
}

// rssOf sums the resident memory of every process in the boxes, in bytes, counting shared pages once per process group.
func rssOf(boxes []*netlab.Box) (int64, error) {
	var sum int64
	for _, b := range boxes {
		procs, err := b.Processes()
		if err != nil {
			return 0, err
		}
		for _, p := range procs {
			roll, err := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", p.PID))
			if err != nil {
				return 0, fmt.Errorf("read memory of process %d: %w", p.PID, err)
			}
			for line := range strings.Lines(string(roll)) {
				if rest, ok := strings.CutPrefix(line, "Pss:"); ok {
					kb, err := strconv.ParseInt(strings.Fields(rest)[0], 10, 64)
					if err != nil {
						return 0, fmt.Errorf("read memory of process %d: %w", p.PID, err)
					}
					sum += kb << 10
				}
			}
		}
	}
	return sum, nil
}

// idleShare measures which share of the machine's CPU time was idle between two calls.
type idleShare struct{ idle, all int64 }

func readIdle() (idleShare, error) {
	b, err := os.ReadFile("/proc/stat")
	if err != nil {
		return idleShare{}, fmt.Errorf("read the machine's CPU time: %w", err)
	}
	line, _, _ := bytes.Cut(b, []byte("\n"))
	var s idleShare
	for i, f := range strings.Fields(string(line))[1:] {
		v, err := strconv.ParseInt(f, 10, 64)
		if err != nil {
			return idleShare{}, fmt.Errorf("read the machine's CPU time: %w", err)
		}
		if i == 3 || i == 4 { // idle, iowait
			s.idle += v
		}
		if i < 8 { // guest time is in user time already
			s.all += v
		}
	}
	return s, nil
}

func (s idleShare) since(now idleShare) float64 {
	if now.all == s.all {
		return 0
	}
	return float64(now.idle-s.idle) / float64(now.all-s.all)
}
