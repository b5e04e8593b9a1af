package main

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"holdline/deploy/lab/netlab"
)

// box is one system: a disk, a network card on the switch, and, while it has power, a systemd with what that runs.
type box struct {
	*netlab.Box
	name string
	addr netip.Prefix
	root string // its disk
	logs string // its console

	nspawn *exec.Cmd
	off    chan error // gets what the container ended with
	init   int        // process id of its systemd, as seen from here
}

const (
	bootTime  = 30 * time.Second
	pollEvery = 100 * time.Millisecond
)

// newBox plugs a box into the switch and gives it a copy of the base system and the package.
func newBox(ctx context.Context, net *netlab.Network, number byte, addr netip.Prefix, base, deb, dir string) (*box, error) {
	name := fmt.Sprintf("box%d", number)
	nb, err := net.AddBox(name, number, addr)
	if err != nil {
		return nil, err
	}
	b := &box{Box: nb, name: name, addr: addr, root: filepath.Join(dir, name), logs: filepath.Join(dir, name+".log")}
	if out, err := exec.CommandContext(ctx, "cp", "-a", "--reflink=auto", base, b.root).CombinedOutput(); err != nil {
		return nil, fmt.Errorf("copy the base system: %w: %s", err, lastLine(out))
	}
	if out, err := exec.CommandContext(ctx, "cp", deb, filepath.Join(b.root, "root/holdline.deb")).CombinedOutput(); err != nil {
		return nil, fmt.Errorf("copy the package: %w: %s", err, lastLine(out))
	}
	return b, os.WriteFile(filepath.Join(b.root, "etc/hostname"), []byte(name+"\n"), 0o644) //nolint:gosec // as every system has it
}

// powerOn boots the box and returns when its systemd has started all that it starts.
func (b *box) powerOn(ctx context.Context) error {
	log, err := os.OpenFile(b.logs, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644) //nolint:gosec // a console's output
	if err != nil {
		return err
	}
	defer log.Close()
	// The container's network is the one that it is started in: the box's. It is told so, for else it might not configure that.
	args := []string{
		"--quiet", "--boot", "--register=no", "--machine=" + b.name, "--directory=" + b.root, "--network-namespace-path=/proc/self/ns/net",
		"--capability=CAP_NET_ADMIN,CAP_IPC_LOCK", // the guard's; a container has them only if it is told so
		"--console=read-only",
	}
	if _, err := os.Stat("/run/systemd/system"); err != nil {
		args = append(args, "--keep-unit") // there is no systemd on this machine that could give it a unit
	}
	b.nspawn, b.off = exec.Command("systemd-nspawn", args...), make(chan error, 1)
	b.nspawn.Stdout, b.nspawn.Stderr = log, log
	if err := b.Start(b.nspawn); err != nil {
		return fmt.Errorf("boot %s: %w", b.name, err)
	}
	go func(cmd *exec.Cmd, off chan<- error) { off <- cmd.Wait() }(b.nspawn, b.off)
	return until(ctx, bootTime, b.name+" to boot", func() error {
		if b.init = child(b.nspawn.Process.Pid); b.init == 0 {
			return errors.New("it has no init yet")
		}
		out, err := b.run(ctx, "systemctl", "is-system-running")
		if out == "running" {
			return nil
		}
		return fmt.Errorf("it is %q: %w", out, err)
	})
}

// powerOff shuts the box down in order, as an operator does.
func (b *box) powerOff(ctx context.Context) error {
	if _, err := b.run(ctx, "systemctl", "--no-block", "poweroff"); err != nil {
		return err
	}
	return b.dark(ctx)
}

// cutPower ends all that runs on the box, between two instructions.
func (b *box) cutPower(ctx context.Context) error {
	if err := b.Unplug(); err != nil { // first, for the card would go on without a system
		return err
	}
	if err := b.kill(); err != nil {
		return err
	}
	return b.dark(ctx)
}

// gone waits for the container's end.
func (b *box) gone(ctx context.Context) error {
	select {
	case <-b.off:
		b.init = 0
		return nil
	case <-time.After(bootTime):
		return fmt.Errorf("%s still runs after %v", b.name, bootTime)
	case <-ctx.Done():
		return ctx.Err()
	}
}

// kill ends the box's first process, and with it, by the kernel, all others: the container's own program would leave them running if it were killed.
func (b *box) kill() error {
	err := unix.Kill(b.init, unix.SIGKILL)
	if errors.Is(err, unix.ESRCH) { // it has ended by itself
		return nil
	}
	return err
}

// dark waits until a box is off and takes from its card what only a running system has on it: the namespace outlives the container.
func (b *box) dark(ctx context.Context) error {
	if err := b.gone(ctx); err != nil {
		return err
	}
	if err := b.Unplug(); err != nil {
		return err
	}
	card, err := b.Links().LinkByName(netlab.Card)
	if err != nil {
		return err
	}
	list, err := b.Links().AddrList(card, unix.AF_INET)
	if err != nil {
		return err
	}
	for _, a := range list { // VIPs; the guard's rules stay, and are made anew by the next one
		if p, ok := netip.AddrFromSlice(a.IP.To4()); ok && p != b.addr.Addr() {
			if err := b.Links().AddrDel(card, &a); err != nil {
				return fmt.Errorf("take %v off %s: %w", p, b.name, err)
			}
		}
	}
	return b.Plug()
}

// run runs a command on the box as root, and returns what it printed without the line feed at the end. The error has the last line of it.
func (b *box) run(ctx context.Context, args ...string) (string, error) {
	enter := []string{"--target", strconv.Itoa(b.init), "--mount", "--uts", "--ipc", "--net", "--pid", "--root", "--wd", "env", "-i", "PATH=/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root", "DEBIAN_FRONTEND=noninteractive"}
	cmd := exec.CommandContext(ctx, "nsenter", append(enter, args...)...)
	out, err := cmd.CombinedOutput()
	text := strings.TrimRight(string(out), "\n")
	if err != nil {
		err = fmt.Errorf("%s: %s: %w: %s", b.name, strings.Join(args, " "), err, lastLine(out))
	}
	return text, err
}

// until asks again until there is no error, or the time is over: then it returns the last one.
func until(ctx context.Context, patience time.Duration, what string, ask func() error) error {
	for end := time.Now().Add(patience); ; time.Sleep(pollEvery) {
		err := ask()
		if err == nil || ctx.Err() != nil {
			return ctx.Err()
		}
		if time.Now().After(end) {
			return fmt.Errorf("waited %v for %s: %w", patience, what, err)
		}
	}
}

// child is the first child of a process, 0 if it has none.
func child(pid int) int {
	list, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", pid, pid))
	if err != nil {
		return 0
	}
	fields := strings.Fields(string(list))
	if len(fields) == 0 {
		return 0
	}
	n, err := strconv.Atoi(fields[0])
	if err != nil {
		return 0
	}
	return n
}

func lastLine(out []byte) string {
	lines := strings.Split(strings.TrimSpace(string(out)), "\n")
	return lines[len(lines)-1]
}
