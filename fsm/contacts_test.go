package fsm

import (
	"bytes"
	"testing"

	"holdline/fsm/pb"
)

// TestByContact: a contact leads to who has registered it, by whatever name, as long as he has.
func TestByContact(t *testing.T) {
	r := cluster(t)
	const a, b = "user1@example.com", "user2@example.com"
	find := func(uri, want string) {
		t.Helper()
		got, with := r.ByContact(uri, "example.com", nil)
		if got != want || len(with) == 0 != (want == "") {
			t.Errorf("%s: %q, with %v; want %q", uri, got, with, want)
		}
	}
	r.must(register(a, "c1", 1, "t1", contact("sip:user1@192.0.2.1:5062;ob", 60), contact("sip:k3f@x.invalid;transport=ws", 60)))
	r.must(register(b, "c2", 1, "t2", contact("sip:user1@192.0.2.2", 60)))
	find("sip:user1@192.0.2.1:5062", a)
	find("sip:USER1@192.0.2.1:5062", "") // user parts are as they are (RFC 3261 §19.1.4)
	find("SIP:k3f@X.invalid?Replaces=x", a)
	find("sip:user1@192.0.2.2;transport=udp", b) // the name is another's, the contact is not
	find("sip:user1@192.0.2.3", "")
	find("sip:x.invalid", "")
	find("nonsense", "")
	if _, with := r.ByContact("sip:k3f@x.invalid", "example.com", nil); len(with) != 1 || with[0].Contact != "sip:k3f@x.invalid;transport=ws" {
		t.Errorf("%v", with)
	}
	r.must(register(b, "c2", 2, "t3", contact("sip:k3f@x.invalid", 60))) // what another has is not his to take
	find("sip:k3f@x.invalid", a)
	r.must(register(a, "c1", 2, "t4", contact("sip:k3f@x.invalid;transport=ws", 0)))
	find("sip:k3f@x.invalid", "")
	r.must(register(b, "c2", 3, "t5", contact("sip:k3f@x.invalid", 60)))
	find("sip:k3f@x.invalid", b)
	checkDerived(t, r.Machine)
	late := New()
	if err := late.Restore(bytes.NewReader(r.bytes())); err != nil {
		t.Fatal(err)
	}
	if got, _ := late.ByContact("sip:k3f@x.invalid", "example.com", nil); got != b {
		t.Errorf("after a restore: %q", got)
	}
	r.time += 61_000
	r.must(cmd(&pb.Expire{UpToMs: r.time}))
	find("sip:user1@192.0.2.1:5062", "")
	find("sip:user1@192.0.2.2", "")
	if n := len(r.st.regs.contacts.aors); n != 0 {
		t.Errorf("%d contacts are left", n)
	}
}
