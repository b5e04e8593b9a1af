package main

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"
)

// systemd tells the service manager how the daemon is. Without one (no NOTIFY_SOCKET) it does nothing.
type systemd struct{ log *slog.Logger }

func (s systemd) tell(state string) {
	if _, err := daemon.SdNotify(false, state); err != nil {
		s.log.Warn("systemd not notified", "state", state, "err", err)
	}
}

// watchdogInterval is what systemd expects, 0 when it watches nothing.
func (s systemd) watchdogInterval() time.Duration {
	d, err := daemon.SdWatchdogEnabled(false)
	if err != nil {
		s.log.Warn("watchdog setting not understood", "err", err)
	}
	return d
}

// supervise reports READY, then feeds the watchdog as long as the node is alive, and STOPPING at the end. A node that is not
// alive is not fed: systemd then restarts it, and the guard drops its groups meanwhile.
func supervise(ctx context.Context, n node, s systemd, log *slog.Logger) error {
	s.tell(daemon.SdNotifyReady)
	defer s.tell(daemon.SdNotifyStopping)
	every := checkEvery
	if w := s.watchdogInterval(); w > 0 {
		every = min(every, w/3)
	}
	t := time.NewTicker(every)
	defer t.Stop()
	for {
		check, cancel := context.WithTimeout(ctx, every)
		err := n.Live(check)
		if err == nil {
			s.tell(daemon.SdNotifyWatchdog + "\n" + statusLine(check, n))
		} else if ctx.Err() == nil {
			log.Error("not alive", "err", err)
			s.tell("STATUS=not alive: " + err.Error())
		}
		cancel()
		select {
		case <-ctx.Done():
			return nil
		case <-t.C:
		}
	}
}

// statusLine is what `systemctl status` shows.
func statusLine(ctx context.Context, n node) string {
	st, err := n.Status(ctx)
	if err != nil {
		return fmt.Sprintf("STATUS=status unknown: %v", err)
	}
	return "STATUS=HA: " + st.HA.Summary
}
