package txn

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"holdline/fsm/pb"
	"holdline/sipcore/wire"
)

// script drives one cell with one leg and writes down what it asks for, with the time in seconds.
type script struct {
	t    *testing.T
	tab  *Table
	pool Pool
	c    *Cell
	l    *Leg
	now  int64
	log  []string
}

func newScript(t *testing.T, m wire.Method) *script {
	s := &script{t: t, tab: NewTable(10)}
	s.c = s.tab.New(Key{1, 2}, m)
	s.c.Request = s.pool.Copy([]byte("request"))
	s.l = s.tab.NewLeg(s.c)
	return s
}

func (s *script) start() { s.tab.Start(s.c, s.l, s.now, s.pool.Copy([]byte("leg"))) }

func (s *script) pass(d time.Duration) {
	end := s.now + int64(d)
	for ; s.now <= end; s.now += int64(100 * time.Millisecond) {
		for {
			ev, ok := s.tab.Expire(s.now)
			if !ok {
				break
			}
			s.log = append(s.log, fmt.Sprintf("%.1f %s", time.Duration(s.now).Seconds(), s.name(ev)))
			switch ev.Kind {
			case Ended:
				s.tab.Free(ev.Cell)
			case LegTimeout:
				s.tab.GiveUp(ev.Leg, 408)
			}
		}
	}
}

func (s *script) name(ev Event) string {
	switch ev.Kind {
	case Resend:
		return string(ev.Buf.B)
	case LegTimeout:
		return "timeout"
	case LegNoAnswer:
		return "no answer"
	case LegCancelled:
		return "cancelled"
	case ServerTimeout:
		return "no ACK"
	case Ended:
		return "end"
	}
	return "?"
}

func (s *script) want(lines string) {
	s.t.Helper()
	if got := strings.Join(s.log, ", "); got != lines {
		s.t.Fatalf("got  %s\nwant %s", got, lines)
	}
	s.log = nil
}

func TestTimersAandB(t *testing.T) {
	s := newScript(t, wire.Invite)
	s.start()
	s.pass(40 * time.Second)
	s.want("0.5 leg, 1.5 leg, 3.5 leg, 7.5 leg, 15.5 leg, 31.5 leg, 32.0 timeout")
}

func TestTimersEandF(t *testing.T) {
	s := newScript(t, wire.Bye)
	s.start()
	s.pass(20 * time.Second)
	s.want("0.5 leg, 1.5 leg, 3.5 leg, 7.5 leg, 11.5 leg, 15.5 leg, 19.5 leg")
	if v := s.tab.Response(s.c, s.l, s.now, 100, 0); v != Pass {
		t.Error(v)
	}
	s.pass(15 * time.Second)
	s.want("24.1 leg, 28.1 leg, 32.0 timeout") // in Proceeding every T2, from the response on
}

func TestReliableTransportIsNotRepeated(t *testing.T) {
	s := newScript(t, wire.Invite)
	s.l.Flow.Proto = pb.Transport_TCP
	s.start()
	s.pass(40 * time.Second)
	s.want("32.0 timeout")
}

func TestTimerC(t *testing.T) {
	s := newScript(t, wire.Invite)
	s.start()
	s.tab.Response(s.c, s.l, s.now, 100, TimerC)
	s.pass(100 * time.Second)
	s.want("")
	s.tab.Response(s.c, s.l, s.now, 180, TimerC) // restarts it
	s.pass(180 * time.Second)
	s.want("")
	s.pass(2 * time.Second)
	s.want("281.1 no answer")
}

// TestFinal: Timer G repeats the final, the ACK stops it, and the cell ends.
func TestFinal(t *testing.T) {
	s := newScript(t, wire.Invite)
	s.start()
	if v := s.tab.Response(s.c, s.l, s.now, 486, TimerC); v != Pass || s.l.State != LegCompleted {
		t.Fatal(v, s.l.State)
	}
	if v := s.tab.Response(s.c, s.l, s.now, 486, TimerC); v != Absorb { // not acknowledged yet: nothing to repeat
		t.Error(v)
	}
	s.l.Acked = true
	if v := s.tab.Response(s.c, s.l, s.now, 486, TimerC); v != PassAck {
		t.Error(v)
	}
	if !s.tab.Respond(s.c, s.now, 486, s.pool.Copy([]byte("486"))) {
		t.Fatal("not sent")
	}
	s.pass(9 * time.Second)
	s.want("0.5 486, 1.5 486, 3.5 486, 7.5 486")
	if string(s.tab.Retransmitted(s.c).B) != "486" {
		t.Error("an INVITE that comes again is not answered")
	}
	if !s.tab.Acked(s.c, s.now) || s.tab.Retransmitted(s.c) != nil {
		t.Error("not confirmed")
	}
	s.pass(40 * time.Second)
	s.want("41.1 end")
	if s.tab.Len() != 0 {
		t.Error("the cell lives on")
	}
}

func TestFinalWithoutAck(t *testing.T) {
	s := newScript(t, wire.Invite)
	s.start()
	s.tab.Response(s.c, s.l, s.now, 486, TimerC)
	s.tab.Respond(s.c, s.now, 486, s.pool.Copy([]byte("486")))
	s.pass(60 * time.Second)
	if !slices.Contains(s.log, "32.0 no ACK") || s.log[len(s.log)-1] != "37.0 end" {
		t.Error(s.log)
	}
}

// TestAccepted: RFC 6026: a 2xx is passed on each time, the INVITE is absorbed, nothing is kept but the cell.
func TestAccepted(t *testing.T) {
	s := newScript(t, wire.Invite)
	s.start()
	s.tab.Response(s.c, s.l, s.now, 180, TimerC)
	s.tab.Respond(s.c, s.now, 180, s.pool.Copy([]byte("180")))
	if v := s.tab.Response(s.c, s.l, s.now, 200, TimerC); v != Pass {
		t.Error(v)
	}
	s.tab.Accept(s.c, s.now)
	if s.c.Request != nil || s.c.Response != nil || s.l.Request != nil || s.tab.Retransmitted(s.c) != nil {
		t.Error("something is kept")
	}
	if v := s.tab.Response(s.c, s.l, s.now, 200, TimerC); v != PassOK {
		t.Error(v)
	}
	if v := s.tab.Response(s.c, s.l, s.now, 180, TimerC); v != Absorb {
		t.Error(v)
	}
	if s.tab.Respond(s.c, s.now, 180, s.pool.Copy([]byte("late"))) {
		t.Error("a provisional after the 2xx")
	}
	s.pass(33 * time.Second)
	s.want("32.0 end")
}

func TestLate2xx(t *testing.T) {
	s := newScript(t, wire.Invite)
	s.start()
	s.tab.GiveUp(s.l, 408)
	if v := s.tab.Response(s.c, s.l, s.now, 200, TimerC); v != PassOK {
		t.Error(v)
	}
}

func TestCancel(t *testing.T) {
	s := newScript(t, wire.Invite)
	s.start()
	s.tab.Response(s.c, s.l, s.now, 180, TimerC)
	s.tab.StartCancel(s.l, s.now, s.pool.Copy([]byte("CANCEL")))
	s.pass(2 * time.Second)
	s.want("0.5 CANCEL, 1.5 CANCEL")
	s.tab.Cancelled(s.l, 200)
	s.tab.Response(s.c, s.l, s.now, 180, TimerC) // must not give the leg more time
	s.pass(40 * time.Second)
	s.want("32.0 cancelled")
}

// TestLimitAndRefs: a full table gives no cell; a reference does not outlive its cell.
func TestLimitAndRefs(t *testing.T) {
	tab := NewTable(2)
	a := tab.New(Key{1, 1}, wire.Bye)
	if tab.New(Key{1, 1}, wire.Bye) != nil {
		t.Error("a key twice")
	}
	if tab.New(Key{1, 2}, wire.Bye) == nil || tab.New(Key{1, 3}, wire.Bye) != nil {
		t.Error("the limit does not hold")
	}
	r := a.Ref()
	if r.Cell() != a {
		t.Error("reference lost")
	}
	tab.Free(a)
	if r.Cell() != nil {
		t.Error("reference to a freed cell")
	}
	if b := tab.New(Key{1, 3}, wire.Bye); b == nil || r.Cell() != nil {
		t.Error("reference to another cell")
	}
	if tab.Find(Key{2, 3}) != nil || tab.Find(Key{1, 3}) == nil {
		t.Error("lookup is not a full compare")
	}
}

func TestKey(t *testing.T) {
	key := func(text string) Key {
		t.Helper()
		var m wire.Msg
		if err := m.Scan([]byte(strings.ReplaceAll(text, "\n", "\r\n") + "\r\n\r\n")); err != nil {
			t.Fatal(err)
		}
		k, _ := Secret{1, 2}.Hash(&m, nil)
		return k
	}
	const rest = "\nFrom: <sip:a@x>;tag=1\nTo: <sip:b@x>\nCall-ID: c\nMax-Forwards: 70\nCSeq: 1 "
	inv := "INVITE sip:b@x SIP/2.0\nVia: SIP/2.0/UDP Host.example:5060;branch=z9hG4bK1" + rest + "INVITE"
	if a, b := key(inv), key(strings.Replace(inv, "Host.", "host.", 1)); a != b {
		t.Error("sent-by differs by letter case")
	}
	if a, b := key(inv), key(strings.ReplaceAll(inv, "INVITE", "CANCEL")); a != b {
		t.Error("CANCEL does not find its INVITE")
	}
	if a, b := key(inv), key(strings.ReplaceAll(inv, "INVITE", "ACK")); a != b {
		t.Error("ACK does not find its INVITE")
	}
	for old, new := range map[string]string{"z9hG4bK1": "z9hG4bK2", "INVITE": "BYE", ":5060;": ":5061;"} {
		if key(inv) == key(strings.ReplaceAll(inv, old, new)) {
			t.Errorf("%s and %s are one transaction", old, new)
		}
	}
	odd := strings.Replace(inv, "z9hG4bK1", "1", 1) // RFC 2543
	if key(odd) == key(strings.Replace(odd, "1 INVITE", "2 INVITE", 1)) {
		t.Error("without the cookie the CSeq counts")
	}
}
