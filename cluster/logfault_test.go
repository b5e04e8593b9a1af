package cluster

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"holdline/cluster/api"
)

// breakLog has a node's disk refuse the raft log, or hang, until mended.
func (l *lab) breakLog(i int, f func() error) (mend func()) {
	set := func(f func() error) {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.refuse[l.dirs[i]] = f
	}
	set(f)
	return func() { set(nil) }
}

// tell waits until every node says the same of HA.
func (l *lab) tell(what string, ok func(ha api.HA) bool) {
	l.t.Helper()
	for k, n := range l.nodes {
		l.until(fmt.Sprintf("n%d: %s", k+1, what), func() bool { return ok(l.ha(n)) })
	}
}

func says(level, text string) func(api.HA) bool {
	return func(ha api.HA) bool { return ha.Level == level && strings.Contains(ha.Summary, text) }
}

// A follower whose log takes nothing hears its leader and answers, but the loss of another node would end service. Every node must say
// so, which one it is, why, and what to do; and say HA: yes again when the disk does its work.
func TestFollowerThatCannotWrite(t *testing.T) {
	l := newLab(t, 3).formed()
	follower := (l.leader() + 1) % 3
	name := fmt.Sprintf("n%d", follower+1)
	held := make(chan struct{})
	for _, c := range []struct {
		fault  func() error
		reason string
		advice string
		mend   func()
	}{
		{func() error { return unix.ENOSPC }, "its disk is full", "free some space", func() {}},
		{func() error { return errors.New("input/output error") }, "input/output error", "check the disk of " + name, func() {}},
		{func() error { <-held; return nil }, "its disk does not answer", "check the disk of " + name, func() { close(held) }},
	} {
		mend := l.breakLog(follower, c.fault)
		began := time.Now()
		l.addDomain(l.leader(), fmt.Sprintf("d%d.example", began.UnixNano())) // the others commit it
		want := fmt.Sprintf("the next loss ends service: %s cannot write its raft log: %s: %s", name, c.reason, c.advice)
		l.tell(want, says(api.HANo, want))
		t.Logf("%s: told after %v", c.reason, time.Since(began).Round(time.Millisecond))
		if err := l.nodes[follower].Ready(t.Context()); api.CodeOf(err) != api.CodeUnavailable || !strings.Contains(err.Error(), c.reason) {
			t.Errorf("%s: ready says %v", c.reason, err)
		}
		s, err := l.nodes[(follower+1)%3].Status(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if s.Nodes[follower].LogFault != c.reason || s.HA.Problems[0].Do == "" {
			t.Errorf("%s: row %+v, problems %+v", c.reason, s.Nodes[follower], s.HA.Problems)
		}
		mend()
		c.mend()
		l.tell(c.reason+" is over", func(ha api.HA) bool { return ha.Survives == 1 })
	}
}

// Where most disks refuse nothing is committed, whoever answers.
func TestMostCannotWrite(t *testing.T) {
	l := newLab(t, 3).formed()
	lead := l.leader()
	var mend []func()
	for _, i := range []int{(lead + 1) % 3, (lead + 2) % 3} {
		mend = append(mend, l.breakLog(i, func() error { return unix.ENOSPC }))
	}
	done := make(chan error, 1)
	go func() { done <- l.nodes[lead].AddDomain(t.Context(), api.Domain{Name: "late.example"}) }()
	l.tell("only one can write", says(api.HANo, "only 1 of 3 voters can write their log and nothing is committed"))
	for _, f := range mend {
		f()
	}
	if err := <-done; err != nil && api.CodeOf(err) != api.CodeUnavailable {
		t.Error(err)
	}
	l.highlyAvailable()
}

// A node whose raft has stopped for good.
func TestStoppedRaftIsTold(t *testing.T) {
	l := newLab(t, 3).formed()
	follower := (l.leader() + 1) % 3
	e := l.nodes[follower].engine.Load()
	if err := e.raft.Shutdown().Error(); err != nil {
		t.Fatal(err)
	}
	l.tell("raft has stopped on one node", says(api.HANo, fmt.Sprintf("n%[1]d cannot write its raft log: raft has stopped there: systemctl restart holdline on n%[1]d", follower+1)))
}
