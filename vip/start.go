package vip

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Runs reports whether a guard answers on a run directory.
func Runs(runDir string) bool {
	c, err := net.DialTimeout("unix", filepath.Join(runDir, sockFile), guardLook)
	if err != nil {
		return false
	}
	_ = c.Close() // it has learned of the guard what it wanted to
	return true
}

// StartOptions say how to start a guard.
type StartOptions struct {
	RunDir  string
	DataDir string
	Logger  *slog.Logger
	// Command runs "holdline guard"; nil: this very binary with "guard --run-dir RunDir --data-dir DataDir".
	Command []string
	// Unit, if not empty, is the systemd unit that runs the guard: none is started here, whatever happens to that one.
	Unit string
}

// Supervisor keeps a guard running beside the core.
type Supervisor struct {
	opt   StartOptions
	log   *slog.Logger
	child atomic.Int64  // process id, 0: the guard is not ours
	ready chan struct{} // closed when a guard has answered
	stop  chan struct{}
	done  chan struct{}
	err   atomic.Pointer[error] // of the latest start
}

// GuardEnv is in the environment of a guard. Without it the Go runtime preempts the guard's loop, which sleeps behind its back (see poll), by a
// signal, fifty times a second. The loop gives way at its next turn all the same.
const GuardEnv = "GODEBUG=asyncpreemptoff=1"

// ordinarySlack is the kernel's own choice of a process's timer slack, ns.
const ordinarySlack = 50_000

// Times of the supervisor.
const (
	guardReady   = 3 * time.Second        // for a guard to answer after its start
	guardReturn  = 2 * time.Second        // for systemd to start its guard again
	guardLook    = 20 * time.Millisecond  // between two looks
	unitLook     = 100 * time.Millisecond // between two looks for the guard of a unit, which may be away for long
	guardEnd     = 3 * time.Second        // for a guard to give its groups away and end
	restartFirst = 100 * time.Millisecond // before a guard that died is started again
	restartMax   = 2 * time.Second
)

// StartGuard sees to it that a guard runs on the run directory: one that is there already (a systemd unit of its
// own) is left alone and watched, else one is started as a child of this process and restarted when it dies. The child ends with
// this process. It returns once a guard answers; ctx bounds only that. With a Unit it returns without one, too, when the unit has not answered
// for a moment, and goes on waiting for it: a child of a process that lacks the unit's rights would only stand in its way.
func StartGuard(ctx context.Context, o StartOptions) (*Supervisor, error) {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Command == nil {
		o.Command = []string{"/proc/self/exe", "guard", "--run-dir", o.RunDir, "--data-dir", o.DataDir}
	}
	s := &Supervisor{opt: o, log: o.Logger, ready: make(chan struct{}), stop: make(chan struct{}), done: make(chan struct{})}
	var enough <-chan time.Time
	if o.Unit == "" {
		go s.run()
	} else {
		go s.follow()
		enough = time.After(guardReturn)
	}
	select {
	case <-s.ready:
		return s, nil
	case <-enough:
		return s, nil
	case <-ctx.Done():
		err := errors.Join(ctx.Err(), s.lastErr(), s.Stop())
		return nil, fmt.Errorf("start guard: %w", err)
	}
}

// Child tells whether the guard is a child of this process, and its process id.
func (s *Supervisor) Child() (pid int, ok bool) {
	pid = int(s.child.Load())
	return pid, pid != 0
}

// Answered tells whether a guard has answered since StartGuard.
func (s *Supervisor) Answered() bool {
	select {
	case <-s.ready:
		return true
	default:
		return false
	}
}

// Stop ends the guard, if it is a child: it gives away its groups first. Close the Client before. It returns when
// the child is gone. Call it once.
func (s *Supervisor) Stop() error {
	close(s.stop)
	<-s.done
	return nil
}

func (s *Supervisor) lastErr() error {
	if e := s.err.Load(); e != nil {
		return *e
	}
	return nil
}

func (s *Supervisor) stopping() bool {
	select {
	case <-s.stop:
		return true
	default:
		return false
	}
}

// pause waits, and tells whether to go on.
func (s *Supervisor) pause(d time.Duration) bool {
	select {
	case <-s.stop:
		return false
	case <-time.After(d):
		return true
	}
}

func (s *Supervisor) run() {
	// The kernel ends the child when the thread that started it ends (Pdeathsig), so this one stays.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	defer close(s.done)
	wait := restartFirst
	for !s.stopping() {
		if sess := s.find(); sess != nil {
			s.answered()
			s.watch(sess)
			if s.findWithin(guardReturn) {
				continue
			}
		}
		if s.stopping() {
			return
		}
		start := time.Now()
		err := s.runChild()
		if s.stopping() {
			return
		}
		s.err.Store(&err)
		s.log.Error("guard has ended, starting it again", "err", err)
		if time.Since(start) > 10*restartMax {
			wait = restartFirst
		}
		if !s.pause(wait) {
			return
		}
		wait = min(2*wait, restartMax)
	}
}

// find connects to a guard that runs; nil: none does.
func (s *Supervisor) find() *session {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	sess, err := dialSession(ctx, s.opt.RunDir, func(Event) {})
	if err != nil {
		return nil
	}
	if err := sess.hello(ctx, false); err != nil {
		sess.close(err)
		<-sess.done
		return nil
	}
	return sess
}

func (s *Supervisor) findWithin(d time.Duration) bool {
	for end := time.Now().Add(d); time.Now().Before(end); {
		if sess := s.find(); sess != nil {
			sess.close(errors.New("found"))
			<-sess.done
			return true
		}
		if !s.pause(guardLook) {
			return false
		}
	}
	return false
}

// watch returns when a guard that is not ours has gone.
func (s *Supervisor) watch(sess *session) {
	select {
	case <-sess.done:
	case <-s.stop:
		sess.close(errors.New("stopped"))
		<-sess.done
	}
}

func (s *Supervisor) answered() {
	if !s.Answered() {
		close(s.ready)
	}
}

// follow watches the guard of a unit. While that is away it waits, and says so once.
func (s *Supervisor) follow() {
	defer close(s.done)
	since, told := time.Now(), false
	for {
		if sess := s.find(); sess != nil {
			if told {
				s.log.Info("the guard's unit answers again", "unit", s.opt.Unit)
			}
			s.answered()
			s.watch(sess)
			since, told = time.Now(), false
		} else if !told && time.Since(since) >= guardReturn {
			s.log.Warn("the guard's unit does not answer: this node can hold no VIP; waiting for it: systemctl start "+s.opt.Unit, "unit", s.opt.Unit)
			told = true
		}
		if !s.pause(unitLook) {
			return
		}
	}
}

// runChild starts a guard and returns when it has ended.
func (s *Supervisor) runChild() error {
	cmd := exec.Command(s.opt.Command[0], s.opt.Command[1:]...)
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	for _, e := range os.Environ() {
		// systemd watches this process, not its child.
		if !strings.HasPrefix(e, "NOTIFY_SOCKET=") && !strings.HasPrefix(e, "WATCHDOG_") {
			cmd.Env = append(cmd.Env, e)
		}
	}
	cmd.Env = append(cmd.Env, GuardEnv)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: unix.SIGTERM}
	if err := startPunctual(cmd); err != nil {
		return fmt.Errorf("start guard process: %w", err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	s.child.Store(int64(cmd.Process.Pid))
	defer s.child.Store(0)
	for end := time.Now().Add(guardReady); time.Now().Before(end); {
		if sess := s.find(); sess != nil {
			s.log.Info("guard runs as a child", "pid", cmd.Process.Pid)
			s.answered()
			sess.close(errors.New("found"))
			<-sess.done
			break
		}
		select {
		case err := <-ended:
			return exitError(err)
		case <-s.stop:
			return s.endChild(cmd, ended)
		case <-time.After(guardLook):
		}
	}
	select {
	case err := <-ended:
		return exitError(err)
	case <-s.stop:
		return s.endChild(cmd, ended)
	}
}

// startPunctual starts a child with the usual timer slack: it has that of the thread that starts it, which is the caller's own (see run). The guard's
// heartbeats are to be on time even where it gets no real-time priority; with it there is no slack at all.
func startPunctual(cmd *exec.Cmd) error {
	if slack, err := unix.PrctlRetInt(unix.PR_GET_TIMERSLACK, 0, 0, 0, 0); err == nil { // every kernel knows it; a sandbox may not
		_ = unix.Prctl(unix.PR_SET_TIMERSLACK, ordinarySlack, 0, 0, 0)
		defer func() { _ = unix.Prctl(unix.PR_SET_TIMERSLACK, uintptr(slack), 0, 0, 0) }()
	}
	return cmd.Start()
}

func exitError(err error) error {
	if err == nil {
		return errors.New("guard process ended by itself")
	}
	return fmt.Errorf("guard process: %w", err)
}

func (s *Supervisor) endChild(cmd *exec.Cmd, ended <-chan error) error {
	_ = cmd.Process.Signal(unix.SIGTERM) // fails when it has ended already
	select {
	case <-ended:
	case <-time.After(guardEnd):
		_ = cmd.Process.Kill()
		<-ended
	}
	return nil
}
