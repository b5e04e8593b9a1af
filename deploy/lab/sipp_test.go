package lab

import (
	"bytes"
	"encoding/csv"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// What the outside client does.
const (
	sippCalls = 1000
	sippRate  = 200
	// Under the race detector, which makes all of it ten times slower: 1 000 through two VIPs. It looks for races; of the calls enough must
	// succeed to have made them.
	racyCalls = 500
	racyRate  = 25
)

// TestSipp is an outside client: sipp registers with digest, calls through a VIP to a pool member, which is another sipp, and
// hangs up. No call may fail.
func TestSipp(t *testing.T) {
	if testing.Short() {
		t.Skip("starts a cluster")
	}
	sipp, err := exec.LookPath("sipp")
	if err != nil {
		t.Skip("sipp is not installed: apt-get install sip-tester")
	}
	c, dir := startCluster(t)
	people := users(100)
	c.forSipp(t, people)
	for name, vip := range map[string]netip.Addr{"first VIP": c.vips[0], "last VIP": c.vips[len(c.vips)-1]} {
		t.Run(name, func(t *testing.T) { callWithSipp(t, sipp, c, vip, people, dir) })
	}
}

// forSipp makes a formed cluster ready for calls of sipp's.
func (c *cluster) forSipp(t *testing.T, people []user) {
	t.Helper()
	if err := c.provision(t.Context(), people); err != nil {
		t.Fatal(err)
	}
	if err := c.set(t.Context(), "proxy.gateway-probe", "0"); err != nil { // which a sipp gateway takes for a call gone wrong
		t.Fatal(err)
	}
	if raceDetector() {
		for name, value := range map[string]string{"lease.profile": "standard", "raft.timing": "standard"} {
			if err := c.set(t.Context(), name, value); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := c.awaitHA(within(t, 30*time.Second), c.nodes); err != nil {
		t.Fatal(err)
	}
}

func callWithSipp(t *testing.T, sipp string, c *cluster, vip netip.Addr, people []user, dir string) {
	s := &sippLab{t: t, c: c, binary: sipp, dir: dir}
	gateway := s.gateway()
	calls, rate := sippCalls, sippRate
	if raceDetector() {
		calls, rate = racyCalls, racyRate
	}
	s.calls(vip, people, "sipp-caller.xml", calls, rate, func() {})
	// What it calls unexpected is a BYE that came before the call's ACK.
	if said, err := os.ReadFile(filepath.Join(gateway, gatewayErrors)); err != nil && !errors.Is(err, fs.ErrNotExist) || bytes.Contains(said, []byte("unexpected BYE")) {
		t.Errorf("the gateway says: %v %.2000s", err, said)
	}
}

const gatewayErrors = "gateway-errors.log"

// sippLab runs sipp on the phones' box.
type sippLab struct {
	t      *testing.T
	c      *cluster
	binary string
	dir    string
}

func (s *sippLab) scenario(name string) string {
	path, err := filepath.Abs(filepath.Join("testdata", name))
	if err != nil {
		s.t.Fatal(err)
	}
	return path
}

func (s *sippLab) start(dir string, args ...string) (*exec.Cmd, *bytes.Buffer) {
	s.t.Helper()
	cmd := exec.Command(s.binary, args...)
	var out bytes.Buffer
	cmd.Dir, cmd.Stdout, cmd.Stderr = dir, &out, &out
	cmd.Env = append(os.Environ(), "TERM=dumb")
	if err := s.c.phones.Start(cmd); err != nil {
		s.t.Fatal(err)
	}
	return cmd, &out
}

func (s *sippLab) tempDir() string {
	dir, err := os.MkdirTemp(s.dir, "sipp-")
	if err != nil {
		s.t.Fatal(err)
	}
	return dir
}

// gateway answers calls until the test ends. It returns the directory of its logs.
func (s *sippLab) gateway() string {
	dir := s.tempDir()
	gw, out := s.start(dir, "-sf", s.scenario("sipp-gateway.xml"), "-i", gatewayAddr.Addr().String(), "-p", strconv.Itoa(int(gatewayAddr.Port())),
		"-nostdin", "-trace_err", "-error_file", filepath.Join(dir, gatewayErrors),
		"-trace_msg", "-message_file", filepath.Join(dir, "gateway-messages.log"))
	s.t.Cleanup(func() {
		if err := gw.Process.Kill(); err != nil {
			s.t.Errorf("end the gateway: %v: %.2000s", err, out)
		}
		_ = gw.Wait() // killed
	})
	// Before it listens its machine answers for it, that nobody is there, and calls fail for that at once.
	deadline := time.Now().Add(10 * time.Second)
	for !s.listens(gatewayAddr.Port()) {
		if time.Now().After(deadline) {
			s.t.Fatalf("the gateway does not listen: %.2000s", out)
		}
		time.Sleep(10 * time.Millisecond)
	}
	return dir
}

// listens says whether something on the phones' box has a UDP socket on the port.
func (s *sippLab) listens(port uint16) bool {
	var table []byte
	err := s.c.phones.Do(func() (err error) {
		table, err = os.ReadFile("/proc/thread-self/net/udp")
		return err
	})
	if err != nil {
		s.t.Fatal(err)
	}
	return strings.Contains(string(table), fmt.Sprintf(":%04X 00000000:0000", port))
}

// calls makes calls through a VIP at a rate, each as in scenario, while during runs. None may fail.
func (s *sippLab) calls(vip netip.Addr, people []user, scenario string, calls, rate int, during func()) {
	dir := s.tempDir()
	var list strings.Builder
	list.WriteString("SEQUENTIAL\n")
	for _, u := range people {
		fmt.Fprintf(&list, "%s;[authentication username=%s password=%s]\n", u.name, u.name, u.password)
	}
	inf := filepath.Join(dir, "users.csv")
	if err := os.WriteFile(inf, []byte(list.String()), 0o600); err != nil {
		s.t.Fatal(err)
	}
	stats := filepath.Join(dir, "stats.csv")
	caller, out := s.start(dir, "-sf", s.scenario(scenario), "-inf", inf, "-i", phoneHosts()[0].String(), "-p", "5070",
		"-m", strconv.Itoa(calls), "-r", strconv.Itoa(rate), "-l", "4000", "-nostdin", "-timeout", "90s", "-timeout_error", "-rtcheck", "loose",
		"-trace_stat", "-stf", stats, "-fd", "1", "-trace_err", "-error_file", filepath.Join(dir, "caller-errors.log"),
		netip.AddrPortFrom(vip, sipPort).String())
	during()
	err := caller.Wait()
	good, bad := sippCounts(s.t, stats)
	s.t.Logf("sipp: %d calls succeeded, %d failed", good, bad)
	if raceDetector() && good >= calls/2 {
		return
	}
	if err != nil || good != calls || bad != 0 {
		errs, readErr := os.ReadFile(filepath.Join(dir, "caller-errors.log"))
		s.t.Errorf("sipp: %v; %d succeeded and %d failed of %d\n%.3000s\n%.3000s %v", err, good, bad, calls, tail(out.String(), 3000), errs, readErr)
	}
}

func tail(s string, n int) string { return s[max(0, len(s)-n):] }

// sippCounts reads the last row of sipp's statistics.
func sippCounts(t *testing.T, path string) (good, bad int) {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	r := csv.NewReader(f)
	r.Comma, r.FieldsPerRecord = ';', -1
	rows, err := r.ReadAll()
	if err != nil || len(rows) < 2 {
		t.Fatalf("sipp's statistics: %v, %d rows", err, len(rows))
	}
	last := rows[len(rows)-1]
	for i, name := range rows[0] {
		switch {
		case i >= len(last):
		case name == "SuccessfulCall(C)":
			good = atoi(t, last[i])
		case name == "FailedCall(C)":
			bad = atoi(t, last[i])
		}
	}
	return good, bad
}

func atoi(t *testing.T, s string) int {
	t.Helper()
	n, err := strconv.Atoi(s)
	if err != nil {
		t.Fatal(err)
	}
	return n
}
