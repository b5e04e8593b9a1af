package registrar

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"holdline/fsm/pb"
	"holdline/sipcore/wire"
)

// TestRules goes through RFC 3261 §10.3. Each row begins with two contacts, bound by CSeq 10 of call a for 3600 s, and says what is
// bound after the request, as user:seconds.
func TestRules(t *testing.T) {
	const before = "x:3600 y:3600"
	for _, c := range []struct {
		say   string
		cseq  int
		lines []string
		want  string // status
		bound string
	}{
		// Step 6: Call-ID and CSeq of what would go.
		{"star", 11, []string{"Call-ID: a", "Expires: 0", "Contact: *"}, "200", ""},
		{"star of another call", 1, []string{"Call-ID: b", "Expires: 0", "m: *"}, "200", ""},
		{"star too late", 9, []string{"Call-ID: a", "Expires: 0", "Contact: *"}, "500", before},
		{"star again", 10, []string{"Call-ID: a", "Expires: 0", "Contact: *"}, "500", before},
		{"star for a while", 11, []string{"Call-ID: a", "Expires: 1", "Contact: *"}, "400", before},
		{"star with a parameter", 11, []string{"Call-ID: a", "Expires: 0", "Contact: *;expires=0"}, "400", before},
		{"star and a contact", 11, []string{"Call-ID: a", "Expires: 0", "Contact: *", "Contact: <sip:z@h>"}, "400", before},

		// Step 7: expiry.
		{"parameter before header", 11, []string{"Call-ID: a", "Expires: 100", "Contact: <sip:x@h>;expires=200, <sip:z@h>"}, "200", "x:200 y:3600 z:100"},
		{"header after the contact", 11, []string{"Call-ID: a", "Contact: <sip:z@h>", "eXPIRES : 300"}, "200", before + " z:300"},
		{"neither", 11, []string{"Call-ID: a", "Contact: <sip:z@h>"}, "200", before + " z:3600"},
		{"unreadable parameter", 11, []string{"Call-ID: a", "Contact: <sip:z@h>;expires=1h"}, "200", before + " z:3600"},
		{"unreadable header", 11, []string{"Call-ID: a", "Contact: <sip:z@h>", "Expires: Thu, 01 Jan 1970 00:00:00 GMT"}, "200", before + " z:3600"},
		{"as long as can be written", 11, []string{"Call-ID: a", "Contact: <sip:z@h>;expires=4294967295"}, "200", before + " z:7200"},
		{"longer than that", 11, []string{"Call-ID: a", "Contact: <sip:z@h>;expires=4294967296"}, "200", before + " z:3600"},
		{"just long enough", 11, []string{"Call-ID: a", "Contact: <sip:z@h>;expires=60"}, "200", before + " z:60"},
		{"too short", 11, []string{"Call-ID: a", "Contact: <sip:z@h>;expires=59"}, "423 60", before},
		{"too short by the header", 11, []string{"Call-ID: a", "Contact: <sip:z@h>", "Expires: 1"}, "423 60", before},
		{"one too short, nothing is done", 11, []string{"Call-ID: a", "Contact: <sip:z@h>, <sip:x@h>;expires=0, <sip:u@h>;expires=1"}, "423 60", before},

		// Step 7: order, for each contact; all or nothing.
		{"refresh", 11, []string{"Call-ID: a", "Contact: <sip:x@h>;expires=100"}, "200", "x:100 y:3600"},
		{"refresh too late", 9, []string{"Call-ID: a", "Contact: <sip:x@h>;expires=100"}, "500", before},
		{"refresh with the same CSeq", 10, []string{"Call-ID: a", "Contact: <sip:x@h>;expires=100"}, "500", before},
		{"refresh by another call", 1, []string{"Call-ID: b", "Contact: <sip:x@h>;expires=100"}, "200", "x:100 y:3600"},
		{"removed", 11, []string{"Call-ID: a", "Contact: <sip:x@h>;expires=0"}, "200", "y:3600"},
		{"removed by the header", 11, []string{"Call-ID: a", "Contact: <sip:x@h>, <sip:y@h>", "Expires: 0"}, "200", ""},
		{"one removed, one new", 11, []string{"Call-ID: a", "Contact: <sip:x@h>;expires=0", "Contact: <sip:z@h>"}, "200", "y:3600 z:3600"},
		{"what was not there is removed", 11, []string{"Call-ID: a", "Contact: <sip:z@h>;expires=0"}, "200", before},
		{"twice in one, the last counts", 11, []string{"Call-ID: a", "Contact: <sip:z@h>;expires=100, <sip:z@h>;expires=200"}, "200", before + " z:200"},
		{"a bad one among good ones", 11, []string{"Call-ID: a", "Contact: <sip:z@h>, <sip:u@h"}, "400", before},

		// Equal URIs are one contact (§19.1.4).
		{"host in capitals", 11, []string{"Call-ID: a", "Contact: <SIP:x@H>;expires=100"}, "200", "x:100 y:3600"},
		{"user escaped without need is another, against §19.1.4: phones write their Contact as they did before", 11, []string{"Call-ID: a", "Contact: <sip:%78@h>;expires=100"}, "200", before + " %78:100"},
		{"user in capitals is another", 11, []string{"Call-ID: a", "Contact: <sip:X@h>;expires=100"}, "200", before + " X:100"},
		{"default port is another", 11, []string{"Call-ID: a", "Contact: <sip:x@h:5060>;expires=100"}, "200", before + " x:100"},
		{"transport makes another", 11, []string{"Call-ID: a", "Contact: <sip:x@h;transport=tcp>;expires=100"}, "200", before + " x:100"},
		{"a parameter of no account", 11, []string{"Call-ID: a", "Contact: <sip:x@h;foo=1>;expires=100"}, "200", "x:100 y:3600"},

		// Per AoR at most four, here.
		{"two more", 11, []string{"Call-ID: a", "Contact: <sip:z@h>, <sip:u@h>"}, "200", before + " z:3600 u:3600"},
		{"three more", 11, []string{"Call-ID: a", "Contact: <sip:z@h>, <sip:u@h>, <sip:v@h>"}, "403", before},
		{"three more, one less", 11, []string{"Call-ID: a", "Contact: <sip:z@h>, <sip:u@h>, <sip:v@h>, <sip:x@h>;expires=0"}, "200", "y:3600 z:3600 u:3600 v:3600"},

		// A query changes nothing, whatever its CSeq (§10.2.3).
		{"query", 1, []string{"Call-ID: a"}, "200", before},
		{"query with an expiry", 11, []string{"Call-ID: a", "Expires: 0"}, "200", before},
	} {
		t.Run(c.say, func(t *testing.T) {
			w := newWorld(t)
			w.apply(&pb.Command{Op: &pb.Command_PutSetting{PutSetting: &pb.PutSetting{Name: "register.max-bindings", Value: "4"}}})
			w.sendAs(10, "z9hG4bKfirst", "Call-ID: a", "Contact: <sip:x@h>, <sip:y@h>")
			m := w.sendAs(c.cseq, "z9hG4bKsecond", c.lines...)
			status, _, _ := strings.Cut(show(m), " ")
			status, _, _ = strings.Cut(status, "\n")
			if m.Has(wire.HdrMinExpires) {
				status += " " + string(m.Value(wire.HdrMinExpires))
			}
			if status != c.want {
				t.Errorf("%s, want %s", show(m), c.want)
			}
			listed := contacts(w.sendAs(20, "z9hG4bKquery", "Call-ID: query"))
			if listed != c.bound {
				t.Errorf("bound %s, want %s", listed, c.bound)
			}
			if m.Status != 200 {
				return
			}
			if got := contacts(m); got != c.bound { // step 8
				t.Errorf("the 200 lists %s", got)
			}
			if _, err := http.ParseTime(string(m.Value(wire.HdrDate))); err != nil {
				t.Error(err)
			}
		})
	}
}

// TestReconnecting: a phone whose Contact has its connection's port in it connects as often as it likes; what else the user has stays.
func TestReconnecting(t *testing.T) {
	for say, params := range map[string]string{"no instance": "", "an instance without reg-id": ";" + instance} {
		t.Run(say, func(t *testing.T) {
			const most, connections = 10, 30
			w := newWorld(t)
			w.send("Call-ID: desk", "Contact: <sip:desk@192.0.2.9>")
			w.proto = pb.Transport_TCP
			for i := range connections {
				w.time += 1000
				if m := w.send(fmt.Sprintf("Contact: <sip:a@192.0.2.7:%d;transport=tcp>%s", 40_001+i, params)); m.Status != 200 {
					t.Fatalf("connection %d: %s", i+1, show(m))
				}
			}
			b := w.Bindings("alice@example.com", nil)
			if len(b) != most || b[0].Contact != "sip:desk@192.0.2.9" || b[1].Contact != "sip:a@192.0.2.7:40022;transport=tcp" || b[most-1].Contact != "sip:a@192.0.2.7:40030;transport=tcp" {
				t.Errorf("bound %+v", b)
			}
		})
	}
}

// contacts writes a 200's contacts as user:seconds.
func contacts(m *wire.Msg) string {
	var out []string
	for it := m.Values(wire.HdrContact); ; {
		_, v, ok := it.Next()
		if !ok {
			return strings.Join(out, " ")
		}
		text := string(m.Bytes(v))
		user := text[strings.IndexByte(text, ':')+1 : strings.IndexByte(text, '@')]
		out = append(out, user+":"+text[strings.LastIndex(text, "expires=")+len("expires="):])
	}
}

// TestQ: what a contact's q means to those who call (RFC 3261 §20.10): thousandths, 1 without a readable one.
func TestQ(t *testing.T) {
	for q, want := range map[string]uint16{
		"": 1000, ";q=1": 1000, ";q=1.000": 1000, ";q=0": 0, ";q=0.5": 500, ";Q=0.05": 50, ";q=.7": 700, ";q=0.123": 123,
		";q=1.001": 1000, ";q=2": 1000, ";q=-1": 1000, ";q=0.1234": 1000, ";q=a": 1000, ";q": 1000,
	} {
		w := newWorld(t)
		if m := w.send("Contact: <sip:a@h>" + q); m.Status != 200 {
			t.Errorf("%s: %s", q, show(m))
			continue
		}
		if b := w.Bindings("alice@example.com", nil); b[0].Q != want {
			t.Errorf("%q is %d, want %d", q, b[0].Q, want)
		}
	}
}

// TestMinimumOfMoreThanAnHour: what asks for an hour may not be refused (§10.3 step 7).
func TestMinimumOfMoreThanAnHour(t *testing.T) {
	w := newWorld(t)
	for _, name := range []string{"register.min-expires", "register.max-expires"} {
		w.apply(&pb.Command{Op: &pb.Command_PutSetting{PutSetting: &pb.PutSetting{Name: name, Value: "7200"}}})
	}
	if got := show(w.send("Contact: <sip:a@h>;expires=3600")); got != "200\nContact: <sip:a@h>;expires=3600" {
		t.Error(got)
	}
	if got := show(w.send("Contact: <sip:a@h>;expires=3599")); got != "423 Interval Too Brief\nMin-Expires: 3600" {
		t.Error(got)
	}
}

// TestPathIsItsOwn: the 200 repeats the Path of the REGISTER that it answers, not that of another phone of the user's whose CSeq happens to be the same.
func TestPathIsItsOwn(t *testing.T) {
	w := newWorld(t)
	w.sendAs(2, "z9hG4bK1", "Call-ID: desk", "Supported: path", "Path: <sip:edge;lr>", "Contact: <sip:desk@h>")
	for _, c := range []struct {
		branch string
		lines  []string
		want   string
	}{
		{"z9hG4bK2", []string{"Call-ID: soft", "Supported: path", "Contact: <sip:soft@h>"}, ""},
		{"z9hG4bK3", []string{"Call-ID: mobile", "Supported: path", "Path: <sip:other;lr>", "Contact: <sip:mobile@h>"}, "Path: <sip:other;lr>"},
		{"z9hG4bK4", []string{"Call-ID: query", "Supported: path"}, ""},
	} {
		got := show(w.sendAs(2, c.branch, c.lines...))
		if _, path, _ := strings.Cut(got, "\nPath"); c.want == "" && path != "" || c.want != "" && !strings.HasSuffix(got, "\n"+c.want) {
			t.Errorf("%q: %s", c.lines, got)
		}
	}
}

// TestPath: whose Path is taken, and who gets to see it (RFC 3327 §5.3).
func TestPath(t *testing.T) {
	const path, contact = "Path: <sip:edge;lr>", "Contact: <sip:a@h>"
	for _, c := range []struct {
		setting string
		lines   []string
		want    string
		stored  int
	}{
		{"supported", []string{"k: foo, PATH", path, contact}, "200\nContact: <sip:a@h>;expires=3600\nPath: <sip:edge;lr>", 1},
		{"supported", []string{"Require: path", path, contact}, "200\nContact: <sip:a@h>;expires=3600\nPath: <sip:edge;lr>", 1},
		{"supported", []string{path, contact}, "420 Bad Extension\nUnsupported: path", 0},
		{"supported", []string{contact}, "200\nContact: <sip:a@h>;expires=3600", 0},
		{"any", []string{path, contact}, "200\nContact: <sip:a@h>;expires=3600", 1},
		{"any", []string{"Supported: path", path, "Path: <sip:b;lr>,<sip:c;lr>", contact}, "200\nContact: <sip:a@h>;expires=3600\nPath: <sip:edge;lr>\nPath: <sip:b;lr>\nPath: <sip:c;lr>", 3},
		{"any", []string{"Path: <sip:edge;lr", contact}, "400 Bad Path", 0},
		{"any", []string{"Path: " + strings.Repeat("<sip:e;lr>,", 8) + "<sip:e;lr>", contact}, "400 Too Many Path Values", 0},
	} {
		w := newWorld(t)
		w.apply(&pb.Command{Op: &pb.Command_PutSetting{PutSetting: &pb.PutSetting{Name: SettingPath, Value: c.setting}}})
		if got := show(w.send(c.lines...)); got != c.want {
			t.Errorf("%s %q:\n got %s\nwant %s", c.setting, c.lines, got, c.want)
		}
		if b := w.Bindings("alice@example.com", nil); len(b) > 0 && len(b[0].Path) != c.stored || len(b) == 0 && c.stored > 0 {
			t.Errorf("%s %q: stored %+v", c.setting, c.lines, b)
		}
	}
}
