package sipcore

import (
	"bytes"
	"context"
	"testing"
	"time"

	"holdline/fsm"
	"holdline/fsm/pb"
	"holdline/sipcore/transport"
)

// holds gives a group to node 1 under epoch, as the guard writes it into shared memory, before its event comes.
func (l *lab) holds(group uint32, epoch uint64, since int64) *Core {
	l.owners.mu.Lock()
	defer l.owners.mu.Unlock()
	l.owners.owner[group], l.owners.epoch[group], l.owners.since = 1, epoch, since
	return l.cores[0]
}

// soon is how long a test waits for what happens by itself.
func soon(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	t.Cleanup(cancel)
	return ctx
}

// TestLeaseBeforeItsEvent: a group counts as just acquired from the moment that its lease holds, not when the guard's word of it has come through.
func TestLeaseBeforeItsEvent(t *testing.T) {
	for _, before := range []string{"never owned", "owned and lost"} {
		l := newLab(t, 2)
		if before != "never owned" {
			l.cores[0].GroupAcquired(2, 0)
			l.cores[0].GroupLost(2)
		}
		c := l.holds(2, 2, transport.Monotonic())
		at := c.shards[0].AcquiredAt(2)
		if c.takenUp(2) || c.settled(2) || at == 0 || c.now()-at > int64(time.Second) {
			t.Errorf("%s: at once: taken up %v, settled %v, acquired at %d", before, c.takenUp(2), c.settled(2), at)
		}
		l.holds(2, 2, transport.Monotonic()-2*settleTime)
		if c.takenUp(2) || !c.settled(2) {
			t.Errorf("%s: later: taken up %v, settled %v", before, c.takenUp(2), c.settled(2))
		}
		c.GroupAcquired(2, 2)
		l.ok(&pb.Command{Op: &pb.Command_Takeover{Takeover: &pb.Takeover{Group: 2, Epoch: 2, Node: "11111111-1111-1111-1111-111111111111"}}})
		eventually(t, soon(t), "the takeover is applied", func() bool { return c.takenUp(2) })
	}
}

// TestTakenOverInSnapshot: the entry of a takeover came within a snapshot.
func TestTakenOverInSnapshot(t *testing.T) {
	l := newLab(t, 2)
	ahead := &localLog{m: fsm.New(), index: l.log.index, ms: l.log.ms}
	restore := func(from, to *fsm.Machine) {
		t.Helper()
		var image bytes.Buffer
		if _, err := from.Snapshot().WriteTo(&image); err != nil {
			t.Fatal(err)
		}
		if err := to.Restore(&image); err != nil {
			t.Fatal(err)
		}
	}
	restore(l.log.m, ahead.m)
	ahead.apply(&pb.Command{Op: &pb.Command_Takeover{Takeover: &pb.Takeover{Group: 2, Epoch: 2, Node: "11111111-1111-1111-1111-111111111111"}}})
	c := l.holds(2, 2, transport.Monotonic())
	c.GroupAcquired(2, 2)
	if c.takenUp(2) {
		t.Fatal("nothing has told of the takeover yet")
	}
	restore(ahead.m, l.log.m)
	eventually(t, soon(t), "the group is taken up", func() bool { return c.takenUp(2) })
}

// TestTakeUpEndsWithTheLease: nothing is sent for a group that was lost while its calls were taken up.
func TestTakeUpEndsWithTheLease(t *testing.T) {
	l := newLab(t, 2)
	c := l.holds(2, 3, transport.Monotonic())
	l.ok(&pb.Command{Op: &pb.Command_CreateCall{CreateCall: &pb.CreateCall{
		Key: []byte("k"), Home: 2, Epoch: 1, Domain: "example.com", CallId: "c", Invite: []byte("INVITE"), Targets: []*pb.Target{{Uri: "sip:bob@127.0.0.1"}},
	}}})
	row := l.log.m.Call(1)
	out := c.udp.NewSender()
	if c.rearmCall(out, row, 2) {
		t.Error("taken up under an epoch that is over")
	}
	if !c.rearmCall(out, row, 3) {
		t.Error("not taken up under the epoch that holds")
	}
}
