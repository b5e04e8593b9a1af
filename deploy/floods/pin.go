package main

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"strconv"

	"golang.org/x/sys/unix"
)

// split gives the node one half of the processors and those who flood it the other: else each call too many would take the node's
// time in two ways, and twice the peak could not be offered at all.
func split() (node, peers []int) {
	n := runtime.NumCPU()
	for i := range n {
		if i < max(n/2, 1) {
			node = append(node, i)
		} else {
			peers = append(peers, i)
		}
	}
	if len(peers) == 0 {
		peers = node
	}
	return node, peers
}

// pin keeps all threads of a process, and those that they start, on some processors.
func pin(pid int, cpus []int) error {
	var set unix.CPUSet
	for _, i := range cpus {
		set.Set(i)
	}
	threads, err := os.ReadDir(fmt.Sprintf("/proc/%d/task", pid))
	if err != nil {
		return fmt.Errorf("list the threads of process %d: %w", pid, err)
	}
	for _, t := range threads {
		tid, err := strconv.Atoi(t.Name())
		if err != nil {
			return fmt.Errorf("list the threads of process %d: %w", pid, err)
		}
		if err := unix.SchedSetaffinity(tid, &set); err != nil && !errors.Is(err, unix.ESRCH) {
			return fmt.Errorf("keep process %d on its processors: %w", pid, err)
		}
	}
	return nil
}
