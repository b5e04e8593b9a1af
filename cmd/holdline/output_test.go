package main

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"golang.org/x/sys/unix"

	"holdline/cluster/api"
)

// However long the cells, a table fits the terminal, and what a peer sent cannot steer the terminal.
func TestTableFits(t *testing.T) {
	long := strings.Repeat("x", 300)
	tab := newTable("A", "B", "C")
	tab.row("short", long, long)
	tab.row("ä\x1b[2Jö", "y", "z")
	var b strings.Builder
	const columns = 100
	if err := tab.writeWithin(&b, columns); err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSuffix(b.String(), "\n"), "\n")
	for _, l := range lines {
		if n := utf8.RuneCountInString(l); n > columns {
			t.Errorf("%d columns: %s", n, l)
		}
	}
	if len(lines) != 3 || strings.ContainsRune(b.String(), '\x1b') || !strings.Contains(lines[1], "…") {
		t.Errorf("got:\n%s", b.String())
	}
	if strings.Index(lines[0], "B") != strings.Index(lines[1], "x") {
		t.Errorf("columns are not aligned:\n%s", b.String())
	}
}

// What reads a pipe or a file gets every cell whole.
func TestTableOutsideTerminal(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	long := strings.Repeat("x", 300)
	tab := newTable("A", "B")
	tab.row(long, "sip:alice@192.0.2.1:5060")
	if err := errors.Join(tab.write(w), w.Close()); err != nil {
		t.Fatal(err)
	}
	got, err := io.ReadAll(r)
	if err != nil || !strings.HasSuffix(string(got), "\n"+long+"  sip:alice@192.0.2.1:5060\n") {
		t.Errorf("%v, got:\n%s", err, got)
	}
}

// A terminal has the columns that it says it has, and is taken for no narrower than tables can be read on.
func TestTerminalWidth(t *testing.T) {
	ptmx, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0)
	if err != nil {
		t.Skip(err)
	}
	defer ptmx.Close()
	for set, want := range map[uint16]int{200: 200, 40: narrowest, 0: narrowest} {
		if err := unix.IoctlSetWinsize(int(ptmx.Fd()), unix.TIOCSWINSZ, &unix.Winsize{Row: 24, Col: set}); err != nil {
			t.Fatal(err)
		}
		if got := screenWidth(ptmx); got != want {
			t.Errorf("%d columns: want %d, got %d", set, want, got)
		}
	}
}

// Who owns a group is one thing where nobody does, and another where this node cannot know.
func TestOwnerOfGroup(t *testing.T) {
	for want, g := range map[string]api.Group{
		"vip - n1 - - 7 0": {Name: "vip", Owner: "n1", Epoch: 7}, "vip - nobody - - - 0": {Name: "vip"}, "vip - unknown - - - 0": {Name: "vip", Unknown: true},
	} {
		g.VIPs = []api.VIP{{Prefix: "-"}}
		var b strings.Builder
		if err := groupTable([]api.Group{g}, time.Now()).write(&b); err != nil {
			t.Fatal(err)
		}
		if got := strings.Join(strings.Fields(strings.Split(b.String(), "\n")[1]), " "); got != want {
			t.Errorf("want %s, got %s", want, got)
		}
	}
}

func TestShort(t *testing.T) {
	for d, want := range map[time.Duration]string{
		-time.Second: "0 ms", 12 * time.Millisecond: "12 ms", 90 * time.Second: "90 s", 26 * time.Minute: "26 min", 5 * time.Hour: "5 h", 80 * time.Hour: "3 d",
	} {
		if got := short(d); got != want {
			t.Errorf("%v: want %s, got %s", d, want, got)
		}
	}
}

func TestGroupsOf(t *testing.T) {
	g, err := groupsOf([]string{"10.77.0.101/24, 192.0.2.5/26", "10.77.0.102/24"}, []string{"192.0.2.5=203.0.113.9"})
	if err != nil || len(g) != 2 || len(g[0].VIPs) != 2 || g[0].VIPs[1].Advertise != "203.0.113.9" || g[0].VIPs[0].Advertise != "" {
		t.Errorf("%+v, %v", g, err)
	}
	if addresses(g[0].VIPs) != "10.77.0.101/24 + 192.0.2.5/26 as 203.0.113.9" {
		t.Error(addresses(g[0].VIPs))
	}
}

// What the sample shows commented out is an example, or what holds without it; every key in it is known.
func TestSampleConfigIsDefault(t *testing.T) {
	const sample = "../../deploy/package/holdline.yaml"
	c, err := loadConfig(sample)
	if err != nil || c != (config{DataDir: defaultDataDir, Socket: "/run/holdline/holdline.sock"}) {
		t.Errorf("%+v, %v", c, err)
	}

	text, err := os.ReadFile(sample)
	if err != nil {
		t.Fatal(err)
	}
	all := filepath.Join(t.TempDir(), "holdline.yaml")
	if err := os.WriteFile(all, regexp.MustCompile(`(?m)^#([a-z_]+:)`).ReplaceAll(text, []byte("$1")), 0o600); err != nil {
		t.Fatal(err)
	}
	want := config{Name: "n1", Listen: "10.77.0.11", DataDir: defaultDataDir, Socket: "/run/holdline/holdline.sock", Metrics: "127.0.0.1:9700", LogLevel: "info"}
	if c, err := loadConfig(all); err != nil || c != want {
		t.Errorf("%+v, %v", c, err)
	}
}
