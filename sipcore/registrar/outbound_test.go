package registrar

import (
	"strings"
	"testing"
	"time"

	"holdline/fsm/pb"
)

const instance = `+sip.instance="<urn:uuid:0A>"`

// TestOutbound: who keeps the flow, what the phone knows, and what it gets (RFC 5626 §6); who is told to keep it alive, and who is kept alive.
func TestOutbound(t *testing.T) {
	const ours, flow = `Contact: <sip:a@192.0.2.7>;`, instance + ";reg-id=1"
	const edge, plain = "Path: <sip:core;lr>, <sip:token@edge;lr;ob>", "Path: <sip:core;lr;ob>, <sip:edge;lr>"
	const known, via = "Supported: path,  Outbound", "Via: SIP/2.0/UDP 203.0.113.9;branch=z9hG4bKphone"
	bound := "\nContact: <sip:a@192.0.2.7>;" + flow + ";expires=3600"
	for _, c := range []struct {
		say   string
		lines []string
		proto pb.Transport
		want  string
		regID uint32
		alive time.Duration
	}{
		{"first hop over UDP", []string{known, ours + flow}, pb.Transport_UDP, "200" + bound + "\nRequire: outbound", 1, 0},
		{"first hop over TCP", []string{known, ours + flow}, pb.Transport_TCP, "200" + bound + "\nRequire: outbound\nFlow-Timer: 120", 1, 2 * time.Minute},
		{"first hop over TLS, required", []string{"Require: outbound", ours + flow}, pb.Transport_TLS, "200" + bound + "\nRequire: outbound\nFlow-Timer: 120", 1, 2 * time.Minute},
		{"first hop over WebSocket", []string{known, ours + flow}, pb.Transport_WSS, "200" + bound + "\nRequire: outbound", 1, 0},
		{"phone does not say that it knows", []string{ours + flow}, pb.Transport_TCP, "200" + bound, 1, 0},
		{"phone does not say that it knows, over UDP", []string{ours + flow}, pb.Transport_UDP, "200" + bound, 1, 0},
		{"no reg-id", []string{known, ours + instance}, pb.Transport_TCP, "200\nContact: <sip:a@192.0.2.7>;" + instance + ";expires=3600", 0, 0},
		{"reg-id without instance", []string{known, ours + "reg-id=1"}, pb.Transport_TCP, "200\nContact: <sip:a@192.0.2.7>;reg-id=1;expires=3600", 0, 0},
		{"reg-id 0", []string{known, ours + instance + ";reg-id=0"}, pb.Transport_TCP, "200\nContact: <sip:a@192.0.2.7>;" + instance + ";reg-id=0;expires=3600", 0, 0},
		{"an edge that keeps the flow", []string{via, known, edge, ours + flow}, pb.Transport_TCP, "200" + bound + "\nPath: <sip:core;lr>\nPath: <sip:token@edge;lr;ob>\nRequire: outbound", 1, 0},
		{"an edge that does not", []string{via, known, plain, ours + flow}, pb.Transport_UDP, "439 First Hop Lacks Outbound Support", 0, 0},
		{"an edge without Path", []string{via, known, ours + flow}, pb.Transport_UDP, "439 First Hop Lacks Outbound Support", 0, 0},
		{"an edge that does not, and a phone that knows nothing", []string{via, "Supported: path", plain, ours + flow}, pb.Transport_UDP, "200" + bound + "\nPath: <sip:core;lr;ob>\nPath: <sip:edge;lr>", 0, 0},
		{"an edge that does not, no reg-id", []string{via, known, plain, ours + instance}, pb.Transport_UDP, "200\nContact: <sip:a@192.0.2.7>;" + instance + ";expires=3600\nPath: <sip:core;lr;ob>\nPath: <sip:edge;lr>", 0, 0},
		{"two flows at once", []string{known, ours + flow + `, <sip:b@192.0.2.7>;` + instance + ";reg-id=2"}, pb.Transport_UDP, "400 A Flow Is Registered Alone", 0, 0},
		{"a flow, and the end of another contact", []string{known, ours + flow + ", <sip:b@192.0.2.7>;expires=0"}, pb.Transport_UDP, "200" + bound + "\nRequire: outbound", 1, 0},
	} {
		t.Run(c.say, func(t *testing.T) {
			w := newWorld(t)
			w.proto = c.proto
			if got := show(w.send(c.lines...)); got != c.want {
				t.Errorf("\n got %s\nwant %s", got, c.want)
			}
			if w.alive != c.alive {
				t.Errorf("alive within %v, want %v", w.alive, c.alive)
			}
			b := w.Bindings("alice@example.com", nil)
			if len(b) > 0 != strings.HasPrefix(c.want, "200") || len(b) == 1 && b[0].RegID != c.regID {
				t.Errorf("bindings %+v", b)
			}
			for i := range b { // the phone keeps its flow when it is told to; all are behind a NAT here
				if want := !strings.Contains(c.want, "Require: outbound"); b[i].KeepsFlow == want || b[i].KeptAlive() != (want && c.proto == pb.Transport_UDP && len(b[i].Path) == 0) {
					t.Errorf("keeps its flow: %v, is kept alive: %v", b[i].KeepsFlow, b[i].KeptAlive())
				}
			}
		})
	}
}

// TestFlowReplaced: one flow per instance and reg-id, whatever Contact it names and whoever registers it; others stay.
func TestFlowReplaced(t *testing.T) {
	w := newWorld(t)
	const known = "Supported: outbound"
	w.send(known, "Contact: <sip:a@192.0.2.7:1>;"+instance+";reg-id=1")
	w.send(known, "Contact: <sip:a@192.0.2.7:2>;"+instance+";reg-id=2")
	w.send("Contact: <sip:a@192.0.2.7:3>;" + instance)
	w.send("Contact: <sip:a@192.0.2.7:4>;" + instance) // without reg-id only URIs count
	for i, c := range []struct{ line, want string }{
		{"<sip:a@198.51.100.1:1>;" + strings.ToLower(instance) + ";reg-id=1", "198.51.100.1:1 192.0.2.7:2 192.0.2.7:3 192.0.2.7:4"},
		{"<sip:a@198.51.100.1:2>;" + instance + ";reg-id=2", "198.51.100.1:1 198.51.100.1:2 192.0.2.7:3 192.0.2.7:4"},
		{"<sip:elsewhere>;" + instance + ";reg-id=2;expires=0", "198.51.100.1:1 192.0.2.7:3 192.0.2.7:4"},
		{`<sip:b@h>;+sip.instance="<urn:uuid:0B>";reg-id=1`, "198.51.100.1:1 192.0.2.7:3 192.0.2.7:4 h"},
	} {
		// A phone that has restarted has another Call-ID.
		if m := w.send(known, "Call-ID: "+c.line[1:8]+string(rune('a'+i)), "Contact: "+c.line); m.Status != 200 {
			t.Fatalf("step %d: %s", i, show(m))
		}
		var got []string
		for _, b := range w.Bindings("alice@example.com", nil) {
			got = append(got, b.Contact[strings.IndexByte(b.Contact, '@')+1:])
		}
		if s := strings.Join(got, " "); s != c.want {
			t.Errorf("step %d: bound\n %s, want\n %s", i, s, c.want)
		}
	}
}

// TestFlowTimerSet: the setting counts; 0 turns it off. A repeated REGISTER repeats it.
func TestFlowTimerSet(t *testing.T) {
	w := newWorld(t)
	w.proto = pb.Transport_TCP
	lines := []string{"Supported: outbound", "Contact: <sip:a@h>;" + instance + ";reg-id=1"}
	for i, c := range []struct {
		value, want string
		alive       time.Duration
	}{{"30", "\nFlow-Timer: 30", 30 * time.Second}, {"0", "", 0}} {
		w.apply(&pb.Command{Op: &pb.Command_PutSetting{PutSetting: &pb.PutSetting{Name: settingFlowTimer, Value: c.value}}})
		got := show(w.sendAs(i+1, "z9hG4bK"+c.value, lines...))
		if !strings.HasSuffix(got, "\nRequire: outbound"+c.want) || w.alive != c.alive {
			t.Errorf("%s: %s, alive within %v", c.value, got, w.alive)
		}
		if again := show(w.sendAs(i+1, "z9hG4bK"+c.value, lines...)); again != got {
			t.Errorf("%s, again: %s", c.value, again)
		}
	}
}
