package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"
)

// bound ends a run that hangs.
const bound = 15 * time.Minute

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := command(ctx, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "boxes:", err)
		os.Exit(1)
	}
}

func command(ctx context.Context, args []string) error {
	flags := flag.NewFlagSet("boxes", flag.ContinueOnError)
	deb := flags.String("package", "", "the .deb under test")
	base := flags.String("base", "build/boxes-base", "a Debian with systemd; made there if it is missing (debootstrap), and kept")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if _, err := os.Stat(*deb); err != nil {
		return fmt.Errorf("no package: %w: run `make boxes`, which builds it", err)
	}
	if err := able(); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, bound)
	defer cancel()
	if err := makeBase(ctx, *base); err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "holdline-boxes-")
	if err != nil {
		return err
	}
	if err := run(ctx, *deb, *base, dir); err != nil {
		return fmt.Errorf("%w (the boxes' disks and consoles are in %s)", err, dir)
	}
	fmt.Println("verdict: pass")
	return os.RemoveAll(dir)
}

// able says what is missing here.
func able() error {
	if os.Geteuid() != 0 {
		return errors.New("systems are booted in containers: this needs root")
	}
	for program, pkg := range map[string]string{"systemd-nspawn": "systemd-container", "debootstrap": "debootstrap", "nsenter": "util-linux"} {
		if _, err := exec.LookPath(program); err != nil {
			return fmt.Errorf("%s is missing: apt install %s", program, pkg)
		}
	}
	return nil
}

// makeBase installs a small Debian at dir, unless one is there.
func makeBase(ctx context.Context, dir string) error {
	if _, err := os.Stat(filepath.Join(dir, "sbin/init")); err == nil {
		return nil
	}
	fmt.Println("installing a Debian for the boxes (debootstrap)")
	part := dir + ".part" // a run that is broken off leaves no half of one
	if err := os.RemoveAll(part); err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(dir), 0o755); err != nil { //nolint:gosec // as any directory of a build
		return err
	}
	cmd := exec.CommandContext(ctx, "debootstrap", "--variant=minbase", "--include=systemd,systemd-sysv,dbus,iproute2,nftables,procps", "bookworm", part)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("debootstrap: %w: %s", err, lastLine(out))
	}
	return os.Rename(part, dir)
}
