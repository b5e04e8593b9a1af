package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"holdline/cluster/api"
	"holdline/deploy/lab/netlab"
	"holdline/vip"
)

var boxNames = []string{"n1", "n2", "n3"}

// patience is how long a script waits for anything before it fails.
const patience = 30 * time.Second

// boxes is a switch with three boxes, 10.77.0.11 to 13, and the daemons on them.
type boxes struct {
	dir     string
	net     *netlab.Network
	space   map[string]*netlab.Box
	daemons map[string]*exec.Cmd
	others  map[string][]io.Closer // sockets of other programs
}

type boxesKey struct{}

func newBoxes(dir string) (*boxes, error) {
	n, err := netlab.New()
	if err != nil {
		return nil, err
	}
	b := &boxes{dir: dir, net: n, space: map[string]*netlab.Box{}, daemons: map[string]*exec.Cmd{}, others: map[string][]io.Closer{}}
	for i, name := range boxNames {
		addr := netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 77, 0, byte(11 + i)}), 24)
		if b.space[name], err = n.AddBox(name, byte(1+i), addr); err != nil {
			n.Close()
			return nil, err
		}
	}
	return b, nil
}

// close ends the boxes, and with them what runs there: the kernel ends a daemon, started anew or not, when its box is closed (netlab.Space.Start).
func (b *boxes) close(t testscript.T) {
	b.net.Close()
	for _, sockets := range b.others {
		for _, s := range sockets {
			_ = s.Close()
		}
	}
	for name, cmd := range b.daemons {
		if cmd.ProcessState != nil {
			continue
		}
		survived := time.AfterFunc(patience, func() { _ = cmd.Process.Kill() })
		_ = cmd.Wait() // killed, one way or the other
		if !survived.Stop() {
			t.Fatal("a process of " + name + " has outlived its box")
		}
	}
}

func (b *boxes) socket(name string) string { return filepath.Join(b.dir, name, "s") }

// boxCommands are what cluster scripts have beyond the usual.
func boxCommands() map[string]func(*testscript.TestScript, bool, []string) {
	on := func(f func(*boxes, *testscript.TestScript, []string)) func(*testscript.TestScript, bool, []string) {
		return func(ts *testscript.TestScript, _ bool, args []string) {
			f(ts.Value(boxesKey{}).(*boxes), ts, args)
		}
	}
	return map[string]func(*testscript.TestScript, bool, []string){
		"address": on((*boxes).address), // address BOX PREFIX [OLD]: gives the box's card another address, and takes the old one away
		"cable":   on((*boxes).cable),   // cable BOX PREFIX BOX PREFIX: lays a cable between two boxes, beside the switch, and gives its ends these addresses
		"refuse":  on((*boxes).refuse),  // refuse BOX PATTERN: starts the daemon there, which must end by itself and say so
		"occupy":  on((*boxes).occupy),  // occupy BOX [PORT]: something else than the daemon has the port there, UDP and TCP; none: nothing has any more
		"serve":   on((*boxes).serve),   // serve BOX [FLAG...]: starts the daemon there and waits until it answers
		"down":    on((*boxes).stop),    // down BOX: SIGTERM; the daemon must end with exit code 0
		"crash":   on((*boxes).kill),    // crash BOX: SIGKILL to all that runs there
		"until":   on((*boxes).until),   // until PATTERN COMMAND...: repeats a command until its output matches
		"token":   on((*boxes).token),   // token VAR [FLAG...]: makes a join token and puts it into the environment
		"expire":  on((*boxes).expire),  // expire FILE: waits until the token in the JSON file has expired
		"slack":   on((*boxes).slack),   // slack BOX: the daemon has its timer slack, the guard it started has none, or the usual one
		"guard":   on((*boxes).guard),   // guard BOX [stop]: starts a guard there, as a unit of its own would, and waits until it answers; or ends it
	}
}

func (b *boxes) address(ts *testscript.TestScript, args []string) {
	ts.Check(b.space[args[0]].AddAddress(netlab.Card, netip.MustParsePrefix(args[1])))
	if len(args) > 2 {
		ts.Check(b.space[args[0]].RemoveAddress(netlab.Card, netip.MustParsePrefix(args[2])))
	}
}

func (b *boxes) cable(ts *testscript.TestScript, args []string) {
	const card = "eth1"
	ts.Check(b.space[args[0]].Connect(b.space[args[2]].Space, card))
	for i := 0; i < len(args); i += 2 {
		ts.Check(b.space[args[i]].AddAddress(card, netip.MustParsePrefix(args[i+1])))
	}
}

// daemon is a box's serve, not started.
func (b *boxes) daemon(ts *testscript.TestScript, name string, flags ...string) *exec.Cmd {
	exe, err := exec.LookPath("holdline")
	ts.Check(err)
	return exec.Command(exe, append([]string{"serve", "--data-dir", filepath.Join(b.dir, name, "data"), "--socket", b.socket(name)}, flags...)...)
}

func (b *boxes) refuse(ts *testscript.TestScript, args []string) {
	cmd := b.daemon(ts, args[0])
	var said strings.Builder
	cmd.Stdout, cmd.Stderr = &said, &said
	ts.Check(b.space[args[0]].Start(cmd))
	ended := time.AfterFunc(patience, func() { _ = cmd.Process.Kill() })
	err := cmd.Wait()
	if in := regexp.MustCompile(`(?m)` + args[1]); !ended.Stop() || err == nil || !in.MatchString(said.String()) {
		ts.Fatalf("serve on %s: %v, want %q in\n%s", args[0], err, args[1], said.String())
	}
}

func (b *boxes) occupy(ts *testscript.TestScript, args []string) {
	name := args[0]
	for _, s := range b.others[name] {
		ts.Check(s.Close())
	}
	delete(b.others, name)
	if len(args) == 1 {
		return
	}
	ts.Check(b.space[name].Do(func() error {
		udp, err := net.ListenPacket("udp4", "0.0.0.0:"+args[1])
		if err != nil {
			return err
		}
		b.others[name] = append(b.others[name], udp)
		tcp, err := net.Listen("tcp4", "0.0.0.0:"+args[1])
		if err != nil {
			return err
		}
		b.others[name] = append(b.others[name], tcp)
		return nil
	}))
}

func (b *boxes) serve(ts *testscript.TestScript, args []string) {
	name := args[0]
	ts.Check(os.MkdirAll(filepath.Join(b.dir, name), 0o755))
	log, err := os.OpenFile(filepath.Join(b.dir, name, "log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	ts.Check(err)
	defer log.Close()
	cmd := b.daemon(ts, name, args[1:]...)
	cmd.Stdout, cmd.Stderr = log, log
	if unit := ts.Getenv(guardUnitEnv); unit != "" {
		cmd.Env = append(os.Environ(), guardUnitEnv+"="+unit)
	}
	ts.Check(b.space[name].Start(cmd))
	b.daemons[name] = cmd
	c := api.NewClient(b.socket(name))
	defer c.Close()
	b.await(ts, func() string { return name + " answers\n" + b.logs() }, func() bool {
		_, err := c.Version(context.Background())
		return err == nil
	})
}

func (b *boxes) guard(ts *testscript.TestScript, args []string) {
	name := args[0]
	if len(args) > 1 {
		guard := b.daemons["guard of "+name]
		delete(b.daemons, "guard of "+name)
		ts.Check(guard.Process.Signal(syscall.SIGTERM))
		ts.Check(guard.Wait())
		return
	}
	dir := filepath.Join(b.dir, name)
	ts.Check(os.MkdirAll(dir, 0o755))
	log, err := os.OpenFile(filepath.Join(dir, "log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	ts.Check(err)
	defer log.Close()
	exe, err := exec.LookPath("holdline")
	ts.Check(err)
	cmd := exec.Command(exe, "guard", "--run-dir", dir, "--data-dir", filepath.Join(dir, "data"))
	cmd.Stdout, cmd.Stderr = log, log
	ts.Check(b.space[name].Start(cmd))
	b.daemons["guard of "+name] = cmd
	b.await(ts, func() string { return "the guard of " + name + " answers\n" + b.logs() }, func() bool {
		_, err := vip.QueryStatus(context.Background(), dir)
		return err == nil
	})
}

func (b *boxes) slack(ts *testscript.TestScript, args []string) {
	read := func(pid string) string {
		text, err := os.ReadFile("/proc/" + pid + "/timerslack_ns")
		ts.Check(err)
		return strings.TrimSpace(string(text))
	}
	daemon := strconv.Itoa(b.daemons[args[0]].Process.Pid)
	if got := read(daemon); got != strconv.Itoa(timerSlack) {
		ts.Fatalf("timer slack of serve: %s ns, want %d", got, timerSlack)
	}
	var children string
	tasks, err := filepath.Glob("/proc/" + daemon + "/task/*/children")
	ts.Check(err)
	for _, t := range tasks {
		text, err := os.ReadFile(t)
		ts.Check(err)
		children += string(text)
	}
	guard := strings.Fields(children)
	if len(guard) != 1 {
		ts.Fatalf("children of serve: %q, want the guard", children)
	}
	if got := read(guard[0]); got != "50000" && got != "0" { // 0: it has real-time priority
		ts.Fatalf("timer slack of the guard: %s ns", got)
	}
	env, err := os.ReadFile("/proc/" + guard[0] + "/environ")
	ts.Check(err)
	if !strings.Contains(string(env), vip.GuardEnv) || strings.Contains(string(env), slackSet) {
		ts.Fatalf("environment of the guard: %q", env)
	}
}

func (b *boxes) await(ts *testscript.TestScript, what func() string, try func() bool) {
	for deadline := time.Now().Add(patience); !try(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			ts.Fatalf("not within %v: %s", patience, what())
		}
	}
}

// logs are the ends of the daemons' logs.
func (b *boxes) logs() string {
	var all strings.Builder
	for _, name := range boxNames {
		text, err := os.ReadFile(filepath.Join(b.dir, name, "log"))
		if err != nil {
			continue // not started
		}
		lines := strings.Split(strings.TrimSpace(string(text)), "\n")
		fmt.Fprintf(&all, "log of %s:\n%s\n", name, strings.Join(lines[max(0, len(lines)-15):], "\n"))
	}
	return all.String()
}

func (b *boxes) stop(ts *testscript.TestScript, args []string) {
	cmd := b.daemons[args[0]]
	ts.Check(cmd.Process.Signal(syscall.SIGTERM))
	if err := cmd.Wait(); err != nil {
		log, _ := os.ReadFile(filepath.Join(b.dir, args[0], "log"))
		ts.Fatalf("serve on %s: %v\n%s", args[0], err, log)
	}
}

func (b *boxes) kill(ts *testscript.TestScript, args []string) {
	ts.Check(b.space[args[0]].Signal(syscall.SIGKILL))
	var exit *exec.ExitError
	if err := b.daemons[args[0]].Wait(); !errors.As(err, &exit) {
		ts.Fatalf("serve on %s was not killed: %v", args[0], err)
	}
}

func (b *boxes) until(ts *testscript.TestScript, args []string) {
	want, err := regexp.Compile(`(?m)` + args[0])
	ts.Check(err)
	var out []byte
	b.await(ts, func() string { return fmt.Sprintf("%q from %v, last:\n%s\n%s", args[0], args[1:], out, b.logs()) }, func() bool {
		cmd := exec.Command(args[1], args[2:]...)
		cmd.Env = append(os.Environ(), "HOLDLINE_SOCKET="+ts.Getenv("HOLDLINE_SOCKET"))
		out, _ = cmd.CombinedOutput() // status tells with an exit code too
		return want.Match(out)
	})
	ts.Logf("%s", out)
}

func (b *boxes) token(ts *testscript.TestScript, args []string) {
	cmd := exec.Command("holdline", append([]string{"token", "create", "--json"}, args[1:]...)...)
	cmd.Env = append(os.Environ(), "HOLDLINE_SOCKET="+ts.Getenv("HOLDLINE_SOCKET"))
	out, err := cmd.Output()
	ts.Check(err)
	var t api.Token
	ts.Check(json.Unmarshal(out, &t))
	ts.Check(os.WriteFile(filepath.Join(b.dir, args[0]+".json"), out, 0o600))
	ts.Setenv(args[0], strings.TrimSpace(t.Token))
}

func (b *boxes) expire(ts *testscript.TestScript, args []string) {
	var t api.Token
	ts.Check(json.Unmarshal([]byte(ts.ReadFile(args[0])), &t))
	time.Sleep(time.Until(t.Expires) + 10*time.Millisecond)
}
