package proxy

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
	"pgregory.net/rapid"

	"holdline/fsm"
	"holdline/fsm/pb"
)

// lagging is a node whose way to the log, and from it, may be cut: its replica is w.cl.m, the log's own truth. What the node has numbered while it could be sent
// goes into the log in that order, however late.
type lagging struct {
	*world
	truth  *fsm.Machine
	log    []entry
	heard  int     // entries that the replica has applied
	queue  []entry // numbered, not in the log yet
	cut    bool    // nothing that the node sends arrives
	silent bool    // and it knows: nothing more is sent
	deaf   bool    // its replica applies nothing
	start  int64
	ok     map[string]string // 200 of calls that stand
}

type entry struct {
	raw    []byte
	from   *submitted
	told   bool // its patience was over
	result *pb.Result
}

func newLagging(t *testing.T) *lagging {
	w := newTestCall(t)
	w.hold = true
	l := &lagging{world: w, truth: fsm.New(), start: w.now - w.cl.ms*int64(time.Millisecond), ok: map[string]string{}}
	var image bytes.Buffer
	if _, err := w.cl.m.Snapshot().WriteTo(&image); err != nil {
		t.Fatal(err)
	}
	if err := l.truth.Restore(&image); err != nil {
		t.Fatal(err)
	}
	return l
}

// commit puts a command into the log, by which time passes there.
func (l *lagging) commit(e entry, cmd *pb.Command) {
	var err error
	l.cl.index++
	ms := (l.now - l.start) / int64(time.Millisecond)
	if e.raw, err = proto.Marshal(&pb.Entry{TimeMs: ms, WallMs: 1_700_000_000_000 + ms, Batches: []*pb.Batch{{Commands: []*pb.Command{cmd}}}}); err != nil {
		l.t.Fatal(err)
	}
	e.result = l.truth.Apply(l.cl.index, e.raw)[0]
	l.log = append(l.log, e)
}

// settle carries out what was submitted, and hears what can be heard.
func (l *lagging) settle() {
	for len(l.pending) > 0 {
		p := l.pending[0]
		l.pending = l.pending[1:]
		e := entry{from: &p, told: l.cut || l.deaf}
		switch {
		case l.cut && l.silent:
			l.s.Committed(l.v, l.now, p.c, nil, errNoLeader)
			continue
		case l.cut:
			l.queue = append(l.queue, e)
		default:
			l.commit(e, p.cmd)
		}
		if err := errNoLeader; e.told {
			if p.c.MakesRecord() {
				err = errors.Join(errNoLeader, ErrUndecided)
			}
			l.s.Committed(l.v, l.now, p.c, nil, err)
			continue
		}
		l.hear(false)
	}
}

// hear applies what the log has, one by one or as a snapshot.
func (l *lagging) hear(snapshot bool) {
	if snapshot {
		var image bytes.Buffer
		if _, err := l.truth.Snapshot().WriteTo(&image); err != nil {
			l.t.Fatal(err)
		}
		if err := l.cl.m.Restore(&image); err != nil {
			l.t.Fatal(err)
		}
	}
	for ; l.heard < len(l.log); l.heard++ {
		e := l.log[l.heard]
		if !snapshot {
			l.cl.m.Apply(uint64(int(l.cl.index)-len(l.log)+l.heard+1), e.raw)
		}
		switch {
		case e.from == nil:
		case !e.told:
			l.s.Committed(l.v, l.now, e.from.c, e.result, nil)
		case e.from.c.MakesRecord():
			l.s.Decided(l.v, l.now, e.from.c, e.result, nil)
		}
	}
}

// second lets a second pass, for the cluster too.
func (l *lagging) second() {
	l.pass(time.Second)
	l.settle()
	l.commit(entry{}, &pb.Command{Op: &pb.Command_Expire{Expire: &pb.Expire{UpToMs: 1 << 60}}})
	if !l.deaf && !l.cut {
		l.hear(false)
	}
	l.s.CatchUp(l.v, l.now, false)
	l.settle()
	l.take()
}

// reach ends what keeps the node from the log.
func (l *lagging) reach(snapshot bool) {
	l.cut, l.silent, l.deaf = false, false, false
	for _, e := range l.queue {
		l.commit(e, e.from.cmd)
	}
	l.queue = nil
	l.hear(snapshot)
	l.settle()
}

// message hands the node one, and returns what it sends, start lines first.
func (l *lagging) message(from, text string) []string {
	l.receive(1, from, text)
	l.settle()
	var out []string
	for _, s := range l.take() {
		out = append(out, s.data)
	}
	return out
}

func starting(msgs []string, with string) string {
	for _, m := range msgs {
		if strings.HasPrefix(m, with) {
			return m
		}
	}
	return ""
}

// newCall sets a call up, and has it answered unless it is to ring on.
func (l *lagging) newCall(id string, answer bool) {
	invite := starting(l.message(alice.addr, alice.request("INVITE", "sip:bob@example.com", id, 1, id, "")), "INVITE")
	if invite == "" {
		l.t.Fatalf("call %s goes nowhere", id)
	}
	status := 486
	if answer {
		status = 200
	}
	l.message(bob.addr, bob.answer(invite, 180))
	if ok := starting(l.message(bob.addr, bob.answer(invite, status)), "SIP/2.0 200"); ok != "" {
		l.ok[id] = ok
	}
}

func (l *lagging) hangUp(id string) {
	ok := l.ok[id]
	delete(l.ok, id)
	bye := starting(l.message(alice.addr, alice.request("BYE", "sip:bob@"+bob.addr, id, 2, id+"bye", header(ok, "To")[0], routeSet(ok, true)...)), "BYE")
	if bye == "" {
		l.t.Fatalf("the BYE of call %s goes nowhere", id)
	}
	l.message(bob.addr, bob.answer(bye, 200))
}

// TestOneRecordOfEach: whatever keeps a node from the log, and for however long, each call has one record in the end, whenever that is made.
func TestOneRecordOfEach(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		l := newLagging(t)
		if rapid.Bool().Draw(r, "later") {
			l.commit(entry{}, &pb.Command{Op: &pb.Command_PutSetting{PutSetting: &pb.PutSetting{Name: SettingCommit, Value: CommitAfter}}})
			l.hear(false)
			l.v, _ = NewView(l.cl.m.Config(), testGroups, nil)
		}
		calls := 0
		for range rapid.IntRange(1, 25).Draw(r, "steps") {
			switch rapid.IntRange(0, 7).Draw(r, "what") {
			case 0, 1:
				l.newCall(fmt.Sprint("c", calls), rapid.IntRange(0, 2).Draw(r, "busy") > 0)
				calls++
			case 2:
				for i := range calls {
					if id := fmt.Sprint("c", i); l.ok[id] != "" && rapid.Bool().Draw(r, "hang up") {
						l.hangUp(id)
						break
					}
				}
			case 3:
				l.cut = true
			case 4:
				l.cut, l.silent = true, true
			case 5:
				l.deaf = true
			case 6:
				l.reach(rapid.Bool().Draw(r, "snapshot"))
			case 7:
				for range rapid.SampledFrom([]int{1, 6, 40, 300}).Draw(r, "s") {
					l.second()
				}
			}
		}
		l.reach(false)
		for i := range calls {
			if id := fmt.Sprint("c", i); l.ok[id] != "" {
				l.hangUp(id)
			}
		}
		for range 60 {
			l.second()
		}
		records := map[string]int{}
		for _, c := range l.truth.CDRs(0, 99) {
			records[c.CallId]++
		}
		for i := range calls {
			if n := records[fmt.Sprint("c", i)]; n != 1 {
				r.Errorf("call c%d has %d records", i, n)
			}
		}
		if n := len(l.s.behind); n != 0 {
			r.Errorf("%d calls are behind still", n)
		}
	})
}
