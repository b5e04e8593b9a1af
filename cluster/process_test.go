package cluster

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"testing"

	"go.uber.org/goleak"
)

// processDir says to a process of this test's binary that it is a node, and where its data is.
const processDir = "HOLDLINE_TEST_NODE"

func TestMain(m *testing.M) {
	if dir := os.Getenv(processDir); dir != "" {
		if err := runNode(dir); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	// memberlist's Shutdown does not wait for a probe under way, its own or another's, which ends within a second.
	goleak.VerifyTestMain(m,
		goleak.IgnoreAnyFunction("github.com/hashicorp/memberlist.(*Memberlist).probeNode"),
		goleak.IgnoreAnyFunction("github.com/hashicorp/memberlist.(*Memberlist).handleIndirectPing.func2"))
}

// runNode is a node until its standard input ends.
func runNode(dir string) error {
	level := slog.LevelError
	if os.Getenv("HOLDLINE_TEST_LOG") != "" {
		level = slog.LevelDebug
	}
	n, err := Open(context.Background(), Options{
		DataDir: dir, RunDir: dir, WithoutGuard: true, Version: "test",
		Logger: slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: level})),
	})
	if err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, os.Stdin)
	return errors.Join(err, n.Kill())
}

// restartAlone starts a node again as a process of its own: what it does with memory and processors is its own then, as on a box.
func (l *lab) restartAlone(i int) {
	l.t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), processDir+"="+l.dirs[i])
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		l.t.Fatal(err)
	}
	l.t.Cleanup(func() {
		if err := errors.Join(in.Close(), cmd.Wait()); err != nil {
			l.t.Errorf("node n%d as a process of its own: %v", i+1, err)
		}
	})
}
