package lab

import (
	"bytes"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// foreign is another's program that runs on the phones' box, and what it says.
type foreign struct {
	t *testing.T

	mu   sync.Mutex
	said bytes.Buffer
	read int // of that by await
}

// Write implements io.Writer for what the program says.
func (f *foreign) Write(p []byte) (int, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.said.Write(p)
}

func (f *foreign) all() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.said.String()
}

// await waits until the program has said all of these, in any order, after all that was awaited before.
func (f *foreign) await(these ...string) {
	f.t.Helper()
	for end := time.Now().Add(15 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		all, missing, to := f.all(), "", f.read
		for _, what := range these {
			i := strings.Index(all[f.read:], what)
			if i < 0 {
				missing = what
			}
			to = max(to, f.read+i+len(what))
		}
		if missing == "" {
			f.read = to
			return
		}
		if time.Now().After(end) {
			f.t.Fatalf("it does not say %q", missing)
		}
	}
}

// startKamailio starts the carrier and returns when it answers.
func startKamailio(t *testing.T, c *cluster, dir string, far netip.AddrPort) *foreign {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("testdata", "carrier.cfg"))
	if err != nil {
		t.Fatal(err)
	}
	run, err := os.MkdirTemp(dir, "kamailio-")
	if err != nil {
		t.Fatal(err)
	}
	config := filepath.Join(run, "carrier.cfg")
	filled := strings.NewReplacer("@LISTEN@", gatewayAddr.String(), "@FAR@", far.String(), "@FAR_HOST@", far.Addr().String(), "@TWICE@", accountTwice).Replace(string(text))
	if err := os.WriteFile(config, []byte(filled), 0o600); err != nil {
		t.Fatal(err)
	}
	f := &foreign{t: t}
	cmd := exec.Command("kamailio", "-f", config, "-DD", "-E", "-m", "64", "-M", "8", "-Y", run, "-P", filepath.Join(run, "pid"))
	cmd.Stdout, cmd.Stderr = f, f
	if err := c.phones.Start(cmd); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := cmd.Process.Signal(syscall.SIGTERM); err != nil { // it ends its children
			t.Errorf("end kamailio: %v", err)
		}
		_ = cmd.Wait() // ended
		if t.Failed() {
			t.Logf("kamailio said:\n%s", f.all())
		}
	})
	return f
}
