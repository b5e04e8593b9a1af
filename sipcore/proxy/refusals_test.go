package proxy

import (
	"fmt"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"
	"unicode/utf8"

	"holdline/fsm/pb"
	"holdline/sipcore/transport"
	"holdline/sipcore/wire"
)

// refusals are what the world's node has refused, a line each.
func (w *world) refusals() []string {
	all, _ := w.s.opt.Refusals.All()
	var lines []string
	for _, x := range all {
		line := fmt.Sprintf("%s %s %s %d %s", x.Source, x.Method, x.URI, x.Status, x.Reason)
		if x.Why != "" {
			line += ": " + x.Why
		}
		if x.User != "" {
			line += " (" + x.User + ")"
		}
		lines = append(lines, line)
	}
	return lines
}

// TestRefusedHere: what this node refuses is remembered; neither what everybody's first request meets, nor what others refuse, nor what is on record, nor
// what its sender wants.
func TestRefusedHere(t *testing.T) {
	invite := func(uri string, headers ...string) string {
		return alice.request("INVITE", uri, "c1", 1, "c1", "", headers...)
	}
	from := func(who, msg string) string { return strings.Replace(msg, "sip:alice@example.com", who, 1) }
	wrong := "Proxy-Authorization: " + strings.Replace(answersUs, `"1"`, `"wrong"`, 1)
	for _, c := range []struct {
		say, msg, want                string
		digest                        bool
		prepare                       func(w *world)
		after                         func(w *world)
		refused, challenged, mistaken uint64
	}{
		{say: "a call that goes on", msg: invite("sip:bob@example.com")},
		{
			say: "a call that its callee refuses", msg: invite("sip:bob@example.com"),
			after: func(w *world) { w.in(1, bob.addr, bob.answer(w.sent[1].data, 486)) },
		},
		{
			say: "a call on record that ends here", msg: invite("sip:bob@example.com"),
			after: func(w *world) {
				w.in(1, bob.addr, bob.answer(w.sent[1].data, 180))
				w.pass(5 * time.Minute)
			},
		},
		{say: "the first challenge", msg: invite("sip:bob@example.com"), digest: true, challenged: 1},
		{say: "another realm's credentials", msg: invite("sip:bob@example.com", "Proxy-Authorization: "+answersOther), digest: true, challenged: 1},
		{say: "the right password", msg: invite("sip:bob@example.com", "Proxy-Authorization: "+answersUs), digest: true},
		{
			say: "a wrong password", msg: invite("sip:bob@example.com", "Proxy-Authorization: "+answersOther, wrong), digest: true, refused: 1, mistaken: 1,
			want: alice.addr + " INVITE sip:bob@example.com 407 Proxy Authentication Required: wrong password (alice)",
		},
		{
			say: "a wrong password, withheld name", msg: from("sip:anonymous@example.com", invite("sip:0123@example.com", wrong)), digest: true, refused: 1, mistaken: 1,
			want: alice.addr + " INVITE sip:0123@example.com 407 Proxy Authentication Required: wrong password (alice)",
		},
		{
			say: "another user's name", msg: from("sip:carol@example.com", invite("sip:bob@example.com", "Proxy-Authorization: "+answersUs)), digest: true, refused: 1,
			want: alice.addr + " INVITE sip:bob@example.com 403 From Names Another User",
		},
		{say: "a foreign domain", msg: invite("sip:bob@far.example"), refused: 1, want: alice.addr + " INVITE sip:bob@far.example 404 Domain Not Served Here"},
		{say: "a registration there", msg: alice.request("REGISTER", "sip:far.example", "c1", 1, "c1", ""), refused: 1, want: alice.addr + " REGISTER sip:far.example 404 Domain Not Served Here"},
		{say: "not registered", msg: invite("sip:carol@example.com"), refused: 1, want: alice.addr + " INVITE sip:carol@example.com 480 Temporarily Unavailable"},
		{say: "nobody", msg: invite("sip:nobody@example.com"), refused: 1, want: alice.addr + " INVITE sip:nobody@example.com 404 Not Found"},
		{say: "a scheme", msg: invite("mailto:bob@example.com"), refused: 1, want: alice.addr + " INVITE mailto:bob@example.com 416 Unsupported URI Scheme"},
		{
			say: "overload", msg: invite("sip:bob@example.com"), refused: 1, prepare: func(w *world) { w.s.opt.Admission.pressure.Store(one) },
			want: alice.addr + " INVITE sip:bob@example.com 503 Service Unavailable: more new requests come than can be served",
		},
		{
			say: "full gateways", msg: invite("sip:0123@example.com"), refused: 1,
			prepare: func(w *world) {
				for i := range 2 {
					m := &pb.Member{Pool: "gw", Name: fmt.Sprintf("gw%d", i+1), Address: fmt.Sprintf("10.0.0.2%d:5080", i+1), MaxCalls: 1}
					w.cl.apply(&pb.Command{Op: &pb.Command_PutMember{PutMember: &pb.PutMember{Member: m}}})
					w.in(1, alice.addr, alice.request("INVITE", "sip:0123@example.com", fmt.Sprint("f", i), 1, fmt.Sprint("f", i), ""))
				}
			},
			want: alice.addr + " INVITE sip:0123@example.com 503 Service Unavailable: every member of pool gw carries as many calls as it may, or is disabled",
		},
		{
			say: "a user who makes as many calls as he may", msg: invite("sip:0123@example.com"), refused: 1,
			prepare: func(w *world) {
				w.max("alice@example.com", 1)
				w.call("f1")
			},
			want: alice.addr + " INVITE sip:0123@example.com 486 Too Many Calls At Once: more calls at once than the 1 that alice@example.com may make",
		},
		{
			say: "a MESSAGE to a phone whose connection is gone", msg: alice.request("MESSAGE", "sip:bob@example.com", "c1", 1, "c1", ""), refused: 1,
			prepare: func(w *world) { w.full = true },
			after: func(w *world) {
				var m wire.Msg
				_ = m.Scan([]byte(w.sent[0].data))
				x, _ := ParseUndelivered(&m)
				w.s.Undeliverable(w.v, w.now, x)
				w.commit()
			},
			want: alice.addr + " MESSAGE sip:bob@example.com 480 Temporarily Unavailable",
		},
		{
			say: "just after a takeover, when the answer is withheld", msg: invite("sip:nobody@example.com"),
			prepare: func(w *world) { w.acquired = w.now },
		},
	} {
		t.Run(c.say, func(t *testing.T) {
			w := newTestCall(t)
			if c.digest {
				w.s.opt.Auth = digests{}
			}
			if c.prepare != nil {
				c.prepare(w)
				w.take()
			}
			w.in(1, alice.addr, c.msg)
			if c.after != nil {
				c.after(w)
			}
			if got := strings.Join(w.refusals(), "\n"); got != c.want {
				t.Errorf("remembered: %s\nwant: %s\nsent: %v", got, c.want, w.sent)
			}
			counted := map[string]uint64{}
			w.stats.Each(func(name, _ string, n uint64) { counted[name] = n })
			if r, a, m := counted["refused"], counted["challenged"], counted["wrong_credentials"]; r != c.refused || a != c.challenged || m != c.mistaken {
				t.Errorf("counted %d refused, %d challenged, %d with wrong credentials", r, a, m)
			}
			for _, s := range w.sent {
				if strings.Contains(s.data, "password") || strings.Contains(s.data, "every member") {
					t.Errorf("told to the sender:\n%s", s.data)
				}
			}
		})
	}
}

// TestNotRefused: a request in a dialog whose peer is silent or gone is refused, but for those that have reached what they were for: a BYE, and an INVITE
// that its sender has cancelled.
func TestNotRefused(t *testing.T) {
	for _, c := range []struct {
		method string
		cancel bool
		sent   string // last
		want   string
	}{
		{"INVITE", false, "408 Request Timeout", alice.addr + " INVITE sip:bob@" + bob.addr + " 408 Request Timeout"},
		{"INVITE", true, "487 Request Terminated", ""},
		{"INFO", false, "500 Server Internal Error", alice.addr + " INFO sip:bob@" + bob.addr + " 500 Server Internal Error"},
		{"BYE", false, "481 Call/Transaction Does Not Exist", ""},
	} {
		w := newTestCall(t)
		_, ok := w.call("c1")
		w.full = true
		w.in(1, alice.addr, alice.request(c.method, "sip:bob@"+bob.addr, "c1", 2, "re", header(ok, "To")[0], routeSet(ok, true)...))
		if c.cancel {
			w.in(1, bob.addr, bob.answer(w.sent[0].data, 180))
			w.in(1, alice.addr, alice.request("CANCEL", "sip:bob@"+bob.addr, "c1", 2, "re", header(ok, "To")[0], routeSet(ok, true)...))
		}
		if c.method != "INVITE" {
			x, _ := ParseUndelivered(scanned(t, w.sent[0].data))
			w.s.Undeliverable(w.v, w.now, x)
			w.commit()
		}
		w.pass(40 * time.Second)
		final := w.sent[len(w.sent)-1].data
		for _, s := range w.sent {
			if s.to.Remote.String() == alice.addr {
				final = s.data
			}
		}
		if !strings.HasPrefix(final, "SIP/2.0 "+c.sent) {
			t.Errorf("%s was answered:\n%s", c.method, final)
		}
		if got := strings.Join(w.refusals(), "\n"); got != c.want {
			t.Errorf("%s: remembered: %s", c.method, got)
		}
	}
}

// TestRefusedRegister: what a REGISTER gets when its command has changed nothing is a refusal too.
func TestRefusedRegister(t *testing.T) {
	w := newTestCall(t)
	w.s.opt.Registrar = full{}
	w.in(1, alice.addr, alice.request("REGISTER", "sip:example.com", "c1", 1, "c1", "<sip:alice@example.com>"))
	w.want(alice.addr + " 403 Too Many Contacts")
	if got := w.refusals(); len(got) != 1 || got[0] != alice.addr+" REGISTER sip:example.com 403 Too Many Contacts" {
		t.Errorf("remembered: %q", got)
	}
	if x, _ := w.s.opt.Refusals.All(); x[0].From != "sip:alice@example.com" || x[0].To != "sip:alice@example.com" || x[0].CallID != "c1" || x[0].At != w.now {
		t.Errorf("%+v", x[0])
	}
}

// full is a registrar that has room for nobody.
type full struct{}

func (full) Register(*Inbound, *pb.Domain, []byte) (*pb.Command, *wire.Response) {
	return &pb.Command{Op: &pb.Command_PutSetting{PutSetting: &pb.PutSetting{Name: "x", Value: "y"}}}, nil
}

func (full) Answer(*Inbound, *pb.Result, error) (*wire.Response, time.Duration) {
	return &wire.Response{Status: 403, Reason: "Too Many Contacts"}, 0
}

// scanned is a request as Note gets it.
func scanned(t testing.TB, text string) *wire.Msg {
	t.Helper()
	m := new(wire.Msg)
	if err := m.Scan([]byte(text)); err != nil {
		t.Fatal(err)
	}
	return m
}

// TestRefusalsUnderFlood: of a flood a hundred in a second are written down and a thousand kept, the last ones; the rest costs a count. Of failed
// credentials ten at a time are told of, whatever else floods.
func TestRefusalsUnderFlood(t *testing.T) {
	var r Refusals
	flow := transport.Flow{Remote: netip.MustParseAddrPort(alice.addr)}
	m := scanned(t, alice.request("REGISTER", "sip:example.com", "c1", 1, "c1", ""))
	no, wrong := &wire.Response{Status: 404}, &wire.Response{Status: 401, Note: "wrong password"}
	const seconds, perSecond = 12, 1000
	for i := range seconds * perSecond {
		r.Note(int64(time.Second)*int64(i)/perSecond, m, flow, no)
	}
	all, left := r.All()
	if len(all) != maxRefusals || left != seconds*(perSecond-refusalsASecond) {
		t.Errorf("%d kept, %d left out", len(all), left)
	}
	for i := range all {
		if want := int64(2+i/refusalsASecond) * int64(time.Second); all[i].At/int64(time.Second)*int64(time.Second) != want {
			t.Fatalf("the %dth is of %v, want one of %v", i, time.Duration(all[i].At), time.Duration(want))
		}
	}
	now := int64(seconds-1)*int64(time.Second) + int64(time.Second)/2
	for round := range 3 { // nothing more is written down in this second
		for range 35 {
			r.Note(now, m, flow, wrong)
		}
		if x, more := r.UntoldWrong(); len(x) != maxUntold || more != 35-maxUntold || x[0].Why != "wrong password" {
			t.Errorf("round %d: %d told of, %d more", round, len(x), more)
		}
	}
	if x, more := r.UntoldWrong(); len(x) != 0 || more != 0 {
		t.Errorf("told twice: %d, %d", len(x), more)
	}
	if again, _ := r.All(); again[maxRefusals-1].Status != 404 {
		t.Error("written down beyond what a second has")
	}
	r.full.Store(true)
	if n := testing.AllocsPerRun(100, func() { r.Note(now, m, flow, no); r.Note(now, m, flow, wrong) }); n != 0 && !raced {
		t.Errorf("what is only counted costs %.0f allocations", n)
	}
}

// TestRefusalsAtOnce: many shards note, and somebody reads. No second has more than its hundred.
func TestRefusalsAtOnce(t *testing.T) {
	var r Refusals
	flow := transport.Flow{Remote: netip.MustParseAddrPort(alice.addr)}
	const shards, each = 8, 500
	var wg sync.WaitGroup
	for i := range shards {
		m := scanned(t, alice.request("REGISTER", "sip:example.com", fmt.Sprint("c", i), 1, "c1", ""))
		wg.Go(func() {
			for n := range each {
				r.Note(int64(time.Second)*int64(n/(each/5)), m, flow, &wire.Response{Status: 401, Note: "unknown user"})
				if n%20 == 0 {
					r.All()
					if x, _ := r.UntoldWrong(); len(x) > maxUntold {
						t.Errorf("%d told of at once", len(x))
					}
				}
			}
		})
	}
	wg.Wait()
	all, left := r.All()
	if len(all)+int(left) != shards*each || len(all) > 5*refusalsASecond || len(all) < refusalsASecond {
		t.Errorf("%d kept, %d left out", len(all), left)
	}
}

// TestRefusalTexts: what a stranger writes can neither steer a terminal nor fill the memory.
func TestRefusalTexts(t *testing.T) {
	for in, want := range map[string]string{
		"sip:alice@example.com":       "sip:alice@example.com",
		"a\x1b[2J\r\n\x7fb":           "a%1B[2J%0D%0A%7Fb",
		"\u009b1m \u202egnp":          "%C2%9B1m %E2%80%AEgnp",
		"sip:j\u00f6rg \xff":          "sip:jörg %FF",
		strings.Repeat("x", 128):      strings.Repeat("x", 128),
		strings.Repeat("x", 5000):     strings.Repeat("x", 128) + "…",
		"1" + strings.Repeat("ö", 70): "1" + strings.Repeat("ö", 63) + "…",
	} {
		if got := shown([]byte(in)); got != want || !utf8.ValidString(got) {
			t.Errorf("%.40q is shown as %q", in, got)
		}
	}
	if x := (Refusal{CallID: shown([]byte("a\x01b"))}); !x.HasCallID("a\x01b") || !x.HasCallID("a%01b") || x.HasCallID("ab") {
		t.Error("its Call-ID is not found")
	}
}
