// Package userns lets an ordinary user make network namespaces: by running the program again in a user namespace in
// which that user is root.
package userns

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"syscall"

	"golang.org/x/sys/unix"
)

// Marker is the environment variable that a process in a user namespace made by this package carries.
const Marker = "HOLDLINE_LAB_USERNS"

// Inside tells whether this process runs in a user namespace made by Command.
func Inside() bool { return os.Getenv(Marker) != "" }

// Capable tells whether this process may make network namespaces, by making one.
func Capable() bool {
	result := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		if unix.Gettid() == os.Getpid() {
			// The main thread would stay in the new namespace: let another one try.
			again := make(chan error, 1)
			go func() {
				runtime.LockOSThread() // never unlocked: the thread ends with the goroutine
				again <- unix.Unshare(unix.CLONE_NEWNET)
			}()
			result <- <-again
			runtime.UnlockOSThread()
			return
		}
		result <- unix.Unshare(unix.CLONE_NEWNET)
	}()
	return <-result == nil
}

// Command is this program again with the given arguments, in its own user, network and mount namespace, where the
// present user is root. It is killed when the calling thread ends; standard streams are left to the caller.
func Command(ctx context.Context, args ...string) (*exec.Cmd, error) {
	exe, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("find the running program: %w", err)
	}
	cmd := exec.CommandContext(ctx, exe, args...)
	cmd.Env = append(os.Environ(), Marker+"=1")
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:                 syscall.CLONE_NEWUSER | syscall.CLONE_NEWNET | syscall.CLONE_NEWNS,
		UidMappings:                []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}},
		GidMappings:                []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}},
		GidMappingsEnableSetgroups: false,
		Pdeathsig:                  syscall.SIGTERM,
		Setpgid:                    true, // Ctrl-C is for the parent, which passes it on once
	}
	return cmd, nil
}

// Explain turns the error of starting such a command into a sentence that says what to do.
func Explain(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, unix.EPERM), errors.Is(err, unix.EACCES), errors.Is(err, unix.ENOSPC), errors.Is(err, unix.EINVAL), errors.Is(err, unix.ENOSYS):
		return fmt.Errorf("make network namespaces: this user may not, and user namespaces are switched off here (%w); run it as root, or allow them (sysctl user.max_user_namespaces, kernel.apparmor_restrict_unprivileged_userns)", err)
	default:
		return fmt.Errorf("run again in a user namespace: %w", err)
	}
}

// ForTests is called first in TestMain of packages whose tests make network namespaces: without root it runs the test
// binary again in a user namespace and exits with its exit code.
func ForTests() {
	if Inside() || Capable() {
		return
	}
	os.Exit(rerun())
}

func rerun() int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	runtime.LockOSThread() // Pdeathsig follows the starting thread
	cmd, err := Command(ctx, os.Args[1:]...)
	if err == nil {
		cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
		err = cmd.Start()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, Explain(err))
		return 1
	}
	if err := cmd.Wait(); err != nil && cmd.ProcessState.ExitCode() <= 0 {
		fmt.Fprintln(os.Stderr, "tests in a user namespace:", err)
		return 1
	}
	return cmd.ProcessState.ExitCode()
}
