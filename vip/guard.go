package vip

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"
	"golang.org/x/sys/unix"
)

// Options are what a guard needs to start. Everything else comes from the core (Config).
type Options struct {
	RunDir  string       // guard.sock, guard.shm, guard.lock
	DataDir string       // guard.json
	Logger  *slog.Logger // nil: discard
}

// ErrRunning means that another guard serves the run directory.
var ErrRunning = errors.New("another guard is running there")

// RunGuard is the guard process: it serves the core on guard.sock until ctx ends, then gives away its groups and
// returns. It needs CAP_NET_ADMIN (ErrPowerless). It changes the scheduling and memory locking of the whole process, so it is a process of its own.
func RunGuard(ctx context.Context, o Options) error {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if err := MayHoldAddresses(); err != nil { // before the lock, which is for one that can
		return fmt.Errorf("start guard: %w", err)
	}
	if err := errors.Join(os.MkdirAll(o.RunDir, 0o755), os.MkdirAll(o.DataDir, 0o700)); err != nil {
		return fmt.Errorf("start guard: %w", err)
	}
	unlock, err := lockRunDir(o.RunDir)
	if err != nil {
		return fmt.Errorf("start guard in %s: %w", o.RunDir, err)
	}
	defer unlock()
	state, err := loadState(o.DataDir)
	if err != nil {
		return fmt.Errorf("start guard: %w", err)
	}
	g, err := newGuard(o, state)
	if err != nil {
		return fmt.Errorf("start guard: %w", err)
	}
	defer g.close()
	listener, err := listenIPC(o.RunDir)
	if err != nil {
		return fmt.Errorf("start guard: %w", err)
	}
	return g.serve(ctx, listener)
}

// serve runs the loop and what is beside it.
func (g *guard) serve(ctx context.Context, listener *net.UnixListener) error {
	server := newIPCServer(g, listener)
	beside, stop := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(server.run)
	wg.Go(func() { g.addresses.run(beside) })
	wg.Go(func() { g.scans.run(beside) })
	wg.Go(func() { g.housekeep(beside) })
	wg.Go(func() { watchdog(beside, g) })
	wg.Go(func() {
		select {
		case <-ctx.Done():
			_, _ = daemon.SdNotify(false, daemon.SdNotifyStopping) // best effort
			g.post(g.shutdown)
		case <-beside.Done():
		}
	})
	g.log.Info("guard runs", "run_dir", g.opt.RunDir, "fence", g.fenceKind(), "real_time", g.realTime)
	_, _ = daemon.SdNotify(false, daemon.SdNotifyReady) // no systemd: nothing to tell
	err := g.loop()
	stop()
	server.close()
	wg.Wait()
	if err != nil {
		return fmt.Errorf("guard loop: %w", err)
	}
	g.log.Info("guard ends")
	return nil
}

func lockRunDir(dir string) (unlock func(), err error) {
	f, err := os.OpenFile(filepath.Join(dir, lockFile), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		f.Close()
		if errors.Is(err, unix.EWOULDBLOCK) {
			return nil, ErrRunning
		}
		return nil, os.NewSyscallError("flock", err)
	}
	return func() { f.Close() }, nil
}

// listenIPC replaces the socket of a predecessor; the lock says that it is dead.
func listenIPC(dir string) (*net.UnixListener, error) {
	path := sockPath(dir)
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("remove old socket: %w", err)
	}
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		return nil, fmt.Errorf("listen for the core: %w", err)
	}
	if err := os.Chmod(path, 0o600); err != nil {
		l.Close()
		return nil, fmt.Errorf("protect socket: %w", err)
	}
	return l, nil
}

// watchdog tells systemd that the loop turns, as long as it does.
func watchdog(ctx context.Context, g *guard) {
	every, err := daemon.SdWatchdogEnabled(false)
	if err != nil || every == 0 {
		return
	}
	tick := time.NewTicker(every / 3)
	defer tick.Stop()
	var last uint64
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if turns := g.turns.Load(); turns != last {
			last = turns
			_, _ = daemon.SdNotify(false, daemon.SdNotifyWatchdog) // the next one will do
		}
	}
}

// housekeep looks every second whether somebody has flushed the fence away.
func (g *guard) housekeep(ctx context.Context) {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if !g.fenced.Load() {
			continue
		}
		if ok, err := fenceIntact(); err == nil && !ok {
			g.post(g.fenceGone)
		}
	}
}
