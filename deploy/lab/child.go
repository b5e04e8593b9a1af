package lab

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"strings"
	"syscall"
	"time"

	"holdline/deploy/lab/userns"
)

// A drill without root runs in a child process in a user namespace. The child's Drill sends its progress and its report
// through two pipes to the parent's, so that callers need not know.
const (
	childMark  = "HOLDLINE_LAB_CHILD"
	progressFD = 3
	reportFD   = 4
)

// told is what the child says at its end.
type told struct {
	Report Report
	Error  string
}

func isChild() bool { return os.Getenv(childMark) != "" }

// asChild runs the drill and tells the parent.
func asChild(do func(io.Writer) (Report, error)) (Report, error) {
	progress, report := os.NewFile(progressFD, "progress"), os.NewFile(reportFD, "report")
	defer progress.Close()
	defer report.Close()
	for _, fd := range []int{progressFD, reportFD} {
		syscall.CloseOnExec(fd) // the nodes must not hold the parent's pipes open
	}
	rep, err := do(progress)
	t := told{Report: rep}
	if err != nil {
		t.Error = err.Error()
	}
	return rep, errors.Join(err, json.NewEncoder(report).Encode(t))
}

// inChild runs this program's command line again in a user namespace and returns what its Drill returned.
func inChild(ctx context.Context, progress io.Writer) (Report, error) {
	cmd, err := userns.Command(ctx, os.Args[1:]...)
	if err != nil {
		return Report{}, err
	}
	progressOut, progressIn, err := os.Pipe()
	if err != nil {
		return Report{}, fmt.Errorf("make a pipe: %w", err)
	}
	defer progressOut.Close()
	defer progressIn.Close()
	reportOut, reportIn, err := os.Pipe()
	if err != nil {
		return Report{}, fmt.Errorf("make a pipe: %w", err)
	}
	defer reportOut.Close()
	defer reportIn.Close()
	var complaint strings.Builder
	cmd.Env = append(cmd.Env, childMark+"=1")
	cmd.ExtraFiles = []*os.File{progressIn, reportIn}
	cmd.Stderr = &complaint
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = 15 * time.Second
	runtime.LockOSThread() // the child ends when this thread does: keep it
	defer runtime.UnlockOSThread()
	if err := cmd.Start(); err != nil {
		return Report{}, userns.Explain(err)
	}
	progressIn.Close()
	reportIn.Close()
	copied := make(chan error, 1)
	go func() {
		_, err := io.Copy(progress, progressOut)
		copied <- err
	}()
	var t told
	readErr := json.NewDecoder(reportOut).Decode(&t)
	waitErr := cmd.Wait()
	copyErr := <-copied
	switch {
	case readErr != nil:
		return Report{}, fmt.Errorf("the drill in the user namespace ended without a report (%v): %s", waitErr, strings.TrimSpace(complaint.String()))
	case t.Error != "":
		return t.Report, errors.New(t.Error)
	}
	return t.Report, copyErr
}
