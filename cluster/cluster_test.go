package cluster

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"holdline/cluster/api"
	"holdline/fsm"
	"holdline/fsm/pb"
)

func TestThreeNodes(t *testing.T) {
	l := newLab(t, 3)
	first := l.init()
	if ha := l.ha(l.nodes[0]); ha.Level != api.HANo || !strings.Contains(ha.Summary, "only one node") {
		t.Errorf("one node: %+v", ha)
	}
	if a := l.join(1, first); a.Voter || !strings.Contains(a.Message, "waiting for a third") {
		t.Errorf("second node: %+v", a)
	}
	started := time.Now()
	if a := l.join(2, l.token()); !a.Voter {
		t.Errorf("third node: %+v", a)
	}
	t.Logf("third join took %v", time.Since(started))
	l.highlyAvailable()
	for i := range l.nodes {
		name := fmt.Sprintf("d%d.example", i)
		l.addDomain(i, name)
		if !l.hasDomain(i, name) {
			t.Errorf("node %d does not read its own write", i+1)
		}
		for j := range l.nodes {
			l.until("write seen everywhere", func() bool { return l.hasDomain(j, name) })
		}
	}
	// The same command again says so and changes nothing.
	if a := l.join(2, first); !strings.Contains(a.Message, "already a member") {
		t.Errorf("join again: %+v", a)
	}
	if _, err := l.nodes[1].Init(t.Context(), api.InitRequest{Name: "x", Listen: l.addr(1)}); api.CodeOf(err) != api.CodeExists {
		t.Errorf("second init: %v", err)
	}
}

func TestLeaderLost(t *testing.T) {
	l := newLab(t, 3).formed()
	lost := l.leader()
	survivor := (lost + 1) % 3
	l.kill(lost)
	killed := time.Now()
	l.addDomain(survivor, "after.example")
	if took := time.Since(killed); took > time.Second {
		t.Errorf("writes were held for %v", took)
	} else {
		t.Logf("first write after the leader's loss took %v", took)
	}
	for i, n := range l.nodes {
		if i != lost {
			l.until("loss is told", func() bool {
				ha := l.ha(n)
				return ha.Level == api.HANo && strings.Contains(ha.Summary, fmt.Sprintf("n%d does not answer", lost+1))
			})
		}
	}
	if took := time.Since(killed); took > 2*time.Second {
		t.Errorf("status was wrong for %v", took)
	}
	l.restart(lost)
	l.highlyAvailable()
	l.until("it catches up", func() bool { return l.hasDomain(lost, "after.example") })
}

func TestMinorityTellsTheTruth(t *testing.T) {
	l := newLab(t, 3).formed()
	l.kill(0)
	l.kill(1)
	lost := time.Now()
	l.until("n3 knows", func() bool {
		ha := l.ha(l.nodes[2])
		return ha.Level == api.HANo && strings.Contains(ha.Summary, "reaches only 1 of 3 voters")
	})
	l.until("n3 looks at itself first, and removes nobody", func() bool {
		ha := l.ha(l.nodes[2])
		return strings.Contains(ha.Summary, "n1, n2 do not answer: check this node's own cables") && !strings.Contains(fmt.Sprint(ha), "node remove")
	})
	if took := time.Since(lost); took > time.Second {
		t.Errorf("it took %v", took)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	if err := l.nodes[2].AddDomain(ctx, api.Domain{Name: "never.example"}); api.CodeOf(err) != api.CodeUnavailable {
		t.Errorf("write without a majority: %v", err)
	}
}

func TestColdStartKeepsState(t *testing.T) {
	l := newLab(t, 3).formed()
	l.addDomain(1, "kept.example")
	before := l.nodes[1].engine.Load().machine.Now()
	for i := range l.nodes {
		l.kill(i)
	}
	for i := range l.nodes {
		l.restart(i)
	}
	l.highlyAvailable()
	for i := range l.nodes {
		l.until("state is back", func() bool { return l.hasDomain(i, "kept.example") })
	}
	l.addDomain(2, "new.example")
	now := l.nodes[2].engine.Load().machine.Now()
	if now < before || now > before+60_000 {
		t.Errorf("FSM time went from %d to %d", before, now)
	}
}

func TestTokens(t *testing.T) {
	l := newLab(t, 3)
	first := l.init()
	l.join(1, first)
	try := func(token string) error {
		_, err := l.nodes[2].Join(t.Context(), api.JoinRequest{Token: token, Name: "n3", Listen: l.addr(2)})
		return err
	}
	refused := func(what string, err error, code api.Code, text string) {
		t.Helper()
		if api.CodeOf(err) != code || !strings.Contains(err.Error(), text) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: %v (%s)", what, err, api.CodeOf(err))
		}
		if l.nodes[2].Configured() {
			t.Fatalf("%s: the node was let in", what)
		}
	}
	refused("used token", try(first), api.CodeRefused, "already used")
	refused("cut token", try(first[:40]), api.CodeInvalid, "incomplete")

	e := l.nodes[0].engine.Load()
	expired, err := e.createToken(t.Context(), -time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	refused("expired token", try(expired.Token), api.CodeRefused, "expired")

	other := newLab(t, 1)
	foreign := other.init()
	refused("unreachable cluster", func() error { other.kill(0); return try(foreign) }(), api.CodeUnavailable, "no member of the cluster can be reached")

	_, err = l.nodes[2].Join(t.Context(), api.JoinRequest{Token: l.token(), Name: "n1", Listen: l.addr(2)})
	refused("name taken", err, api.CodeExists, "n1 exists already")
	_, err = l.nodes[2].Join(t.Context(), api.JoinRequest{Token: l.token(), Name: "n3", Listen: "192.0.2.77"})
	refused("foreign listen address", err, api.CodeInvalid, "not on this machine")

	// After all these refusals a good token still works: nothing was left half-done.
	if a := l.join(2, l.token()); !a.Voter {
		t.Errorf("join: %+v", a)
	}
}

func TestDataDirectory(t *testing.T) {
	l := newLab(t, 1)
	l.init()
	dir := l.dirs[0]
	open := func() error {
		n, err := Open(t.Context(), Options{DataDir: dir, RunDir: dir, WithoutGuard: true})
		if err == nil {
			err = errors.Join(errors.New("it started"), n.Kill())
		}
		return err
	}
	if err := open(); !strings.Contains(err.Error(), "in use by another") {
		t.Errorf("locked: %v", err)
	}
	l.kill(0)
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := open(); !strings.Contains(err.Error(), "chmod 700") {
		t.Errorf("readable by others: %v", err)
	}
	if err := os.Chmod(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(filepath.Join(dir, "raft.db"), filepath.Join(dir, "lost")); err != nil {
		t.Fatal(err)
	}
	if err := open(); !strings.Contains(err.Error(), "data of node n1 is lost") {
		t.Errorf("lost log: %v", err)
	}
	if err := os.Rename(filepath.Join(dir, "lost"), filepath.Join(dir, "raft.db")); err != nil {
		t.Fatal(err)
	}
	l.restart(0)
}

func TestRemoveDeadAndReplace(t *testing.T) {
	l := newLab(t, 4)
	l.join(1, l.init())
	l.join(2, l.token())
	for i := range 3 {
		l.until("HA", func() bool { return l.ha(l.nodes[i]).Level == api.HAYes })
	}
	if err := l.nodes[0].RemoveNode(t.Context(), "n3", api.RemoveNodeRequest{}); api.CodeOf(err) != api.CodeRefused {
		t.Errorf("a node that is alive was removed: %v", err)
	}
	l.kill(2)
	l.until("n1 notices", func() bool { alive, _ := l.nodes[0].engine.Load().alive(3); return !alive })
	if err := l.nodes[0].RemoveNode(t.Context(), "n3", api.RemoveNodeRequest{}); err != nil {
		t.Fatal(err)
	}
	if a := l.join(3, l.token()); !a.Voter || a.Node.Number != 4 {
		t.Errorf("replacement: %+v", a)
	}
	for _, i := range []int{0, 1, 3} {
		l.until("HA again", func() bool { return l.ha(l.nodes[i]).Level == api.HAYes })
	}
	// The removed node is not let back in by its old certificate.
	l.restart(2)
	l.until("n3 is refused", func() bool { return strings.Contains(l.ha(l.nodes[2]).Summary, "reaches only 1 of 3 voters") })
	if e := l.nodes[0].engine.Load(); e.members.authorize(l.nodes[2].engine.Load().UUID, [32]byte{}) == nil {
		t.Error("still authorized")
	}
}

func TestLeave(t *testing.T) {
	l := newLab(t, 4).formed()
	if _, err := l.nodes[3].Leave(t.Context(), api.LeaveRequest{}); err != nil {
		t.Fatal(err)
	}
	if l.nodes[3].Configured() {
		t.Error("still configured")
	}
	leader := l.leader()
	if _, err := l.nodes[leader].Leave(t.Context(), api.LeaveRequest{}); api.CodeOf(err) != api.CodeRefused {
		t.Errorf("leaving for two voters without --force: %v", err)
	}
	if _, err := l.nodes[leader].Leave(t.Context(), api.LeaveRequest{Force: true}); err != nil {
		t.Fatal(err)
	}
	if a := l.join(3, func() string {
		tok, err := l.nodes[(leader+1)%3].CreateToken(t.Context(), api.TokenRequest{})
		if err != nil {
			t.Fatal(err)
		}
		return tok.Token
	}()); !a.Voter {
		t.Errorf("a node that had left joins again: %+v", a)
	}
}

// A node that leaves may never get the entry that takes it out: its leader is lost, and the next one has no reason to send it anything. It learns
// from the others, who have nothing more to do with it.
func TestLeaveUnheard(t *testing.T) {
	l := newLab(t, 4).formed()
	leader := l.nodes[l.leader()].engine.Load()
	leaving := slices.IndexFunc(leader.machine.Config().Nodes(), func(n *pb.Node) bool { return n.Voter && n.Uuid != leader.UUID })
	e := l.nodes[leaving].engine.Load()
	left := make(chan error, 1)
	go func() {
		_, err := l.nodes[leaving].Leave(t.Context(), api.LeaveRequest{Force: true}) // it has a vote in leases to give up first
		left <- err
	}()
	l.until("it knows that it is to leave", func() bool { return len(leavingNodes(e.machine.Config())) > 0 })
	e.stream.Gate(true) // the log reaches it no more
	if err := <-left; err != nil {
		t.Error(err)
	}
	if l.nodes[leaving].Configured() {
		t.Error("still configured")
	}
	l.until("it is out of the table", func() bool {
		return l.nodes[l.leader()].engine.Load().machine.Config().NodeByUUID(e.UUID) == nil
	})
}

// A node that is taken out while it runs is cut off at once, whatever connections it has.
func TestRemovedNodeIsCutOff(t *testing.T) {
	l := newLab(t, 4).formed()
	removed := (l.leader() + 1) % 4
	name := fmt.Sprintf("n%d", removed+1)
	if err := l.nodes[l.leader()].RemoveNode(t.Context(), name, api.RemoveNodeRequest{Force: true}); err != nil {
		t.Fatal(err)
	}
	l.until("nobody listens to it", l.nodes[removed].engine.Load().expelled)
}

func TestReadIndexSeesEveryAcknowledgedWrite(t *testing.T) {
	l := newLab(t, 3).formed()
	for k := range 20 {
		name := fmt.Sprintf("d%d.example", k)
		l.addDomain(k%3, name)
		reader := (k + 1) % 3
		if err := l.nodes[reader].engine.Load().ReadIndex(t.Context()); err != nil {
			t.Fatal(err)
		}
		if !l.hasDomain(reader, name) {
			t.Fatalf("node %d read an old state after a read index", reader+1)
		}
	}
}

func TestUserKeepsNoPassword(t *testing.T) {
	l := newLab(t, 1)
	l.init()
	l.addDomain(0, "example.com")
	if err := l.nodes[0].AddUser(t.Context(), api.UserRequest{AoR: "alice@Example.COM", Password: "wonderland"}); err != nil {
		t.Fatal(err)
	}
	// RFC 7616 §3.4.2, by hand: printf alice:example.com:wonderland | md5sum
	u := l.nodes[0].engine.Load().machine.Config().User("alice@example.com")
	if u == nil || fmt.Sprintf("%x", u.MD5) != "93dfce8dfebfae8af4a726982429d23a" {
		t.Errorf("user %+v", u)
	}
	segments, err := filepath.Glob(filepath.Join(l.dirs[0], "log", "*.wal"))
	if err != nil || len(segments) == 0 {
		t.Fatalf("segments %q, %v", segments, err)
	}
	for _, path := range segments {
		log, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(string(log), "alice@example.com") || strings.Contains(string(log), "wonderland") {
			t.Error("the log does not hold the user, or holds the password")
		}
	}
	err = l.nodes[0].AddUser(t.Context(), api.UserRequest{AoR: "alice@example.com", Password: "x"})
	if api.CodeOf(err) != api.CodeExists {
		t.Errorf("twice: %v", err)
	}
}

func TestSettings(t *testing.T) {
	l := newLab(t, 1)
	l.init()
	set := func(name, value string) error { return l.nodes[0].SetSetting(t.Context(), name, value) }
	if err := set("register.max-expires", "600"); err != nil {
		t.Fatal(err)
	}
	if err := set("register.max-bindings", strconv.Itoa(fsm.MaxBindings)); err != nil {
		t.Fatal(err)
	}
	for _, s := range [][2]string{
		{"raft.timing", "slow"}, {"register.max-bindings", "-1"}, {"register.max-bindings", strconv.Itoa(fsm.MaxBindings + 1)}, {"auth.nonce-life", "soon"},
	} {
		if api.CodeOf(set(s[0], s[1])) != api.CodeInvalid {
			t.Errorf("%s=%s was taken", s[0], s[1])
		}
	}
	if err := set(settingLeaseVoters, "9 9 9"); api.CodeOf(err) != api.CodeNotFound {
		t.Errorf("an operator set the lease voters: %v", err)
	}
	if err := set("raft.timing", "standard"); err != nil {
		t.Fatal(err)
	}
	l.until("raft's timeouts follow", func() bool {
		return l.nodes[0].engine.Load().raft.ReloadableConfig().ElectionTimeout == timings["standard"].election
	})
}
