package lab

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"holdline/cluster/api"
	"holdline/deploy/lab/capture"
	"holdline/deploy/lab/netlab"
)

// TestLiveDrill: the lab's cluster plays the boxes, `holdline drill --live` runs on a machine of its own beside them, and the operator does
// what it says. Afterwards nothing of it is left in the cluster; neither is after Ctrl-C.
func TestLiveDrill(t *testing.T) {
	if testing.Short() {
		t.Skip("starts a cluster")
	}
	c, dir := startCluster(t)
	if err := c.awaitHA(within(t, 30*time.Second), c.nodes); err != nil {
		t.Fatal(err)
	}
	if err := c.spread(within(t, 30*time.Second)); err != nil {
		t.Fatal(err)
	}
	report := filepath.Join(dir, "live.json")
	said, code := c.live(t, dir, c.phones, func(line string, p *os.Process) error {
		switch {
		case strings.Contains(line, "PULL the cable of n2"):
			return c.nodes[1].Box.Unplug()
		case strings.Contains(line, "PLUG the cable of n2"):
			return c.nodes[1].Box.Plug()
		}
		return nil
	}, "--node", "n2", "--phones", "8", "--calls", "8", "--cps", "4", "--wait", "60s", "--json", report)
	if code != 0 {
		t.Fatalf("exit code %d\n%s", code, said)
	}
	t.Log(said)
	c.nothingOfLive(t)
	data, err := os.ReadFile(report)
	if err != nil {
		t.Fatal(err)
	}
	var rep Report
	if err := json.Unmarshal(data, &rep); err != nil {
		t.Fatal(err)
	}
	calls := rep.Calls
	if !rep.Passed() || rep.Node != "n2" || rep.Fault != faultByHand || calls.Established != (Count{Total: 8}) || calls.Ringing.Total == 0 ||
		calls.Cancelled.Total == 0 || calls.Setup.Total == 0 || rep.Registrations.Acknowledged != 8 || rep.MaxSimultaneousOwners != 1 ||
		rep.VIPGapMS < 10 || rep.VIPGapMS > 900 || rep.RejoinS <= 0 {
		t.Errorf("%+v, because %v\n%s", rep.Outcome, rep.Why, said)
	}
	if v := rep.Rounds[0].VIPs[0]; v.VIP != c.vips[1].String() || !v.Moved || v.From != "n2" || (v.To != "n1" && v.To != "n3") {
		t.Errorf("the moved VIP: %+v", v)
	}

	said, code = c.live(t, dir, c.nodes[0].Box, func(line string, p *os.Process) error {
		if strings.Contains(line, "PULL the cable of n1") {
			t.Errorf("on n1: %s", line)
		}
		if strings.Contains(line, "PULL the cable of") {
			return p.Signal(syscall.SIGINT)
		}
		return nil
	}, "--phones", "4", "--calls", "2")
	if code != 1 || !strings.Contains(said, "holdline: the drill was broken off") {
		t.Errorf("exit code %d\n%s", code, said)
	}
	c.nothingOfLive(t)

	if said, code = c.live(t, dir, c.phones, nil, "--node", "n9"); code != 1 || !strings.Contains(said, `there is no node "n9"`) {
		t.Errorf("exit code %d\n%s", code, said)
	}
	c.nothingOfLive(t)
}

// live runs `holdline drill --live` on a box with the socket of the first node. do is told of each line that it says.
func (c *cluster) live(t *testing.T, dir string, on *netlab.Box, do func(string, *os.Process) error, args ...string) (said string, code int) {
	t.Helper()
	first := c.nodes[0]
	cmd := exec.Command(filepath.Join(dir, "holdline"), append([]string{"drill", "--live", "--socket", first.Socket()}, args...)...)
	out, in, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	cmd.Stdout, cmd.Stderr = in, in
	if err := on.Start(cmd); err != nil {
		t.Fatal(err)
	}
	in.Close()
	var text strings.Builder
	lines := bufio.NewScanner(io.TeeReader(out, &text))
	for lines.Scan() {
		if do == nil {
			continue
		}
		if err := do(lines.Text(), cmd.Process); err != nil {
			t.Error(err)
		}
	}
	if err := lines.Err(); err != nil {
		t.Error(err)
	}
	_ = cmd.Wait() // its exit code tells
	return text.String(), cmd.ProcessState.ExitCode()
}

// nothingOfLive looks for what a live drill may have left behind.
func (c *cluster) nothingOfLive(t *testing.T) {
	t.Helper()
	err := c.nodes[0].Await(within(t, 10*time.Second), func(ctx context.Context) error {
		s, err := c.nodes[0].Status(ctx)
		if n := s.Counts; err == nil && (n.Domains != 0 || n.Users != 0 || n.Registrations != 0 || n.Calls != 0) {
			err = fmt.Errorf("left behind: %+v", n)
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
}

// liveOf is a live drill on a cluster of three, as far as choosing goes.
func liveOf(node string) *live {
	l := &live{o: LiveOptions{Node: node}, round: &round{}}
	l.status.HA = api.HA{Level: api.HAYes}
	for i, name := range []string{"n1", "n2", "n3"} {
		addr, vip := hostAddr(11+i), hostAddr(101+i)
		l.status.Nodes = append(l.status.Nodes, api.Node{Name: name, Listen: netip.AddrPortFrom(addr, 7700).String(), State: api.NodeAlive, Leader: i == 1})
		l.status.VIPs = append(l.status.VIPs, api.Group{Owner: name, VIPs: []api.VIP{{Prefix: prefixOf(vip).String()}}})
		l.vips = append(l.vips, vip)
	}
	return l
}

func TestLiveChoosesTheNode(t *testing.T) {
	at := func(last int) func(netip.Addr) bool {
		return func(a netip.Addr) bool { return a == hostAddr(last) }
	}
	for _, tt := range []struct {
		name, node string
		local      func(netip.Addr) bool
		change     func(*live)
		want, err  string
	}{
		{name: "the leader", local: at(99), want: "n2"},
		{name: "not this machine", local: at(12), want: "n1"},
		{name: "as asked", node: "n1", local: at(99), want: "n1"},
		{name: "this machine, as asked", node: "n1", local: at(11), err: "is this machine"},
		{name: "unknown", node: "n9", local: at(99), err: "no node"},
		{name: "owner of nothing", node: "n1", local: at(99), change: func(l *live) { l.status.VIPs[0].Owner = "n2" }, err: "owns no VIP"},
		{name: "nobody else owns any", local: at(12), change: func(l *live) { l.vips = l.vips[1:2] }, err: "no other machine"},
		{name: "degraded", local: at(99), change: func(l *live) { l.status.HA = api.HA{Level: api.HADegraded, Summary: "n3 is dead"} }, err: "HA: n3 is dead"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			l := liveOf(tt.node)
			if tt.change != nil {
				tt.change(l)
			}
			err := l.choose(tt.local)
			if tt.err == "" && (err != nil || l.victim != tt.want || len(l.target.vips) != 1) {
				t.Errorf("%q with %v, %v; want %s", l.victim, l.target.vips, err, tt.want)
			}
			if tt.err != "" && (err == nil || !strings.Contains(err.Error(), tt.err)) {
				t.Errorf("%v; want %q", err, tt.err)
			}
		})
	}
}

// Behind a router every frame has the router's address: that is no count of owners.
func TestOneMAC(t *testing.T) {
	l := liveOf("")
	l.target.owners = ownersOf(l.status)
	l.faultAt = time.Unix(100, 0)
	frame := func(mac byte, vip int) capture.Frame {
		return capture.Frame{At: time.Unix(99, 0), Sender: capture.Sender{MAC: [6]byte{5: mac}}, VIP: hostAddr(vip)}
	}
	if !l.oneMAC([]capture.Frame{frame(1, 101), frame(1, 102)}) {
		t.Error("two owners with one MAC address: not noticed")
	}
	frames := []capture.Frame{frame(1, 101), frame(2, 102)}
	if l.oneMAC(frames) {
		t.Error("two owners with one each are taken for a router")
	}
	l.nameSenders(frames)
	if got := l.nameOf(frames[1].Sender); got != "n2" {
		t.Errorf("the frame of n2's VIP is from %s", got)
	}
}
