package registrar

import (
	"cmp"
	"errors"
	"fmt"
	"net/netip"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"holdline/fsm"
	"holdline/fsm/pb"
	"holdline/sipcore/proxy"
	"holdline/sipcore/transport"
	"holdline/sipcore/wire"
)

// world is a registrar over a real state machine, with credentials taken on trust: X-User says whose they are.
type world struct {
	*fsm.Machine
	t        testing.TB
	reg      *Registrar
	index    uint64
	time     int64
	cseq     int
	noLeader bool
	proto    pb.Transport  // that phones use
	alive    time.Duration // what the last answer said of keeping the flow alive
}

type trust struct{ m *fsm.Machine }

func (a trust) Check(m *wire.Msg, _ *pb.Domain, _ bool) (*fsm.User, []wire.Field, string, bool) {
	if i := m.Find("X-User"); i >= 0 {
		aor := string(m.Bytes(m.Header(i).Value))
		return cmp.Or(a.m.Config().User(aor), &fsm.User{AoR: aor}), nil, "", true
	}
	return nil, []wire.Field{{ID: wire.HdrWWWAuthenticate, Value: []byte(`Digest realm="example.com"`)}}, "", false
}

func newWorld(t testing.TB) *world {
	w := &world{Machine: fsm.New(), t: t, time: 1_000_000}
	w.reg = New(w.Machine, trust{w.Machine})
	for _, c := range []*pb.Command{
		{Op: &pb.Command_PutNode{PutNode: &pb.PutNode{Node: &pb.Node{Uuid: "u1", Name: "n1", Listen: "10.77.0.11:7700"}}}},
		{Op: &pb.Command_PutGroup{PutGroup: &pb.PutGroup{Group: &pb.Group{Vips: []*pb.Vip{{Prefix: "10.77.0.101/24"}}}}}},
		{Op: &pb.Command_PutDomain{PutDomain: &pb.PutDomain{Domain: &pb.Domain{Name: "example.com", Aliases: []string{"10.77.0.101"}}}}},
		{Op: &pb.Command_PutDomain{PutDomain: &pb.PutDomain{Domain: &pb.Domain{Name: "example.org"}}}},
		{Op: &pb.Command_PutUser{PutUser: &pb.PutUser{User: &pb.User{Aor: "alice@example.com", Ha1Md5: make([]byte, 16)}}}},
	} {
		if r := w.apply(c); r.Code != pb.Code_OK {
			t.Fatal(r)
		}
	}
	return w
}

func (w *world) apply(c *pb.Command) *pb.Result {
	w.t.Helper()
	b, err := proto.Marshal(&pb.Entry{TimeMs: w.time, Batches: []*pb.Batch{{Commands: []*pb.Command{c}}}})
	if err != nil {
		w.t.Fatal(err)
	}
	w.index++
	return w.Apply(w.index, b)[0]
}

var errNoLeader = errors.New("no leader")

// send passes a REGISTER through and returns the response as it goes out. Lines of the request are given; what is missing is added.
func (w *world) send(lines ...string) *wire.Msg {
	w.t.Helper()
	w.cseq++
	return w.sendAs(w.cseq, "z9hG4bK"+strconv.Itoa(w.cseq), lines...)
}

func (w *world) sendAs(cseq int, branch string, lines ...string) *wire.Msg {
	w.t.Helper()
	text := "REGISTER sip:example.com SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.7:5060;branch=" + branch + "\r\nMax-Forwards: 70\r\n" +
		"From: <sip:alice@example.com>;tag=f\r\n"
	for _, def := range []string{"To: <sip:alice@example.com>", "Call-ID: phone1", "X-User: alice@example.com"} {
		name, _, _ := strings.Cut(def, ":")
		set := false
		for _, l := range lines {
			set = set || strings.HasPrefix(l, name+":")
		}
		if !set {
			text += def + "\r\n"
		}
	}
	for _, l := range lines {
		if !strings.HasSuffix(l, ": -") { // left out on purpose
			text += l + "\r\n"
		}
	}
	m := new(wire.Msg)
	if err := m.Scan(fmt.Appendf(nil, "%sCSeq: %d REGISTER\r\nContent-Length: 0\r\n\r\n", text, cseq)); err != nil {
		w.t.Fatalf("%v in\n%s", err, text)
	}
	in := &proxy.Inbound{
		Msg: m, Home: 1, Epoch: 1,
		Flow: transport.Flow{Group: 1, Proto: w.proto, Port: 5060, Remote: netip.MustParseAddrPort("198.51.100.7:40000")},
	}
	w.alive = 0
	d := w.Config().Domain("example.com")
	cmd, resp := w.reg.Register(in, d, []byte(branch))
	if cmd != nil {
		if w.noLeader {
			resp, _ = w.reg.Answer(in, nil, errNoLeader)
		} else {
			resp, w.alive = w.reg.Answer(in, w.apply(cmd), nil)
		}
	}
	if resp == nil {
		return nil
	}
	out, err := wire.AppendResponse(nil, m, resp)
	if err != nil {
		w.t.Fatal(err)
	}
	answer := new(wire.Msg)
	if err := answer.Scan(out); err != nil {
		w.t.Fatalf("%v in\n%s", err, out)
	}
	return answer
}

// show writes a response as status, and the header lines that a registrar sets.
func show(m *wire.Msg) string {
	if m == nil {
		return "silence"
	}
	out := strconv.Itoa(int(m.Status))
	if m.Status/100 == 4 || m.Status == 500 {
		out += " " + string(m.Bytes(m.Reason))
	}
	for i := range m.Len() {
		switch h := m.Header(i); h.ID {
		case wire.HdrContact, wire.HdrPath, wire.HdrMinExpires, wire.HdrUnsupported, wire.HdrWWWAuthenticate, wire.HdrRequire, wire.HdrFlowTimer:
			out += "\n" + h.ID.String() + ": " + string(m.Bytes(h.Value))
		}
	}
	return out
}

func TestTranscript(t *testing.T) {
	w := newWorld(t)
	for i, step := range []struct {
		say   string
		lines []string
		after int64 // seconds that pass before it
		want  string
	}{
		{"a query of nothing", nil, 0, "200"},
		{"no credentials", []string{"X-User: -", "Contact: <sip:a@192.0.2.7>"}, 0, "401 Unauthorized\nWWW-Authenticate: Digest realm=\"example.com\""},
		{"one contact, default expiry", []string{"Contact: <sip:a@192.0.2.7>"}, 0, "200\nContact: <sip:a@192.0.2.7>;expires=3600"},
		{"10 s later, asked", nil, 10, "200\nContact: <sip:a@192.0.2.7>;expires=3590"},
		{"two in one line, own expiry and the header's", []string{"Expires: 100", `Contact: <sip:a@192.0.2.7>;expires=200;q=0.5, "B, b" <sip:b@192.0.2.8;transport=udp>;+sip.instance="<urn:uuid:1>";reg-id=1`}, 0, "200\nContact: <sip:a@192.0.2.7>;q=0.5;expires=200\nContact: <sip:b@192.0.2.8;transport=udp>;+sip.instance=\"<urn:uuid:1>\";reg-id=1;expires=100"},
		{"longer than allowed", []string{"m: sip:a@192.0.2.7;expires=99999"}, 0, "200\nContact: <sip:a@192.0.2.7>;expires=7200\nContact: <sip:b@192.0.2.8;transport=udp>;+sip.instance=\"<urn:uuid:1>\";reg-id=1;expires=100"},
		{"too short", []string{"Contact: <sip:a@192.0.2.7>;expires=5"}, 0, "423 Interval Too Brief\nMin-Expires: 60"},
		{"remove one", []string{"Contact: <sip:a@192.0.2.7>;expires=0"}, 0, "200\nContact: <sip:b@192.0.2.8;transport=udp>;+sip.instance=\"<urn:uuid:1>\";reg-id=1;expires=100"},
		{"its instance has moved", []string{"Expires: 300", `Contact: <sip:b@203.0.113.1>;+sip.instance="<urn:uuid:1>";reg-id=1`}, 0, "200\nContact: <sip:b@203.0.113.1>;+sip.instance=\"<urn:uuid:1>\";reg-id=1;expires=300"},
		{"star with another", []string{"Expires: 0", "Contact: *, <sip:a@192.0.2.7>"}, 0, "400 Contact * Needs Expires 0 And No Other Contact"},
		{"star with expiry", []string{"Expires: 60", "Contact: *"}, 0, "400 Contact * Needs Expires 0 And No Other Contact"},
		{"star without expiry", []string{"Contact: *"}, 0, "400 Contact * Needs Expires 0 And No Other Contact"},
		{"star", []string{"Expires: 0", "Contact: *"}, 0, "200"},
		{"through an edge proxy", []string{"Supported: path", "Path: <sip:edge1;lr>, <sip:edge2;lr>", "Contact: <sip:a@192.0.2.7>"}, 0, "200\nContact: <sip:a@192.0.2.7>;expires=3600\nPath: <sip:edge1;lr>\nPath: <sip:edge2;lr>"},
		{"malformed expires is the default", []string{"Contact: <sip:a@192.0.2.7>;expires=soon"}, 0, "200\nContact: <sip:a@192.0.2.7>;expires=3600"},
		{"a folded parameter", []string{"Contact: <sip:a@192.0.2.7>\r\n ;x=\"1\r\n 2\""}, 0, "200\nContact: <sip:a@192.0.2.7>;x=\"1 2\";expires=3600"},
		{"another user's", []string{"X-User: bob@example.com", "Contact: <sip:a@192.0.2.7>"}, 0, "403 To Names Another User"},
		{"another domain's", []string{"To: <sip:alice@example.org>"}, 0, "404 To Names Another Domain"},
		{"by the domain's alias, user escaped", []string{"To: <sip:%61lice@10.77.0.101>"}, 0, "200\nContact: <sip:a@192.0.2.7>;x=\"1 2\";expires=3600"},
		{"a contact that is none", []string{"Contact: <sip:a@192.0.2.7"}, 0, "400 Bad Contact"},
		{"a contact that is no SIP URI", []string{"Contact: <mailto:a@example.com>"}, 0, "400 Contact Is Not A SIP URI"},
		{"a long contact", []string{"Contact: <sip:" + strings.Repeat("a", 600) + "@192.0.2.7>"}, 0, "400 Contact Is Too Long"},
		{"not UTF-8", []string{"Contact: <sip:a@192.0.2.7>;x=\"\xff\""}, 0, "400 Contact Parameters Is Not UTF-8"},
		{"nobody", []string{"To: <sip:example.com>"}, 0, "404 To Names No User"},
		{"a name that nobody has", []string{"To: <sip:alice%00@example.com>"}, 0, "404 To Names Nobody Here"},
		{"tel", []string{"To: <tel:+4930>"}, 0, "400 To Is Not A SIP URI"},
		{"an extension we lack", []string{"Require: path, gruu"}, 0, "420 Bad Extension\nUnsupported: gruu"},
	} {
		w.time += step.after * 1000
		w.apply(&pb.Command{Op: &pb.Command_Expire{Expire: &pb.Expire{}}}) // time passes
		if got := show(w.send(step.lines...)); got != step.want {
			t.Errorf("step %d, %s:\n got %s\nwant %s", i+1, step.say, got, step.want)
		}
	}
	b := w.Bindings("alice@example.com", nil)
	if len(b) != 1 || b[0].Flow.Remote.String() != "198.51.100.7:40000" || b[0].Flow.Group != 1 {
		t.Errorf("the flow is where the request came from: %+v", b)
	}
}

func TestRepeatedRegister(t *testing.T) {
	w := newWorld(t)
	first := show(w.sendAs(7, "z9hG4bKsame", "Contact: <sip:a@192.0.2.7>"))
	applied := w.Applied()
	again := show(w.sendAs(7, "z9hG4bKsame", "Contact: <sip:a@192.0.2.7>", "X-User: -"))
	if first != again || w.Applied() != applied {
		t.Errorf("a retransmission gets the same without a command and without credentials:\n%s\n%s", first, again)
	}
	if got := show(w.sendAs(7, "z9hG4bKother", "Contact: <sip:a@192.0.2.7>", "X-User: -")); !strings.HasPrefix(got, "401") {
		t.Errorf("another transaction isn't one: %s", got)
	}
	if got := show(w.sendAs(6, "z9hG4bKold", "Contact: <sip:a@192.0.2.7>;expires=0")); got != "500 CSeq Is Not Above The Last One's" {
		t.Errorf("out of order: %s", got)
	}
}

// TestRegisterByAlias: who registers under an alias of his has registered, beside his other phones; with his password alone.
func TestRegisterByAlias(t *testing.T) {
	w := newWorld(t)
	w.apply(&pb.Command{Op: &pb.Command_ChangeUser{ChangeUser: &pb.ChangeUser{Aor: "alice@example.com", AddAliases: []string{"+4930123456"}}}})
	w.apply(&pb.Command{Op: &pb.Command_PutUser{PutUser: &pb.PutUser{User: &pb.User{Aor: "bob@example.com", Ha1Md5: make([]byte, 16), Aliases: []string{"bobby"}}}}})
	to := "To: <sip:%2B4930123456@10.77.0.101>"
	for _, step := range []struct {
		say   string
		lines []string
		want  string
	}{
		{"no credentials", []string{to, "X-User: -", "Contact: <sip:a@192.0.2.7>"}, "401 Unauthorized\nWWW-Authenticate: Digest realm=\"example.com\""},
		{"by her name", []string{"Contact: <sip:a@192.0.2.7>"}, "200\nContact: <sip:a@192.0.2.7>;expires=3600"},
		{"by her alias", []string{to, "Call-ID: phone2", "Contact: <sip:b@192.0.2.8>"}, "200\nContact: <sip:a@192.0.2.7>;expires=3600\nContact: <sip:b@192.0.2.8>;expires=3600"},
		{"asked by her alias", []string{to}, "200\nContact: <sip:a@192.0.2.7>;expires=3600\nContact: <sip:b@192.0.2.8>;expires=3600"},
		{"removed by her name", []string{"Contact: <sip:b@192.0.2.8>;expires=0"}, "200\nContact: <sip:a@192.0.2.7>;expires=3600"},
		{"another's alias", []string{"To: <sip:bobby@example.com>", "Contact: <sip:b@192.0.2.8>"}, "403 To Names Another User"},
		{"hers, by another", []string{to, "X-User: bob@example.com", "Contact: <sip:b@192.0.2.8>"}, "403 To Names Another User"},
	} {
		if got := show(w.send(step.lines...)); got != step.want {
			t.Errorf("%s:\n got %s\nwant %s", step.say, got, step.want)
		}
	}
	first := show(w.sendAs(50, "z9hG4bKsame", to, "Contact: <sip:a@192.0.2.7>"))
	applied := w.Applied()
	if again := show(w.sendAs(50, "z9hG4bKsame", to, "Contact: <sip:a@192.0.2.7>")); first != again || w.Applied() != applied {
		t.Errorf("a retransmission gets the same without a command:\n%s\n%s", first, again)
	}
	if len(w.Bindings("alice@example.com", nil)) != 1 || len(w.Bindings("+4930123456@example.com", nil)) != 0 {
		t.Error("what she registers by her alias is not hers")
	}
	w.apply(&pb.Command{Op: &pb.Command_ChangeUser{ChangeUser: &pb.ChangeUser{Aor: "alice@example.com", RemoveAliases: []string{"+4930123456"}}}})
	if got := show(w.send(to, "Contact: <sip:a@192.0.2.7>")); got != "403 To Names Another User" {
		t.Errorf("by what was her alias: %s", got)
	}
}

func TestLimitsAndOutage(t *testing.T) {
	w := newWorld(t)
	set := func(name, value string) {
		w.apply(&pb.Command{Op: &pb.Command_PutSetting{PutSetting: &pb.PutSetting{Name: name, Value: value}}})
	}
	set("register.max-bindings", "2")
	set("register.min-expires", "120")
	set("register.max-expires", "600")
	if got := show(w.send("Contact: <sip:a@h>, <sip:b@h>")); got != "200\nContact: <sip:a@h>;expires=600\nContact: <sip:b@h>;expires=600" {
		t.Error(got)
	}
	if got := show(w.send("Contact: <sip:c@h>")); got != "403 Too Many Contacts" {
		t.Error(got)
	}
	if got := show(w.send("Contact: <sip:a@h>;expires=119")); got != "423 Interval Too Brief\nMin-Expires: 120" {
		t.Error(got)
	}
	w.noLeader = true
	seen := map[string]bool{}
	for range 50 {
		m := w.send("Contact: <sip:a@h>")
		if m.Status != 503 || !regexp.MustCompile(`^([5-9]|[12][0-9]|3[0-4])$`).Match(m.Value(wire.HdrRetryAfter)) {
			t.Fatalf("%d, Retry-After %q", m.Status, m.Value(wire.HdrRetryAfter))
		}
		seen[string(m.Value(wire.HdrRetryAfter))] = true
	}
	if len(seen) < 5 {
		t.Errorf("phones all come back at once: %v", seen)
	}
	if got := show(w.send()); got != "200\nContact: <sip:a@h>;expires=600\nContact: <sip:b@h>;expires=600" {
		t.Errorf("a query needs no leader: %s", got)
	}
	w.noLeader = false
	w.apply(&pb.Command{Op: &pb.Command_Takeover{Takeover: &pb.Takeover{Group: 1, Epoch: 2, Node: "u1"}}})
	if got := show(w.send("Contact: <sip:a@h>")); got != "silence" {
		t.Errorf("another node has taken over and answers: %s", got)
	}
}

func FuzzRegister(f *testing.F) {
	w := newWorld(f)
	f.Add("<sip:a@192.0.2.7>;expires=60", "<sip:edge;lr>", "phone")
	f.Add("*", "", "\xff")
	f.Add(`"a" <sip:a;b@[::1]:5;c>;+sip.instance="<x>";reg-id=1;q=0.1`, ",", "")
	d := w.Config().Domain("example.com")
	f.Fuzz(func(t *testing.T, contact, path, agent string) {
		text := "REGISTER sip:example.com SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK1\r\nFrom: <sip:a@b>;tag=1\r\nTo: <sip:alice@example.com>\r\nCall-ID: c\r\nCSeq: 1 REGISTER\r\n" +
			"X-User: alice@example.com\r\nContact: " + contact + "\r\nPath: " + path + "\r\nUser-Agent: " + agent + "\r\n\r\n"
		var m wire.Msg
		if m.Scan([]byte(text)) != nil {
			return
		}
		cmd, resp := w.reg.Register(&proxy.Inbound{Msg: &m, Home: 1, Epoch: 1}, d, []byte("k"))
		if cmd == nil {
			if _, err := wire.AppendResponse(nil, &m, resp); err != nil {
				t.Fatalf("%d %s can't be sent: %v", resp.Status, resp.Reason, err)
			}
			return
		}
		if _, err := proto.Marshal(cmd); err != nil {
			t.Fatalf("the command can't be stored: %v", err)
		}
		fresh := newWorld(t)
		res := fresh.apply(cmd)
		if res.Code == pb.Code_REJECTED {
			t.Fatalf("rejected: %s", res.Error)
		}
		if resp, _ := fresh.reg.Answer(&proxy.Inbound{Msg: &m, Home: 1, Epoch: 1}, res, nil); resp != nil {
			if _, err := wire.AppendResponse(nil, &m, resp); err != nil {
				t.Fatalf("%d can't be sent: %v", resp.Status, err)
			}
		}
	})
}

// TestListensElsewhere: a device that sends from another port than it listens on is bound where it listens; any other where it sends from.
func TestListensElsewhere(t *testing.T) {
	for _, c := range []struct{ via, contact, path, want string }{
		{"198.51.100.7:5060", "<sip:a@198.51.100.7:5062>", "", "198.51.100.7:5062"},
		{"198.51.100.7:5060;rport", "<sip:a@198.51.100.7:5062>", "", "198.51.100.7:40000"},
		{"192.0.2.7:5060", "<sip:a@192.0.2.7:5060>", "", "198.51.100.7:40000"},
		{"198.51.100.7:5060", "<sip:a@198.51.100.7:5062>", "Supported: path\r\nPath: <sip:198.51.100.9;lr>\r\n", "198.51.100.7:40000"},
	} {
		w := newWorld(t)
		m := new(wire.Msg)
		if err := m.Scan([]byte("REGISTER sip:example.com SIP/2.0\r\nVia: SIP/2.0/UDP " + c.via + ";branch=z9hG4bK1\r\nMax-Forwards: 70\r\nFrom: <sip:alice@example.com>;tag=f\r\n" +
			"To: <sip:alice@example.com>\r\nCall-ID: c\r\nCSeq: 1 REGISTER\r\nX-User: alice@example.com\r\nContact: " + c.contact + "\r\n" + c.path + "Content-Length: 0\r\n\r\n")); err != nil {
			t.Fatal(err)
		}
		in := &proxy.Inbound{Msg: m, Home: 1, Epoch: 1, Flow: transport.Flow{Group: 1, Port: 5060, Remote: netip.MustParseAddrPort("198.51.100.7:40000")}}
		cmd, resp := w.reg.Register(in, w.Config().Domain("example.com"), []byte("t"))
		if cmd == nil {
			t.Fatal(resp)
		}
		w.apply(cmd)
		if b := w.Bindings("alice@example.com", nil); len(b) != 1 || b[0].Flow.Remote.String() != c.want {
			t.Errorf("%+v: bound at %+v", c, b)
		}
	}
}
