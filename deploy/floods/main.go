package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"holdline/deploy/lab/userns"
)

func main() {
	if !userns.Inside() && !userns.Capable() {
		os.Exit(again())
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := command(ctx, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "floods:", err)
		os.Exit(1)
	}
}

// again runs the program in a user namespace: without root that is where network namespaces can be made.
func again() int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	runtime.LockOSThread() // the child is killed when the thread that started it ends
	cmd, err := userns.Command(ctx, os.Args[1:]...)
	if err == nil {
		cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
		err = cmd.Run()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "floods:", userns.Explain(err))
		return 1
	}
	return 0
}

func command(ctx context.Context, args []string) error {
	flags := flag.NewFlagSet("floods", flag.ContinueOnError)
	binary := flags.String("holdline", "bin/holdline", "the binary under test")
	out := flags.String("out", "build/floods.json", "where the figures go")
	seconds := flags.Int("seconds", 10, "length of each flood")
	phones := flags.Int("phones", 3000, "that register at once")
	memory := flags.Int64("memory", 512, "MiB that the node is told that it has (GOMEMLIMIT); it may have half as much again resident")
	if err := flags.Parse(args); err != nil {
		return err
	}
	path, err := filepath.Abs(*binary)
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "holdline-floods-")
	if err != nil {
		return err
	}
	r, err := run(ctx, options{
		binary: path, dir: dir, length: time.Duration(*seconds) * time.Second, steady: steadyAfter, memory: *memory << 20, phones: *phones, said: os.Stdout,
	})
	if err != nil {
		return err
	}
	if err := r.write(*out); err != nil {
		return err
	}
	if bad := r.judge(fullTerms(*memory << 20)); len(bad) > 0 {
		return fmt.Errorf("logs are in %s: %w", dir, errors.Join(bad...))
	}
	fmt.Println("pass")
	return os.RemoveAll(dir)
}

func (r *report) write(path string) error {
	b, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil { //nolint:gosec // figures are no secret
		return err
	}
	return os.WriteFile(path, append(b, '\n'), 0o644) //nolint:gosec // likewise
}

// generous raises the limit of open files: connections of the floods are many.
func generous() {
	var lim unix.Rlimit
	if unix.Getrlimit(unix.RLIMIT_NOFILE, &lim) == nil {
		lim.Cur = lim.Max
		_ = unix.Setrlimit(unix.RLIMIT_NOFILE, &lim) // fewer connections then, which the report says
	}
}

func say(w io.Writer, format string, args ...any) { fmt.Fprintf(w, format+"\n", args...) }
