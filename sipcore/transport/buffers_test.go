package transport

import (
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// envPowerless is set in a run of this test binary without CAP_NET_ADMIN.
const envPowerless = "HOLDLINE_TRANSPORT_TEST_POWERLESS"

// The package's kernel settings allow what a daemon without CAP_NET_ADMIN asks for.
func TestPackageAllowsBuffers(t *testing.T) {
	text, err := os.ReadFile("../../deploy/systemd/holdline.sysctl")
	if err != nil {
		t.Fatal(err)
	}
	for _, key := range []string{"net.core.rmem_max", "net.core.wmem_max"} {
		if want := fmt.Sprintf("\n%s = %d\n", key, defaultBuffer); !strings.Contains(string(text), want) {
			t.Errorf("the package does not set%s", want)
		}
	}
}

// Without CAP_NET_ADMIN buffers that the kernel does not grant are told of once, with the settings that would.
func TestSmallBuffersAreTold(t *testing.T) {
	if os.Getenv(envPowerless) == "" {
		cmd := exec.Command("/proc/self/exe", "-test.run", "^TestSmallBuffersAreTold$")
		cmd.Env = append(os.Environ(), envPowerless+"=1")
		if out, err := outputWithout(cmd, unix.CAP_NET_ADMIN); err != nil {
			t.Errorf("%v\n%s", err, out)
		}
		return
	}
	var most int
	text, err := os.ReadFile("/proc/sys/net/core/rmem_max")
	if err == nil {
		_, err = fmt.Sscan(string(text), &most)
	}
	if err != nil {
		t.Skip(err)
	}
	size := 2*most + 2 // the kernel answers twice what it grants
	var log strings.Builder
	start(t, Options{Readers: 1, ReceiveBuffer: size, SendBuffer: size, Handler: echo, Logger: slog.New(slog.NewTextHandler(&log, nil))}, "127.0.0.1")
	if want := fmt.Sprintf("sysctl -w net.core.rmem_max=%d net.core.wmem_max=%d", size, size); strings.Count(log.String(), want) != 1 {
		t.Errorf("want %q once in: %s", want, log.String())
	}
}

// outputWithout runs a command as a process that never has a capability.
func outputWithout(cmd *exec.Cmd, capability uintptr) (out string, err error) {
	var text strings.Builder
	cmd.Stdout, cmd.Stderr = &text, &text
	started := make(chan error)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread loses the capability too, and ends with the goroutine
		err := unix.Prctl(unix.PR_CAPBSET_DROP, capability, 0, 0, 0)
		if err == nil {
			err = cmd.Start()
		}
		started <- err
	}()
	if err := <-started; err != nil {
		return "", err
	}
	err = cmd.Wait()
	return text.String(), err
}
