package fsm

import (
	"bytes"
	"fmt"
	"testing"

	"pgregory.net/rapid"

	"holdline/fsm/pb"
)

func setting(v string) *pb.Command { return cmd(&pb.PutSetting{Name: "s", Value: v}) }

func TestSession(t *testing.T) {
	r := newReplica(t)
	var events []Event
	r.Watch(func(e Event) {
		if _, is := e.(ConfigChanged); !is {
			events = append(events, e)
		}
	})
	open := cmd(&pb.OpenSession{Node: "u1", Nonce: 7})
	id := r.must(open).Id
	if again := r.must(open); again.Id != id || !again.Existing {
		t.Fatalf("the same nonce is the same session: %v", again)
	}
	if r.must(cmd(&pb.OpenSession{Node: "u1", Nonce: 8})).Id == id {
		t.Fatal("another nonce is another session")
	}
	if o := events[1].(SessionOpened); o != (SessionOpened{id, "u1", 7, 1}) {
		t.Fatalf("%+v", o)
	}
	send := func(first, acked uint64, values ...string) SessionResults {
		b := &pb.Batch{Session: id, FirstSeq: first, Acked: acked}
		for _, v := range values {
			b.Commands = append(b.Commands, setting(v))
		}
		r.entry(b)
		return events[len(events)-1].(SessionResults)
	}
	if got := send(2, 0, "x"); got.Refused != pb.Code_GAP || got.Expected != 1 || r.Config().Setting("s", "") != "" {
		t.Fatalf("a hole: %+v", got)
	}
	if got := send(1, 0, "a", "b"); len(got.Results) != 2 || got.Results[1].Existing {
		t.Fatalf("%+v", got)
	}
	if got := send(1, 0, "a", "b", "c"); got.FirstSeq != 1 || len(got.Results) != 3 || r.Config().Setting("s", "") != "c" {
		t.Fatalf("overlap: %+v", got)
	}
	version := r.Config().Version
	if got := send(1, 0, "a", "b"); len(got.Results) != 2 || r.Config().Version != version {
		t.Fatalf("a copy: %+v", got)
	}
	if got := send(4, 3, "d"); len(got.Results) != 1 {
		t.Fatalf("%+v", got)
	}
	if s, _ := r.st.sessions.get(id); len(s.results) != 2 || s.next != 5 {
		t.Fatalf("kept %d, next %d", len(s.results), s.next)
	}
	id = 99
	if got := send(1, 0, "z"); got.Refused != pb.Code_NO_SESSION {
		t.Fatalf("%+v", got)
	}
}

// TestSharedResults: rows of one session share an array of results; a snapshot has those of its time.
func TestSharedResults(t *testing.T) {
	r := newReplica(t)
	id := r.must(cmd(&pb.OpenSession{Node: "u1", Nonce: 1})).Id
	next := uint64(1)
	send := func(acked uint64, commands int) {
		b := &pb.Batch{Session: id, FirstSeq: next, Acked: acked}
		for range commands {
			b.Commands = append(b.Commands, setting(fmt.Sprint(next)))
			next++
		}
		r.time++ // results differ by it
		r.entry(b)
	}
	for i := range 100 {
		send(next-min(next, uint64(i%7)), 1+i%5)
		snapshot := r.Snapshot()
		var now, later bytes.Buffer
		if _, err := snapshot.WriteTo(&now); err != nil {
			t.Fatal(err)
		}
		send(next-min(next, uint64(i%3)), 3)
		send(next, 1)
		if _, err := snapshot.WriteTo(&later); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(now.Bytes(), later.Bytes()) {
			t.Fatalf("round %d: the snapshot changed after it was taken", i)
		}
	}
	s, _ := r.st.sessions.get(id)
	if cap(s.results) > 64 {
		t.Errorf("an array of %d for %d results", cap(s.results), len(s.results))
	}
}

func TestSessionsAreBounded(t *testing.T) {
	r := newReplica(t)
	id := r.must(cmd(&pb.OpenSession{Node: "u1", Nonce: 1})).Id
	cs := make([]*pb.Command, MaxBatch)
	for i := range cs {
		cs[i] = cmd(&pb.SetFeatureLevel{})
	}
	for i := range uint64(3) {
		res := r.entry(&pb.Batch{Session: id, FirstSeq: 1 + i*MaxBatch, Commands: cs})
		want := pb.Code_OK
		if i == 2 {
			want = pb.Code_LIMIT
		}
		if len(res) != MaxBatch || res[0].Code != want {
			t.Fatalf("batch %d: %v", i, res[0])
		}
	}
	for nonce := range uint64(10) {
		r.must(cmd(&pb.OpenSession{Node: "u2", Nonce: nonce}))
	}
	if n := r.Counts().Sessions; n != 1+sessionsPerNode {
		t.Fatalf("%d sessions", n)
	}
	r.time += SessionIdleMs + 1
	r.must(cmd(&pb.Expire{UpToMs: r.time}))
	if n := r.Counts().Sessions; n != 0 {
		t.Fatalf("%d sessions after a day", n)
	}
}

// TestExactlyOnce sends numbered commands in batches that get lost, repeated and reordered, with the sender's resends, and
// counts how often each is applied: pool cursors move with every call, so a call number tells.
func TestExactlyOnce(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		r := cluster(t)
		sender := newSender(r)
		total := rapid.IntRange(1, 40).Draw(t, "commands")
		for sender.answered < total {
			sender.step(t, total)
		}
		if n := r.Counts().Calls; n != total {
			t.Fatalf("%d calls from %d commands", n, total)
		}
		for i, number := range sender.calls {
			if number != uint64(i+1) {
				t.Fatalf("command %d made call %d", i, number)
			}
		}
	})
}
