package vip

import (
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// said is a log: a line an element.
type said chan string

func (s said) Write(line []byte) (int, error) {
	s <- string(line)
	return len(line), nil
}

func (s said) await(t *testing.T, what string) {
	t.Helper()
	for enough := time.After(10 * time.Second); ; {
		select {
		case line := <-s:
			if strings.Contains(line, what) {
				return
			}
		case <-enough:
			t.Fatalf("the log never said %q", what)
		}
	}
}

// A guard that may not change addresses ends at once, with one line, and leaves the run directory to one that may.
func TestGuardWithoutPower(t *testing.T) {
	dir := t.TempDir()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, "/proc/self/exe")
	cmd.Env = append(os.Environ(), envRole+"=guard", envRunDir+"="+dir, envDataDir+"="+dir)
	var text strings.Builder
	cmd.Stderr = &text
	newSpace(t).do(t, func() error { // what the thread may not, the process never will
		if err := unix.Prctl(unix.PR_CAPBSET_DROP, unix.CAP_NET_ADMIN, 0, 0, 0); err != nil {
			return err
		}
		return cmd.Start()
	})
	var exit *exec.ExitError
	if err := cmd.Wait(); !errors.As(err, &exit) || exit.ExitCode() != 1 {
		t.Errorf("the guard ended with %v, want exit code 1", err)
	}
	if !strings.Contains(text.String(), "no CAP_NET_ADMIN") || strings.Count(text.String(), "\n") != 1 {
		t.Errorf("the guard said: %s", text.String())
	}
	if _, err := os.Stat(filepath.Join(dir, lockFile)); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the guard took the lock: %v", err)
	}
}

// Where the guard is a unit's, none is started beside it, however long it is away: a client without it holds nothing and meets it when it comes.
func TestSupervisorOfUnit(t *testing.T) {
	dir, space, log := t.TempDir(), newSpace(t), make(said, 100)
	started := filepath.Join(dir, "started")
	opt := StartOptions{
		RunDir: dir, DataDir: dir, Unit: "holdline-guard.service", Command: []string{"touch", started},
		Logger: slog.New(slog.NewTextHandler(log, nil)),
	}
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	sup := start(t, ctx, opt)
	defer func() {
		if err := sup.Stop(); err != nil {
			t.Error(err)
		}
	}()
	if sup.Answered() {
		t.Error("a guard answered that does not run")
	}
	log.await(t, "waiting for it: systemctl start holdline-guard.service")
	c := DialLater(dir)
	defer c.Close()
	c.Beat()
	c.SetHealth(1)
	if _, _, _, held := c.Lease(7); held || c.Working() {
		t.Error("a client without a guard holds a group, or says that its guard works")
	}
	for _, again := range []string{"comes late", "comes back"} {
		guard := startProcess(t, space, "guard", envRunDir+"="+dir, envDataDir+"="+dir)
		log.await(t, "answers again")
		eventually(t, "the client meets the guard that "+again, c.Working)
		if err := guard.Process.Signal(syscall.SIGTERM); err != nil {
			t.Fatal(err)
		}
		_ = guard.Wait()
		log.await(t, "waiting for it") // longer than systemd takes to start it again
	}
	if _, err := os.Stat(started); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a guard was started beside the unit's: %v", err)
	}
}
