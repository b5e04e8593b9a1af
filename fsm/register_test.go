package fsm

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"
	"unsafe"

	"holdline/fsm/pb"
)

// bindingsOf writes an AoR's bindings as "contact/seconds left".
func (r *replica) bindingsOf(aor string) string {
	var out []string
	for _, b := range r.Bindings(aor, nil) {
		out = append(out, fmt.Sprintf("%s/%d", strings.TrimPrefix(b.Contact, "sip:"), (b.ExpiresMs-r.time)/1000))
	}
	return strings.Join(out, " ")
}

// TestRegister is a transcript: what was registered, what came of it, what is registered then.
func TestRegister(t *testing.T) {
	const aor = "user1@example.com"
	r := cluster(t)
	withID := func(uri, instance string, reg uint32) *pb.BindingChange {
		c := contact(uri, 60)
		c.Binding.Instance, c.Binding.RegId = instance, reg
		return c
	}
	all := register(aor, "c1", 9, "t9")
	all.GetRegister().RemoveAll = true
	for i, step := range []struct {
		say  string
		cmd  *pb.Command
		code pb.Code
		dup  bool
		then string
	}{
		{"first contact", register(aor, "c1", 1, "t1", contact("sip:a@192.0.2.1", 60)), pb.Code_OK, false, "a@192.0.2.1/60"},
		{"the same request again", register(aor, "c1", 1, "t1", contact("sip:a@192.0.2.1", 60)), pb.Code_OK, true, "a@192.0.2.1/60"},
		{"same CSeq, another transaction", register(aor, "c1", 1, "tx", contact("sip:a@192.0.2.1", 60)), pb.Code_STALE_ORDER, false, "a@192.0.2.1/60"},
		{"a second phone", register(aor, "c2", 7, "t2", contact("sip:b@192.0.2.2", 90)), pb.Code_OK, false, "a@192.0.2.1/60 b@192.0.2.2/90"},
		{"the first phone's request again, late", register(aor, "c1", 1, "t1", contact("sip:a@192.0.2.1", 60)), pb.Code_OK, true, "a@192.0.2.1/60 b@192.0.2.2/90"},
		{"refresh, host in capitals", register(aor, "c1", 2, "t3", contact("SIP:a@192.0.2.1", 120)), pb.Code_OK, false, "SIP:a@192.0.2.1/120 b@192.0.2.2/90"},
		{"older than the refresh", register(aor, "c1", 1, "ty", contact("sip:a@192.0.2.1", 0)), pb.Code_STALE_ORDER, false, "SIP:a@192.0.2.1/120 b@192.0.2.2/90"},
		{"a third", register(aor, "c3", 1, "t4", contact("sip:c@192.0.2.3", 30)), pb.Code_OK, false, "SIP:a@192.0.2.1/120 b@192.0.2.2/90 c@192.0.2.3/30"},
		{"a fourth is too many", register(aor, "c4", 1, "t5", contact("sip:d@192.0.2.4", 30)), pb.Code_LIMIT, false, "SIP:a@192.0.2.1/120 b@192.0.2.2/90 c@192.0.2.3/30"},
		{"all or nothing", register(aor, "c4", 2, "t6", contact("sip:c@192.0.2.3", 0), contact("sip:d@192.0.2.4", 30), contact("sip:e@192.0.2.5", 30)), pb.Code_LIMIT, false, "SIP:a@192.0.2.1/120 b@192.0.2.2/90 c@192.0.2.3/30"},
		{"remove one, add one", register(aor, "c3", 2, "t7", contact("sip:c@192.0.2.3", 0), contact("sip:d@192.0.2.4", 30)), pb.Code_OK, false, "SIP:a@192.0.2.1/120 b@192.0.2.2/90 d@192.0.2.4/30"},
		{"remove all", all, pb.Code_OK, false, ""},
		{"remove all again", all, pb.Code_OK, true, ""},
		{"a late copy brings nothing back", register(aor, "c1", 2, "t3", contact("sip:a@192.0.2.1", 120)), pb.Code_STALE_ORDER, false, ""},
		{"outbound: first flow", register(aor, "c5", 1, "t8", withID("sip:x@192.0.2.8", "urn:uuid:1", 1)), pb.Code_OK, false, "x@192.0.2.8/60"},
		{"second flow of the same instance", register(aor, "c5", 2, "t10", withID("sip:x@192.0.2.9", "urn:uuid:1", 2)), pb.Code_OK, false, "x@192.0.2.8/60 x@192.0.2.9/60"},
		{"the first flow moves", register(aor, "c5", 3, "t11", withID("sip:x@198.51.100.1", "urn:uuid:1", 1)), pb.Code_OK, false, "x@198.51.100.1/60 x@192.0.2.9/60"},
		{"nobody there", register("nobody@example.com", "c1", 1, "t1", contact("sip:a@192.0.2.1", 60)), pb.Code_NOT_FOUND, false, "x@198.51.100.1/60 x@192.0.2.9/60"},
	} {
		got := r.do(step.cmd)
		if got.Code != step.code || got.Existing != step.dup {
			t.Errorf("step %d, %s: %v existing=%v %q, want %v %v", i+1, step.say, got.Code, got.Existing, got.Error, step.code, step.dup)
		}
		if now := r.bindingsOf(aor); now != step.then {
			t.Errorf("step %d, %s: registered %q, want %q", i+1, step.say, now, step.then)
		}
	}
	if n := r.Counts(); n.Registrations != 1 || n.Bindings != 2 {
		t.Errorf("counts %+v", n)
	}
	if !r.Registered(aor, "c5", 3, []byte("t11")) || r.Registered(aor, "c5", 2, []byte("t10")) {
		t.Error("only the last REGISTER is one to repeat")
	}
	old := register(aor, "c5", 4, "t12", contact("sip:x@192.0.2.8", 60))
	old.GetRegister().Epoch = 4
	r.refused(old, pb.Code_STALE_EPOCH, "VIP group 1 was taken over with epoch 5, after 4")
	r.must(cmd(&pb.RemoveUser{Aor: aor}))
	if r.bindingsOf(aor) != "" || r.Counts().Bindings != 0 {
		t.Error("a user's bindings go with the user")
	}
}

func TestExpireRegistrations(t *testing.T) {
	r := cluster(t)
	for i, s := range []uint32{60, 120, 180} {
		r.must(register(fmt.Sprintf("user%d@example.com", i), "c", 1, "t", contact("sip:a@192.0.2.1", s), contact("sip:b@192.0.2.1", 300)))
	}
	due := func() int64 { at, _ := r.ExpireDue(); return (at - 1_000_000) / 1000 }
	if due() != 60 {
		t.Fatalf("due after %d s", due())
	}
	expire := func(upTo int64, rows uint32) bool {
		return r.must(cmd(&pb.Expire{UpToMs: upTo, MaxRows: rows})).Existing
	}
	expire(1<<60, 0) // FSM time has not moved: nothing is due, whatever is asked for
	if n := r.Counts().Bindings; n != 6 {
		t.Fatalf("%d bindings", n)
	}
	r.time += 125_000
	if !expire(r.time, 1) || r.bindingsOf("user0@example.com") != "b@192.0.2.1/175" || r.Counts().Bindings != 5 {
		t.Fatalf("one row: %q, %d bindings", r.bindingsOf("user0@example.com"), r.Counts().Bindings)
	}
	if expire(r.time, 10) || r.Counts().Bindings != 4 || due() != 180 {
		t.Fatalf("rest: %d bindings, next at %d", r.Counts().Bindings, due())
	}
	r.time += 1_000_000
	expire(r.time, 0)
	if n := r.Counts(); n.Bindings != 0 || n.Registrations != 0 {
		t.Fatalf("%+v", n)
	}
}

func TestSameURI(t *testing.T) {
	same := [][2]string{ // RFC 3261 §19.1.4
		{"sip:alice@AtLanTa.CoM;Transport=tcp", "sip:alice@AtLanTa.CoM;Transport=tcp"},
		{"sip:carol@chicago.com", "sip:carol@chicago.com;newparam=5"},
		{"sip:carol@chicago.com;security=on", "sip:carol@chicago.com;newparam=5"},
		{"sip:alice@atlanta.com;transport=TCP", "SIP:alice@ATLANTA.com;transport=tcp"},
	}
	different := [][2]string{
		{"SIP:ALICE@AtLanTa.CoM;Transport=udp", "sip:alice@AtLanTa.CoM;Transport=UDP"},
		{"sip:bob@biloxi.com", "sip:bob@biloxi.com:5060"},
		{"sip:bob@biloxi.com", "sip:bob@biloxi.com;transport=udp"},
		{"sip:carol@chicago.com;newparam=6", "sip:carol@chicago.com;newparam=5"},
		{"sip:carol@chicago.com", "sip:carol@chicago.com?Subject=next"},
		{"sip:bob@phone21.boxesbybob.com", "sip:bob@192.0.2.4"},
		{"sip:a@host", "sips:a@host"},
	}
	for _, p := range same {
		if !sameURI(p[0], p[1]) || !sameURI(p[1], p[0]) {
			t.Errorf("%s and %s are the same", p[0], p[1])
		}
	}
	for _, p := range different {
		if sameURI(p[0], p[1]) || sameURI(p[1], p[0]) {
			t.Errorf("%s and %s differ", p[0], p[1])
		}
	}
	if !slices.Equal([]string{CanonicalAoR("Alice@EXAMPLE.com."), CanonicalHost("[2001:DB8::1]")}, []string{"Alice@example.com", "2001:db8::1"}) {
		t.Error("canonical forms")
	}
}

// TestExpiryOrder: of rows that are due at one moment those go first that are first by AoR, whichever came first, on a replica that
// was restored too.
func TestExpiryOrder(t *testing.T) {
	r := cluster(t)
	for _, aor := range []string{"user2@example.com", "user0@example.com", "user3@example.com", "user1@example.com"} {
		r.must(register(aor, "call-"+aor, 1, "t1", contact("sip:"+aor, 60)))
	}
	restored := &replica{tester: t, Machine: New(), time: r.time}
	if err := restored.Restore(bytes.NewReader(r.bytes())); err != nil {
		t.Fatal(err)
	}
	for _, on := range []*replica{r, restored} {
		on.time += 60_000
		on.do(cmd(&pb.Expire{UpToMs: on.time, MaxRows: 3}))
		checkDerived(t, on.Machine)
		var left []string
		on.Registrations(func(aor string, _ []Binding) bool { left = append(left, aor); return true })
		if !slices.Equal(left, []string{"user3@example.com"}) {
			t.Errorf("after three of four have expired %v is left", left)
		}
	}
}

// TestRefreshKeepsStrings: what a refresh says again is not kept again.
func TestRefreshKeepsStrings(t *testing.T) {
	r := cluster(t)
	at := func() (p []*byte) {
		row := r.st.regs.get("user1@example.com")
		row.strings(func(s *string) { p = append(p, unsafe.StringData(*s)) })
		return append(p, unsafe.StringData(row.aor))
	}
	refresh := func(cseq uint32, callID, uri string) {
		r.must(register("user1@example.com", callID, cseq, fmt.Sprint(cseq), contact(uri, 60)))
	}
	refresh(1, "one", "sip:a@192.0.2.1")
	first := at()
	refresh(2, "one", "sip:a@192.0.2.1")
	if !slices.Equal(at(), first) {
		t.Error("a refresh made new strings of the same text")
	}
	refresh(3, "one", "sip:A@192.0.2.1;x") // another contact
	checkRow := r.Bindings("user1@example.com", nil)
	if len(checkRow) != 2 || checkRow[0].Contact != "sip:a@192.0.2.1" || checkRow[1].Contact != "sip:A@192.0.2.1;x" || checkRow[1].CallID != "one" {
		t.Errorf("bindings %+v", checkRow)
	}
}

// TestKeepsFlow: a phone that keeps its flow alive itself is not gone to with keep-alives, by a replica that was restored neither; one that
// does not say so any more is.
func TestKeepsFlow(t *testing.T) {
	const aor = "user1@example.com"
	r := cluster(t)
	for i, keeps := range []bool{true, false, true} {
		c := contact("sip:a@10.0.0.5", 60)
		c.Binding.Instance, c.Binding.RegId, c.Binding.KeepsFlow = "urn:uuid:1", 1, keeps
		r.must(register(aor, "c1", uint32(i+1), fmt.Sprint("t", i), c))
		restored := New()
		if err := restored.Restore(bytes.NewReader(r.bytes())); err != nil {
			t.Fatal(err)
		}
		for _, m := range []*Machine{r.Machine, restored} {
			checkDerived(t, m)
			if kept := m.Counts().KeptAlive == 1; kept == keeps {
				t.Errorf("step %d: is kept alive: %v", i+1, kept)
			}
		}
	}
}

// TestRebound: watchers are told when a phone comes over another flow, and not of refreshes.
func TestRebound(t *testing.T) {
	const aor = "user1@example.com"
	r := cluster(t)
	var told []string
	r.Watch(func(e Event) {
		if e, ok := e.(Rebound); ok {
			told = append(told, e.AoR)
		}
	})
	over := func(uri string, conn uint64) *pb.BindingChange {
		c := contact(uri, 60)
		c.Binding.Flow.Conn = conn
		return c
	}
	for i, step := range []struct {
		change *pb.BindingChange
		told   int
	}{
		{over("sip:a@192.0.2.1", 0), 1},
		{over("sip:b@192.0.2.1", 7), 2},
		{over("sip:b@192.0.2.1", 7), 2},
		{over("sip:b@192.0.2.1", 8), 3},
		{over("sip:a@192.0.2.1", 0), 3},
	} {
		r.must(register(aor, "c1", uint32(i+1), fmt.Sprint("t", i), step.change))
		if len(told) != step.told {
			t.Errorf("step %d: told %v", i+1, told)
		}
	}
}
