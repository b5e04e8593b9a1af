package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"holdline/deploy/lab/netlab"
)

// step is one thing that an operator does, or that befalls a box.
type step struct {
	what    string
	silence time.Duration // what it may cost a VIP; it counts from the drill on
	do      func(ctx context.Context, w *world) error
}

const (
	core  = "holdline.service"
	guard = "holdline-guard.service"
)

// installation is docs/install.md, up to a cluster.
var installation = []step{
	{"boot three systems", 0, func(ctx context.Context, w *world) error { return w.each((*box).powerOn, ctx) }},
	{"install the package", 0, func(ctx context.Context, w *world) error { return w.each(install, ctx) }},
	{"init, join, join", 0, form},
	{"add a domain and a user", 0, func(ctx context.Context, w *world) error {
		_, err := w.boxes[1].run(ctx, "sh", "-c", "holdline domain add example.com && echo secret | holdline user add alice@example.com --password-stdin")
		return err
	}},
}

// drill is what happens to boxes afterwards. Each step falls on the box that owns the first VIP then.
var drill = []step{
	{"restart the core", served, onOwner(systemctl("restart", core))},
	{"restart the guard", served, onOwner(systemctl("restart", guard))},
	{"stop the core, start it", served, onOwner(systemctl("stop", core), systemctl("start", core))},
	{"kill the core", served, onOwner(hit("KILL", core))},
	{"kill the guard", served, onOwner(hit("KILL", guard))},
	{"freeze the core until its watchdog has it restarted", frozen, onOwner(hit("STOP", core))},
	{"freeze the guard until its watchdog has it restarted", served, onOwner(hit("STOP", guard))},
	{"pull the cable for three seconds", served, onOwner((*box).withoutCable)},
	{"shut the box down, boot it", served, onOwner((*box).powerOff, (*box).powerOn)},
	{"cut its power, boot it", served, onOwner((*box).cutPower, (*box).powerOn)},
	{"drain the box, upgrade it, undrain it", served, onOwner(typed("holdline", "drain"), upgrade, typed("holdline", "undrain"))},
	{"upgrade it without that", served, onOwner(upgrade)},
}

// removal takes one box out of the cluster, and Holdline off it.
var removal = []step{
	{"leave, purge the package", 0, func(ctx context.Context, w *world) error {
		b := w.boxes[2]
		for _, args := range [][]string{{"holdline", "leave", "--force"}, {"dpkg", "--purge", "holdline"}} {
			if _, err := b.run(ctx, args...); err != nil {
				return err
			}
		}
		return b.clean(ctx)
	}},
}

// each does something on every box, in turn.
func (w *world) each(do func(*box, context.Context) error, ctx context.Context) error {
	for _, b := range w.boxes {
		if err := do(b, ctx); err != nil {
			return err
		}
	}
	return nil
}

// onOwner does things, one after the other, on the box that owns the first VIP when it begins.
func onOwner(things ...func(*box, context.Context) error) func(context.Context, *world) error {
	return func(ctx context.Context, w *world) error {
		b, err := w.owner(ctx, 1)
		for i := 0; err == nil && i < len(things); i++ {
			err = things[i](b, ctx)
		}
		return err
	}
}

// typed is a command as an operator types it on the box.
func typed(args ...string) func(*box, context.Context) error {
	return func(b *box, ctx context.Context) error {
		_, err := b.run(ctx, args...)
		return err
	}
}

func systemctl(args ...string) func(*box, context.Context) error {
	return typed(append([]string{"systemctl"}, args...)...)
}

// install puts the package on. Both units run then, unconfigured, with all that they ask for.
func install(b *box, ctx context.Context) error {
	if _, err := b.run(ctx, "dpkg", "--install", "/root/holdline.deb"); err != nil {
		return err
	}
	for _, unit := range []string{core, guard} {
		if err := until(ctx, bootTime, unit+" on "+b.name, func() error {
			_, err := b.run(ctx, "systemctl", "is-active", unit)
			return err
		}); err != nil {
			return err
		}
	}
	warnings, err := b.run(ctx, "sh", "-c", "journalctl --unit holdline --unit holdline-guard --no-pager | grep -E 'level=(WARN|ERROR)' || true")
	if err == nil && warnings != "" {
		err = fmt.Errorf("%s: a new daemon warns: %s", b.name, warnings)
	}
	return err
}

// upgrade puts the same package on once more: its scripts take that for an upgrade.
func upgrade(b *box, ctx context.Context) error {
	_, err := b.run(ctx, "dpkg", "--install", "/root/holdline.deb")
	return err
}

// form makes a cluster of the boxes, one command each.
func form(ctx context.Context, w *world) error {
	args := []string{"holdline", "init", "--name", "n1", "--listen", boxAddr(1).Addr().String()}
	for n := range w.boxes {
		args = append(args, "--vip", vip(n+1).String())
	}
	if _, err := w.boxes[0].run(ctx, args...); err != nil {
		return err
	}
	for i, b := range w.boxes[1:] {
		line, err := w.boxes[0].run(ctx, "holdline", "token", "create") // … holdline join TOKEN --name …
		if err != nil {
			return err
		}
		_, rest, _ := strings.Cut(line, "holdline join ")
		token, _, _ := strings.Cut(rest, " ")
		if _, err := b.run(ctx, "holdline", "join", token, "--name", fmt.Sprintf("n%d", i+2), "--listen", boxAddr(i+2).Addr().String()); err != nil {
			return err
		}
	}
	return w.highlyAvailable(ctx)
}

// hit sends a signal to the process of a unit, and returns when systemd has started another one.
func hit(sig, unit string) func(*box, context.Context) error {
	return func(b *box, ctx context.Context) error {
		pid, err := b.run(ctx, "systemctl", "show", "--property=MainPID", "--value", unit)
		if err == nil && pid == "0" {
			err = fmt.Errorf("%s does not run on %s", unit, b.name)
		}
		if err != nil {
			return err
		}
		if _, err := b.run(ctx, "kill", "-"+sig, pid); err != nil {
			return err
		}
		return until(ctx, healthy, "a new "+unit+" on "+b.name, func() error {
			now, err := b.run(ctx, "systemctl", "show", "--property=MainPID", "--value", unit)
			if err == nil && (now == pid || now == "0") {
				err = errors.New("its process is the old one")
			}
			return err
		})
	}
}

// withoutCable pulls the cable for three seconds.
func (b *box) withoutCable(ctx context.Context) error {
	if err := b.Unplug(); err != nil {
		return err
	}
	select {
	case <-time.After(3 * time.Second):
	case <-ctx.Done():
	}
	return b.Plug()
}

// clean says what Holdline has left behind.
func (b *box) clean(ctx context.Context) error {
	left, err := b.run(ctx, "sh", "-c", "ls -d /var/lib/holdline /run/holdline /etc/holdline /usr/bin/holdline 2>/dev/null; pgrep -a holdline; nft list tables; ip -o addr show dev "+netlab.Card+" | grep -F /32; true")
	if err == nil && left != "" {
		err = fmt.Errorf("%s: left behind: %s", b.name, strings.ReplaceAll(left, "\n", "; "))
	}
	return err
}
