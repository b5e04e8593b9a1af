package main

import (
	"fmt"
	"log/slog"
	"os"
	"runtime"

	"golang.org/x/sys/unix"
)

// Package initialization runs on the process's first thread. The main goroutine stays there until it is known that this is not serve, or
// restartWithSlack has been called.
func init() { runtime.LockOSThread() }

// timerSlack is how late the kernel may end this process's waits in nanosleep(2), futex(2) and epoll_wait(2), so that it is woken once for several, in ns.
// Mostly that is the runtime's monitor: while a thread is in a system call, as one that syncs the log to disk, it looks round every 20 µs.
// What must be on time here waits for a timer of the kernel's (holdline/sipcore/beat), which has no slack.
const timerSlack = 1_000_000

// slackSet marks the second start, so that there is no third.
const slackSet = "HOLDLINE_TIMER_SLACK_SET"

// restartWithSlack starts this process anew, by execve(2), with timerSlack; it returns in the process that has it, and where it cannot be had. A thread
// has the slack of the one that started it, and the monitor's starts before any code of ours. docs/performance-log.md has the figures.
//
// The main goroutine calls it. The first thread must do this, for what becomes of the process when its parent dies (PR_SET_PDEATHSIG, prctl(2)) is its attribute.
func restartWithSlack(log *slog.Logger) {
	defer runtime.UnlockOSThread()
	if os.Getenv(slackSet) != "" {
		os.Unsetenv(slackSet)
		return
	}
	if err := execWithSlack(); err != nil {
		log.Info("goes on with more wake-ups than necessary", "err", err)
	}
}

func execWithSlack() error {
	exe, err := os.Executable()
	if err != nil {
		return err
	}
	if err := unix.Prctl(unix.PR_SET_TIMERSLACK, timerSlack, 0, 0, 0); err != nil {
		return fmt.Errorf("set timer slack: %w", err)
	}
	if err := unix.Exec(exe, os.Args, append(os.Environ(), slackSet+"=1")); err != nil {
		return fmt.Errorf("start %s anew: %w", exe, err)
	}
	return nil
}
