package cluster

import (
	"errors"
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// niceness of a member's process: above everything ordinary on the machine, below the guard's real-time priority. A raft leader
// that does not run for 75 ms loses its leadership (docs/decisions/0011-raft-timing.md).
const niceness = -10

// raisePriority raises the priority of every thread of this process; threads made later inherit it. It needs CAP_SYS_NICE or a
// matching LimitNICE.
func raisePriority() error {
	tasks, err := os.ReadDir("/proc/self/task")
	if err != nil {
		return err
	}
	for _, t := range tasks {
		id, err := strconv.Atoi(t.Name())
		if err != nil {
			continue
		}
		if have, err := unix.Getpriority(unix.PRIO_PROCESS, id); err == nil && 20-have <= niceness {
			continue // systemd has done it
		}
		if err := unix.Setpriority(unix.PRIO_PROCESS, id, niceness); err != nil && !errors.Is(err, unix.ESRCH) {
			return err
		}
	}
	return nil
}
