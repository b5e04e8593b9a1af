package cluster

import (
	"errors"
	"net"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sys/unix"

	"holdline/cluster/api"
	"holdline/vip"
)

// TestMayGuard: what could have no guard neither founds a cluster nor asks to be let into one.
func TestMayGuard(t *testing.T) {
	n := &Node{opt: Options{RunDir: t.TempDir()}}
	unit, without := &Node{opt: Options{GuardUnit: "holdline-guard.service"}}, &Node{opt: Options{WithoutGuard: true}}
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread() // which ends with this goroutine: its capabilities are gone
		var data [2]unix.CapUserData
		header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
		if err := unix.Capget(&header, &data[0]); err != nil {
			t.Error(err)
			return
		}
		data[0].Effective &^= 1 << unix.CAP_NET_ADMIN
		if err := unix.Capset(&header, &data[0]); err != nil {
			t.Error(err)
			return
		}
		for range 2 {
			err := n.mayGuard()
			if err == nil || !strings.Contains(err.Error(), vip.ErrPowerless.Error()) || api.CodeOf(err) != api.CodeRefused || strings.Contains(err.Error(), "\n") {
				t.Errorf("a guard is not refused: %v", err)
			}
		}
		if _, err := n.Init(t.Context(), api.InitRequest{Name: "n1", Listen: "127.0.0.1:7700"}); err == nil || !strings.Contains(err.Error(), vip.ErrPowerless.Error()) {
			t.Errorf("init: %v", err)
		}
		for _, n := range []*Node{unit, without} {
			if err := n.mayGuard(); err != nil {
				t.Error(err)
			}
		}
		l, err := net.Listen("unix", filepath.Join(n.opt.RunDir, "guard.sock"))
		if err != nil {
			t.Error(err)
			return
		}
		defer l.Close()
		if err := n.mayGuard(); err != nil {
			t.Errorf("beside a guard that runs: %v", err)
		}
	}()
	<-done
}

// TestUntilFree: an address that its former holder still answers for is waited for, and one that stays in use is refused.
func TestUntilFree(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		used := errors.New("in use")
		until := func(free time.Duration) func() error {
			return func() error {
				time.Sleep(20 * time.Millisecond) // an answer
				if time.Since(start) < free {
					return used
				}
				return nil
			}
		}
		if err := untilFree(t.Context(), until(300*time.Millisecond)); err != nil {
			t.Error(err)
		}
		start = time.Now()
		if err, took := untilFree(t.Context(), until(time.Hour)), time.Since(start); !errors.Is(err, used) || took < leavesWithin || took > 2*leavesWithin {
			t.Errorf("%v after %v", err, took)
		}
	})
}
