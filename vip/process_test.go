package vip

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"os/signal"
	"syscall"
	"testing"
	"time"
)

// More environment of a process.
const (
	envRunDir  = "HOLDLINE_VIP_TEST_RUN_DIR"
	envDataDir = "HOLDLINE_VIP_TEST_DATA_DIR"
	envConfig  = "HOLDLINE_VIP_TEST_CONFIG"
	envVerbose = "HOLDLINE_VIP_TEST_VERBOSE"
)

// guardMain is "holdline guard".
func guardMain() int {
	ctx, cancel := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer cancel()
	o := Options{RunDir: os.Getenv(envRunDir), DataDir: os.Getenv(envDataDir)}
	if os.Getenv(envVerbose) != "" {
		o.Logger = slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelDebug}))
	}
	if err := RunGuard(ctx, o); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

// coreMain is a core that beats until it is killed.
func coreMain() int {
	var cfg Config
	err := json.Unmarshal([]byte(os.Getenv(envConfig)), &cfg)
	if err == nil {
		var c *Client
		if c, err = Dial(context.Background(), os.Getenv(envRunDir)); err == nil {
			if err = c.Configure(cfg); err == nil {
				fmt.Println("configured")
				for {
					c.Beat()
					time.Sleep(50 * time.Millisecond)
				}
			}
		}
	}
	fmt.Fprintln(os.Stderr, err)
	return 1
}

// startProcess runs this binary in a role in a namespace. It is killed at the end of the test.
func startProcess(t testing.TB, s *space, role string, env ...string) *exec.Cmd {
	t.Helper()
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), envRole+"="+role)
	cmd.Env = append(cmd.Env, env...)
	cmd.Stderr = os.Stderr
	if role == "core" {
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		defer func() {
			if line, err := bufio.NewReader(out).ReadString('\n'); err != nil || line != "configured\n" {
				t.Fatalf("core process says %q, %v", line, err)
			}
		}()
	}
	s.do(t, cmd.Start)
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGCONT)
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	return cmd
}

func jsonOf(t testing.TB, v any) string {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}
