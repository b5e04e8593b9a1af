// Package node runs one box of the cluster under test: a real `holdline serve` inside its namespace, and the CLI as an
// operator would type it there.
package node

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"holdline/deploy/lab/netlab"
)

// commandTime is how long a CLI command may take before the lab gives up on it: join waits until the node has caught up.
const commandTime = 30 * time.Second

// Node is one box. Safe for concurrent use, but Start, Stop and Kill are for one goroutine.
type Node struct {
	Name string
	Addr netip.Addr
	Box  *netlab.Box
	Log  string // file with what serve and guard wrote

	binary string
	dir    string
	socket string
	syncs  *netlab.Syncs // of its own disk, nil where it has none

	mu      sync.Mutex
	ended   chan struct{} // closed when the present serve has ended
	meant   bool          // that it ends is the lab's doing
	crashes []string
}

// New prepares a box whose files live in a directory of its own below dir.
func New(box *netlab.Box, name string, addr netip.Addr, binary, dir string) (*Node, error) {
	n := &Node{Name: name, Addr: addr, Box: box, binary: binary, dir: filepath.Join(dir, name)}
	n.Log = filepath.Join(n.dir, "serve.log")
	n.socket = filepath.Join(n.dir, "run", "holdline.sock")
	for _, d := range []string{filepath.Join(n.dir, "data"), filepath.Dir(n.socket)} {
		if err := os.MkdirAll(d, 0o700); err != nil {
			return nil, fmt.Errorf("make the directory of %s: %w", name, err)
		}
	}
	return n, nil
}

// Socket is where serve takes commands.
func (n *Node) Socket() string { return n.socket }

// Start starts serve and waits until its local socket answers.
func (n *Node) Start(ctx context.Context) error { return n.start(ctx, false) }

// start starts serve; meant: that it ends is what is wanted.
func (n *Node) start(ctx context.Context, meant bool) error {
	n.mu.Lock()
	before := n.ended
	n.mu.Unlock()
	if before != nil { // how the last one ended must be known before this one begins
		select {
		case <-before:
		case <-ctx.Done():
			return fmt.Errorf("start serve on %s: the last one still runs: %w", n.Name, ctx.Err())
		}
	}
	log, err := os.OpenFile(n.Log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("open the log of %s: %w", n.Name, err)
	}
	defer log.Close() // the process has its own copy
	cmd := exec.Command(n.binary, "serve", "--data-dir", filepath.Join(n.dir, "data"), "--socket", n.socket)
	cmd.Dir, cmd.Stdout, cmd.Stderr = n.dir, log, log
	cmd.Env = n.environment()
	if err := n.Box.Start(cmd); err != nil {
		return fmt.Errorf("start serve on %s: %w", n.Name, err)
	}
	ended := make(chan struct{})
	n.mu.Lock()
	n.ended, n.meant = ended, meant
	n.mu.Unlock()
	go func() {
		err := cmd.Wait()
		n.mu.Lock()
		defer n.mu.Unlock()
		if !n.meant {
			n.crashes = append(n.crashes, fmt.Sprintf("serve on %s ended by itself (%v): %s", n.Name, exitText(err), lastLine(n.Log)))
		}
		close(ended)
	}()
	return n.Await(ctx, func(ctx context.Context) error {
		_, err := n.Status(ctx)
		return err
	})
}

func exitText(err error) string {
	if err == nil {
		return "exit code 0"
	}
	return err.Error()
}

// environment of the product: nothing of the caller's but what any shell has.
func (n *Node) environment() []string {
	return []string{"PATH=" + os.Getenv("PATH"), "HOME=" + n.dir, "TMPDIR=" + os.TempDir(), "HOLDLINE_SOCKET=" + n.socket}
}

// Await tries until try succeeds, the process has ended, or ctx has.
func (n *Node) Await(ctx context.Context, try func(context.Context) error) error {
	n.mu.Lock()
	ended := n.ended
	n.mu.Unlock()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	var last error
	for {
		err := try(ctx)
		if err == nil {
			return nil
		}
		if last == nil || ctx.Err() == nil { // a try that was cut short says nothing
			last = err
		}
		select {
		case <-tick.C:
		case <-ended:
			return fmt.Errorf("serve on %s has ended: %s", n.Name, lastLine(n.Log))
		case <-ctx.Done():
			return fmt.Errorf("wait for %s: %w (last: %w)", n.Name, ctx.Err(), last)
		}
	}
}

// CLI runs a command of the product on the box and returns what it printed.
func (n *Node) CLI(ctx context.Context, stdin string, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, commandTime)
	defer cancel()
	cmd := exec.CommandContext(ctx, n.binary, args...)
	var out, errOut bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(stdin), &out, &errOut
	cmd.Env, cmd.Dir = n.environment(), n.dir
	if err := n.Box.Start(cmd); err != nil {
		return "", fmt.Errorf("%s: holdline %s: %w", n.Name, strings.Join(args, " "), err)
	}
	if err := cmd.Wait(); err != nil {
		said := strings.TrimSpace(errOut.String())
		if said == "" {
			said = strings.TrimSpace(out.String())
		}
		return out.String(), fmt.Errorf("%s: holdline %s: %w: %s", n.Name, strings.Join(args, " "), err, said)
	}
	return out.String(), nil
}

// JSON runs a read with --json and decodes what it printed. An exit code other than 0 may come with an answer: status has
// one for a cluster that is not highly available.
func (n *Node) JSON(ctx context.Context, v any, args ...string) error {
	out, err := n.CLI(ctx, "", append(args, "--json")...)
	var exit *exec.ExitError
	if err != nil && (!errors.As(err, &exit) || strings.TrimSpace(out) == "") {
		return err
	}
	if err := json.Unmarshal([]byte(out), v); err != nil {
		return fmt.Errorf("%s: holdline %s --json: %w: %.200s", n.Name, strings.Join(args, " "), err, out)
	}
	return nil
}

// Kill ends serve, guard and whatever else of the product runs on the box, without warning (SIGKILL).
func (n *Node) Kill() error {
	n.expectEnd()
	return n.signal(unix.SIGKILL)
}

// Freeze stops every process of the box where it stands (SIGSTOP).
func (n *Node) Freeze() error { return n.signal(unix.SIGSTOP) }

// Part is which of the product's processes on a box a signal is for.
type Part string

// Parts of the product on a box.
const (
	Both  Part = "both"
	Serve Part = "serve"
	Guard Part = "guard"
)

// Shot is a signal to processes that have been looked up already: it takes microseconds, so it hits the moment it is meant for.
type Shot struct {
	node *Node
	part Part
	pids []int
}

// Aim looks the processes up, the guard first.
func (n *Node) Aim(part Part) (Shot, error) {
	procs, err := n.Box.Processes()
	if err != nil {
		return Shot{}, err
	}
	s := Shot{node: n, part: part}
	for _, guards := range []bool{true, false} {
		for _, p := range procs {
			if isGuard(p) == guards && (part == Both || (part == Guard) == guards) {
				s.pids = append(s.pids, p.PID)
			}
		}
	}
	if len(s.pids) == 0 {
		return s, fmt.Errorf("%s: nothing of %s runs", n.Name, part)
	}
	return s, nil
}

// Fire sends the signal.
func (s Shot) Fire(sig unix.Signal) error {
	if sig == unix.SIGKILL && s.part != Guard {
		s.node.expectEnd()
	}
	for _, pid := range s.pids {
		if err := unix.Kill(pid, sig); err != nil && !errors.Is(err, unix.ESRCH) {
			return fmt.Errorf("signal %v to process %d on %s: %w", sig, pid, s.node.Name, err)
		}
	}
	return nil
}

// MoveTo puts the processes into a control group, given by its file cgroup.procs. That they end there is what is wanted.
func (s Shot) MoveTo(group string) error {
	s.node.expectEnd()
	for _, pid := range s.pids {
		if err := os.WriteFile(group, []byte(strconv.Itoa(pid)), 0); err != nil {
			return fmt.Errorf("move process %d on %s: %w", pid, s.node.Name, err)
		}
	}
	return nil
}

// AwaitEnd waits until serve has ended.
func (n *Node) AwaitEnd(ctx context.Context) error {
	n.mu.Lock()
	ended := n.ended
	n.mu.Unlock()
	select {
	case <-ended:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("serve on %s still runs: %w", n.Name, ctx.Err())
	}
}

// signal reaches the guard first: one that lives a moment longer than serve sees it end and gives the VIPs away, which a box that
// dies does not.
func (n *Node) signal(sig unix.Signal) error {
	procs, err := n.Box.Processes()
	if err != nil {
		return err
	}
	for _, p := range procs {
		if isGuard(p) {
			if err := unix.Kill(p.PID, sig); err != nil && !errors.Is(err, unix.ESRCH) {
				return fmt.Errorf("signal %v to the guard of %s: %w", sig, n.Name, err)
			}
		}
	}
	return n.Box.Signal(sig)
}

func isGuard(p netlab.Process) bool { return len(p.Args) > 1 && p.Args[1] == "guard" }

// Thaw lets them go on.
func (n *Node) Thaw() error { return n.Box.Signal(unix.SIGCONT) }

func (n *Node) expectEnd() {
	n.mu.Lock()
	n.meant = true
	n.mu.Unlock()
}

// Stop ends serve as an operator would (SIGTERM), and after grace without mercy. It returns when nothing of the product is left.
func (n *Node) Stop(grace time.Duration) error {
	n.expectEnd()
	errs := []error{n.Box.Signal(unix.SIGCONT), n.Box.Signal(unix.SIGTERM)}
	deadline := time.Now().Add(grace)
	for {
		procs, err := n.Box.Processes()
		if err != nil {
			return errors.Join(append(errs, err)...)
		}
		if len(procs) == 0 {
			return errors.Join(errs...)
		}
		if time.Now().After(deadline) {
			errs = append(errs, n.Box.Signal(unix.SIGKILL))
			deadline = deadline.Add(grace)
		}
		time.Sleep(10 * time.Millisecond) // the kernel tells no one else than the parent that a process has ended
	}
}

// Crashes lists what ended without the lab's doing.
func (n *Node) Crashes() []string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return append([]string(nil), n.crashes...)
}

// GuardScheduling reads from the running guard how the kernel schedules it, "" when no guard runs.
func (n *Node) GuardScheduling() (string, error) {
	procs, err := n.Box.Processes()
	if err != nil {
		return "", err
	}
	for _, p := range procs {
		if isGuard(p) {
			return scheduling(p.PID)
		}
	}
	return "", nil
}

// Memory is what serve and guard have in anonymous pages, in bytes; 0 for one that does not run.
func (n *Node) Memory() (serve, guard uint64, err error) {
	procs, err := n.Box.Processes()
	if err != nil {
		return 0, 0, err
	}
	for _, p := range procs {
		bytes, err := anonymous(p.PID)
		if err != nil {
			return 0, 0, fmt.Errorf("memory of %s: %w", n.Name, err)
		}
		if isGuard(p) {
			guard += bytes
		} else {
			serve += bytes
		}
	}
	return serve, guard, nil
}

// anonymous reads RssAnon (proc_pid_status(5)): the raft log's pages, which the kernel may drop, do not count.
func anonymous(pid int) (uint64, error) {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(status)) {
		var kb uint64
		if n, _ := fmt.Sscanf(line, "RssAnon: %d kB", &kb); n == 1 {
			return kb << 10, nil
		}
	}
	return 0, fmt.Errorf("process %d has no RssAnon", pid)
}

// scheduling looks at every thread: what matters is that those that renew are real-time.
func scheduling(pid int) (string, error) {
	tasks, err := os.ReadDir(fmt.Sprintf("/proc/%d/task", pid))
	if err != nil {
		return "", fmt.Errorf("read the guard's threads: %w", err)
	}
	best := "ordinary"
	for _, t := range tasks {
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%s/stat", pid, t.Name()))
		if err != nil {
			continue // the thread has ended
		}
		_, after, ok := strings.Cut(string(stat), ") ")
		fields := strings.Fields(after)
		if !ok || len(fields) < 39 {
			return "", fmt.Errorf("read the guard's threads: unexpected %q", stat)
		}
		// proc_pid_stat(5): policy is field 41, rt_priority 40; the cut removed two.
		if policy := fields[38]; policy == "1" || policy == "2" {
			best = map[string]string{"1": "SCHED_FIFO", "2": "SCHED_RR"}[policy] + " " + fields[37]
		}
	}
	return best, nil
}

// lastLine is the last line of a log file, for a message.
func lastLine(path string) string {
	data, err := os.ReadFile(path)
	if err != nil {
		return err.Error()
	}
	lines := strings.Split(strings.TrimSpace(string(data)), "\n")
	for _, l := range lines { // a panic says what it is at its beginning
		if strings.HasPrefix(l, "panic: ") || strings.HasPrefix(l, "fatal error: ") {
			return l + "; see " + path
		}
	}
	return lines[len(lines)-1] + "; see " + path
}
