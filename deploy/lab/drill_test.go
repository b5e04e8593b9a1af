package lab

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strings"
	"testing"
	"time"
)

// TestDrill is a small drill from end to end. What it asserts holds on a busy machine too: the full one is `make drill`.
func TestDrill(t *testing.T) {
	if testing.Short() {
		t.Skip("starts a cluster")
	}
	dir := t.TempDir()
	o := Options{Binary: product(t, dir), TempDir: dir, Calls: 20, Phones: 20, CPS: 10, Fault: FaultFreeze, Transport: TransportMixed, Seed: 2}
	var said lines
	rep, err := Drill(within(t, 2*time.Minute), o, &said)
	if err != nil {
		t.Fatalf("%v\n%s", err, said.text())
	}
	var text strings.Builder
	if err := rep.WriteText(&text); err != nil {
		t.Fatal(err)
	}
	t.Log(text.String())
	c := rep.Calls
	if !rep.Passed() || c.Established != (Count{Total: 20}) || c.Ringing.Lost+c.Cancelled.Lost+c.Setup.Lost > 0 || c.Setup.Total == 0 ||
		c.Ringing.Total+c.Cancelled.Total+c.SetupOnBroken.Total < 15 ||
		rep.Registrations.Acknowledged != 20 || rep.MaxSimultaneousOwners != 1 || rep.VIPGapMS <= 0 || rep.RejoinS <= 0 {
		t.Errorf("%+v, because %v", rep.Outcome, rep.Why)
	}
	if rep.Passed() {
		nothingLeft(t, dir)
	}
}

// TestDrillBrokenOff: it leaves nothing behind, and tells of the rounds that were over.
func TestDrillBrokenOff(t *testing.T) {
	if testing.Short() {
		t.Skip("starts a cluster")
	}
	dir := t.TempDir()
	binary := product(t, dir)
	for at, rounds := range map[string]int{"registering": 0, "round 2: ": 1} {
		ctx, cancel := context.WithCancel(t.Context())
		said := lines{on: func(line string) {
			if strings.Contains(line, at) {
				cancel() // as Ctrl-C does
			}
		}}
		rep, err := Drill(ctx, Options{Binary: binary, TempDir: dir, Phones: 10, Calls: 4, CPS: 5, Repeat: 3}, &said)
		cancel()
		if !errors.Is(err, context.Canceled) || len(rep.Rounds) != rounds || rep.Partial != (rounds > 0) || rep.Passed() {
			t.Errorf("at %q: %+v, %v\n%s", at, rep.Outcome, err, said.text())
		}
		if rounds > 0 {
			var text strings.Builder
			if err := rep.WriteText(&text); err != nil || rep.Rounds[0].Verdict != VerdictPass || !strings.Contains(text.String(), "carried out: 1") ||
				!strings.HasSuffix(text.String(), "verdict: fail\n") {
				t.Errorf("%v\n%s", err, text.String())
			}
		}
		nothingLeft(t, dir)
	}
}

func TestDrillSaysWhatIsWrongWithTheBinary(t *testing.T) {
	dir := t.TempDir()
	_, err := Drill(within(t, time.Minute), Options{Binary: "/bin/false", TempDir: dir}, &lines{})
	if err == nil || !strings.Contains(err.Error(), "serve on n1 has ended") || !strings.Contains(err.Error(), "logs are in "+dir) {
		t.Errorf("got %v; want which process ended and where its log is", err)
	}
}

// nothingLeft looks for files and processes of a drill.
func nothingLeft(t *testing.T, dir string) {
	t.Helper()
	left, err := filepath.Glob(filepath.Join(dir, "holdline-drill-*"))
	if err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
	procs, err := filepath.Glob("/proc/[0-9]*/exe")
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range procs {
		if exe, err := os.Readlink(p); err == nil && strings.HasPrefix(exe, dir) {
			t.Errorf("%s still runs: %s", exe, p)
		}
	}
}

// lines collects what a drill says.
type lines struct {
	said []byte
	on   func(string)
}

func (l *lines) Write(b []byte) (int, error) {
	l.said = append(l.said, b...)
	if l.on != nil {
		l.on(string(b))
	}
	return len(b), nil
}

func (l *lines) text() string { return string(l.said) }

func within(t *testing.T, d time.Duration) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), d)
	t.Cleanup(cancel)
	return ctx
}

// product builds the binary under test.
func product(t *testing.T, dir string, flags ...string) string {
	t.Helper()
	binary := filepath.Join(dir, "holdline")
	args := append(append([]string{"build", "-o", binary}, flags...), "holdline/cmd/holdline")
	if out, err := exec.Command("go", args...).CombinedOutput(); err != nil {
		t.Fatalf("build the product: %v: %s", err, out)
	}
	return binary
}

// raceDetector tells whether this test was built with it.
func raceDetector() bool {
	info, ok := debug.ReadBuildInfo()
	return ok && slices.Contains(info.Settings, debug.BuildSetting{Key: "-race", Value: "true"})
}

// noRaces fails the test if a node's race detector has found something.
func noRaces(t *testing.T, c *cluster) {
	t.Helper()
	for _, n := range c.nodes {
		log, err := os.ReadFile(n.Log)
		if err != nil {
			t.Error(err)
		}
		if i := bytes.Index(log, []byte("WARNING: DATA RACE")); i >= 0 {
			t.Errorf("%s: %d data races, the first:\n%.4000s", n.Name, bytes.Count(log, []byte("WARNING: DATA RACE")), log[i:])
		}
	}
}

// startCluster builds the product, with the race detector if the test has it, and makes three nodes of it in the lab's namespaces.
func startCluster(t *testing.T) (*cluster, string) {
	t.Helper()
	dir, err := os.MkdirTemp("", "holdline-lab-")
	if err != nil {
		t.Fatal(err)
	}
	var flags []string
	if raceDetector() {
		flags = append(flags, "-race")
	}
	o, err := Options{Binary: product(t, dir, flags...)}.withDefaults()
	if err != nil {
		t.Fatal(err)
	}
	c, err := buildCluster(o, dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.close(); err != nil {
			t.Error(err)
		}
		noRaces(t, c)
		if t.Failed() {
			t.Logf("logs are in %s", dir)
		} else if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	if err := c.form(within(t, time.Minute)); err != nil {
		t.Fatal(err)
	}
	return c, dir
}
