package proxy

import (
	"strings"
	"testing"

	"holdline/fsm/pb"
)

// TestSessionAsked: what a callee is asked, with 600 s set (RFC 4028 §8.1).
func TestSessionAsked(t *testing.T) {
	for _, c := range []struct{ say, method, se, minSE, want string }{
		{"nothing asked", "INVITE", "", "", "600"},
		{"less asked", "INVITE", "300;refresher=uas", "", "300;refresher=uas"},
		{"more asked", "INVITE", "1800;refresher=uac", "", "600;refresher=uac"},
		{"more asked, and no less", "INVITE", "1800", "900", "900"},
		{"nothing asked, but no less", "INVITE", "", "900", "900"},
		{"unreadable", "INVITE", "soon", "", "soon"},
		{"another method", "MESSAGE", "", "", ""},
	} {
		t.Run(c.say, func(t *testing.T) {
			w := newTestCall(t)
			w.set(SettingSession, "600")
			var h []string
			if c.se != "" {
				h = append(h, "Session-Expires: "+c.se)
			}
			if c.minSE != "" {
				h = append(h, "Min-SE: "+c.minSE)
			}
			w.in(1, alice.addr, alice.request(c.method, "sip:bob@example.com", "c1", 1, "c1", "", h...))
			if got := strings.Join(header(w.takeBut100()[0].data, "Session-Expires"), ","); got != c.want {
				t.Errorf("Session-Expires %q, want %q", got, c.want)
			}
		})
	}
}

// TestSessionAskedTooShort: nothing is asked that we, or RFC 4028 §4, would not take.
func TestSessionAskedTooShort(t *testing.T) {
	w := newTestCall(t)
	w.set(SettingSession, "30")
	w.set(settingMinSE, "120")
	w.in(1, alice.addr, alice.request("INVITE", "sip:bob@example.com", "c1", 1, "c1", ""))
	if got := header(w.takeBut100()[0].data, "Session-Expires"); len(got) != 1 || got[0] != "120" {
		t.Errorf("Session-Expires %q", got)
	}
}

// TestSessionOfWhom: who refreshes a session that the cluster has asked for, and when it ends; each copy of the answer says the same, those after a takeover too.
func TestSessionOfWhom(t *testing.T) {
	for _, c := range []struct {
		say, caller, callee string // what they support, and answer
		want                string // Session-Expires in the answer
		ends                bool
	}{
		{"the callee", "", "Session-Expires: 600;refresher=uas", "600;refresher=uas", true},
		{"the caller", "timer", "", "600;refresher=uac", true},
		{"the callee, who says so to one who could", "timer", "Session-Expires: 600;refresher=uas", "600;refresher=uas", true},
		{"nobody", "100rel", "", "", false},
	} {
		t.Run(c.say, func(t *testing.T) {
			w := newTestCall(t)
			w.set(SettingSession, "600")
			w.in(1, alice.addr, alice.request("INVITE", "sip:bob@example.com", "c1", 1, "c1", "", "Supported: "+c.caller))
			invite := w.want(alice.addr+" 100 Trying", bob.addr+" INVITE sip:bob@"+bob.addr)[1]
			var h []string
			if c.callee != "" {
				h = append(h, c.callee)
			}
			check := func(w *world) {
				t.Helper()
				w.in(1, bob.addr, bob.answer(invite, 200, h...))
				ok := w.want(alice.addr + " 200 X")[0]
				if got := strings.Join(header(ok, "Session-Expires"), ","); got != c.want {
					t.Errorf("Session-Expires %q, want %q", got, c.want)
				}
				if req := header(ok, "Require"); (len(req) == 1 && req[0] == "timer") != (c.say == "the caller") {
					t.Errorf("Require %q", req)
				}
			}
			check(w)
			check(w) // the callee repeats it
			row := w.cl.m.Call(1)
			if ends := row.DeadlineMs == row.AnsweredMs+600_000; ends != c.ends {
				t.Errorf("answered at %d, ends at %d", row.AnsweredMs, row.DeadlineMs)
			}
			n := w.moved()
			n.reconfigured()
			check(n)
		})
	}
}

// TestSessionNotAsked: without the setting nothing is asked, or told.
func TestSessionNotAsked(t *testing.T) {
	w := newTestCall(t)
	w.in(1, alice.addr, alice.request("INVITE", "sip:bob@example.com", "c1", 1, "c1", "", "Supported: timer"))
	invite := w.want(alice.addr+" 100 Trying", bob.addr+" INVITE sip:bob@"+bob.addr)[1]
	w.in(1, bob.addr, bob.answer(invite, 200))
	ok := w.want(alice.addr + " 200 X")[0]
	if len(header(invite, "Session-Expires")) != 0 || len(header(ok, "Session-Expires")) != 0 {
		t.Errorf("%s\n%s", invite, ok)
	}
}

// TestSessionRefreshedByCaller: the re-INVITE of who was told to refresh moves the deadline, though its other side says nothing of a session.
func TestSessionRefreshedByCaller(t *testing.T) {
	w := newTestCall(t)
	w.set(SettingSession, "600")
	w.in(1, alice.addr, alice.request("INVITE", "sip:bob@example.com", "c1", 1, "c1", "", "Supported: timer"))
	invite := w.want(alice.addr+" 100 Trying", bob.addr+" INVITE sip:bob@"+bob.addr)[1]
	w.in(1, bob.addr, bob.answer(invite, 200))
	ok := w.want(alice.addr + " 200 X")[0]
	w.cl.ms += 300_000
	h := append([]string{"Supported: timer", "Session-Expires: 600;refresher=uac"}, routeSet(ok, true)...)
	w.in(1, alice.addr, alice.request("INVITE", "sip:bob@"+bob.addr, "c1", 2, "re", header(ok, "To")[0], h...))
	re := w.want(bob.addr + " INVITE sip:bob@" + bob.addr)[0]
	w.in(1, bob.addr, bob.answer(re, 200))
	again := w.want(alice.addr + " 200 X")[0]
	if se := header(again, "Session-Expires"); len(se) != 1 || se[0] != "600;refresher=uac" {
		t.Errorf("Session-Expires %q", se)
	}
	w.in(1, alice.addr, alice.request("UPDATE", "sip:bob@"+bob.addr, "c1", 3, "up", header(ok, "To")[0], routeSet(ok, true)...))
	if up := w.want(bob.addr + " UPDATE sip:bob@" + bob.addr)[0]; len(header(up, "Session-Expires")) != 0 {
		t.Error("an UPDATE that is about something else was made a refresh")
	}
	if row := w.cl.m.Call(1); row.State != pb.CallState_CALL_ANSWERED || row.DeadlineMs < row.AnsweredMs+900_000 || row.DeadlineMs > row.AnsweredMs+901_000 {
		t.Errorf("answered at %d, ends at %d", row.AnsweredMs, row.DeadlineMs)
	}
}
