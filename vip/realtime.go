package vip

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// realTimePriority lies above ordinary work and below the kernel's own interrupt threads (50).
const realTimePriority = 20

// goRealTime puts every thread of the process under SCHED_RR; threads made later inherit it. All of them, because the
// loop may have to wait for another one (the garbage collector stops the world), and that one must not be starved.
func goRealTime(priority uint32) error {
	attr := unix.SchedAttr{Size: unix.SizeofSchedAttr, Policy: unix.SCHED_RR, Priority: priority}
	done := map[int]bool{}
	for again := true; again; {
		again = false
		tasks, err := os.ReadDir("/proc/self/task")
		if err != nil {
			return fmt.Errorf("list own threads: %w", err)
		}
		for _, t := range tasks {
			tid, err := strconv.Atoi(t.Name())
			if err != nil || done[tid] {
				continue
			}
			if err := unix.SchedSetAttr(tid, &attr, 0); err != nil && !errors.Is(err, unix.ESRCH) {
				return fmt.Errorf("get real-time priority (needs CAP_SYS_NICE or LimitRTPRIO): %w", err)
			}
			done[tid], again = true, true
		}
	}
	return nil
}

// lockMemory keeps the process from being paged out. The heap is locked as it is touched (the runtime reserves far more
// than it uses); the program itself is read in now, so that the first failover waits for no disk.
func lockMemory() error {
	if err := unix.Mlockall(unix.MCL_CURRENT | unix.MCL_FUTURE | unix.MCL_ONFAULT); err != nil {
		return fmt.Errorf("lock memory (needs CAP_IPC_LOCK or LimitMEMLOCK): %w", err)
	}
	if !mayLockAll() {
		// Every page reserved later counts against the limit, and the runtime cannot do without: better not to lock at all.
		return errors.Join(errors.New("lock memory: its limit is finite (needs CAP_IPC_LOCK or LimitMEMLOCK=infinity)"), unix.Munlockall())
	}
	if err := populateProgram(); err != nil {
		return fmt.Errorf("read the program into memory: %w", err)
	}
	return nil
}

func mayLockAll() bool {
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_MEMLOCK, &limit); err == nil && limit.Cur == unix.RLIM_INFINITY {
		return true
	}
	has, err := capable(unix.CAP_IPC_LOCK)
	return err == nil && has
}

func populateProgram() error {
	exe, err := os.Readlink("/proc/self/exe")
	if err != nil {
		return err
	}
	f, err := os.Open("/proc/self/maps")
	if err != nil {
		return err
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		field := strings.Fields(lines.Text())
		if len(field) < 6 || field[5] != exe || field[1][0] != 'r' {
			continue
		}
		from, to, _ := strings.Cut(field[0], "-")
		start, err1 := strconv.ParseUint(from, 16, 64)
		end, err2 := strconv.ParseUint(to, 16, 64)
		if err := errors.Join(err1, err2); err != nil {
			return err
		}
		_, _, errno := unix.Syscall(unix.SYS_MADVISE, uintptr(start), uintptr(end-start), unix.MADV_POPULATE_READ)
		if errno != 0 && errno != unix.EINVAL { // EINVAL: Linux before 5.14
			return errno
		}
	}
	return lines.Err()
}

// tuneRuntime makes collections rare and short (the guard's heap is a few megabytes), and leaves a processor for what is
// beside the loop.
func tuneRuntime() {
	runtime.GOMAXPROCS(2)
	debug.SetGCPercent(400)
	debug.SetMemoryLimit(64 << 20)
}
