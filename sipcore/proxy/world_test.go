package proxy

import (
	"bytes"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"holdline/fsm"
	"holdline/fsm/pb"
	"holdline/sipcore/resolve"
	"holdline/sipcore/transport"
	"holdline/sipcore/txn"
	"holdline/sipcore/wire"
)

// cluster is the replicated state that the worlds of a test share: a real machine, whose entries are applied when the
// test lets them.
type cluster struct {
	t     testing.TB
	m     *fsm.Machine
	index uint64
	ms    int64
}

func newCluster(t testing.TB) *cluster {
	c := &cluster{t: t, m: fsm.New()}
	ok := func(cmd *pb.Command) *pb.Result {
		t.Helper()
		r := c.apply(cmd)
		if r.Code != pb.Code_OK {
			t.Fatalf("%v: %v %s", cmd, r.Code, r.Error)
		}
		return r
	}
	node := &pb.Node{Uuid: "11111111-1111-1111-1111-111111111111", Name: "n1", Listen: "10.0.0.11:7700", PublicKey: make([]byte, 32), Voter: true}
	ok(&pb.Command{Op: &pb.Command_PutNode{PutNode: &pb.PutNode{Node: node}}})
	for i, vip := range []string{"10.0.0.101/24", "10.0.0.102/24"} {
		g := &pb.Group{Name: fmt.Sprintf("g%d", i+1), Vips: []*pb.Vip{{Prefix: vip}}, HomeNode: node.Uuid}
		ok(&pb.Command{Op: &pb.Command_PutGroup{PutGroup: &pb.PutGroup{Group: g}}})
	}
	for _, p := range []string{"branch", "record-route", "nonce"} {
		ok(&pb.Command{Op: &pb.Command_PutKey{PutKey: &pb.PutKey{Purpose: p, Id: 1, Secret: []byte("0123456789abcdef0123456789abcdef" + p)}}})
	}
	ok(&pb.Command{Op: &pb.Command_PutDomain{PutDomain: &pb.PutDomain{Domain: &pb.Domain{Name: "example.com", Aliases: []string{"10.0.0.101"}}}}})
	for _, u := range []string{"alice", "bob", "carol"} {
		ok(&pb.Command{Op: &pb.Command_PutUser{PutUser: &pb.PutUser{User: &pb.User{Aor: u + "@example.com", Ha1Md5: make([]byte, 16)}}}})
	}
	ok(&pb.Command{Op: &pb.Command_PutPool{PutPool: &pb.PutPool{Pool: &pb.Pool{Name: "gw", Algorithm: "round-robin"}}}})
	for i := range 2 {
		m := &pb.Member{Pool: "gw", Name: fmt.Sprintf("gw%d", i+1), Address: fmt.Sprintf("10.0.0.2%d:5080", i+1)}
		ok(&pb.Command{Op: &pb.Command_PutMember{PutMember: &pb.PutMember{Member: m}}})
	}
	ok(&pb.Command{Op: &pb.Command_PutRoute{PutRoute: &pb.PutRoute{Route: &pb.Route{Domain: "example.com", Prefix: "0", Pool: "gw", Strip: 1}}}})
	return c
}

func (c *cluster) apply(cmds ...*pb.Command) *pb.Result {
	c.index++
	c.ms++
	b, err := proto.Marshal(&pb.Entry{TimeMs: c.ms, Batches: []*pb.Batch{{Commands: cmds}}})
	if err != nil {
		c.t.Fatal(err)
	}
	return c.m.Apply(c.index, b)[0]
}

// register binds a contact to an AoR, reached through a group from remote.
func (c *cluster) register(aor, contact, remote string, group uint32, q uint32) {
	c.t.Helper()
	r := c.apply(&pb.Command{Op: &pb.Command_Register{Register: &pb.Register{
		Aor: aor, CallId: "reg-" + contact, Cseq: 1, Txn: []byte(contact), Group: group,
		Changes: []*pb.BindingChange{{ExpiresS: 3600, Binding: &pb.Binding{
			Contact: contact, Q: q, Flow: transport.Flow{Group: group, Port: 5060, Remote: netip.MustParseAddrPort(remote)}.PB(),
		}}},
	}}})
	if r.Code != pb.Code_OK {
		c.t.Fatalf("register %s: %v %s", aor, r.Code, r.Error)
	}
}

// sent is one message that the proxy sent.
type sent struct {
	to   transport.Flow
	data string
}

type looked struct {
	q resolve.Query
	r Lookup
}

// target is an address as the resolver gives it.
func target(addr string) resolve.Target { return resolve.Target{Addr: netip.MustParseAddrPort(addr)} }

// resolved answers the lookup that was asked for last.
func (w *world) resolved(targets ...resolve.Target) {
	w.t.Helper()
	if len(w.lookups) == 0 {
		w.t.Fatal("nothing is looked up")
	}
	w.s.Resolved(w.v, w.now, w.lookups[len(w.lookups)-1].r, targets)
	if !w.hold {
		w.commit()
	}
}

type submitted struct {
	cmd *pb.Command
	c   Commit
}

// world is one node's shard with fake surroundings.
type world struct {
	t        testing.TB
	cl       *cluster
	s        *Shard
	v        *View
	now      int64
	sent     []sent
	pending  []submitted
	log      []string // kinds of commands submitted
	hold     bool     // commits wait for w.commit
	urgent   int      // times that what was sent was not to be overtaken
	noLeader bool
	untaken  bool        // its groups are not taken up, and nobody waits for that any more
	late     []submitted // not nil: what has failed is on its way all the same, and is committed by the next leader
	slept    int64
	epochs   map[uint32]uint64
	acquired int64
	movedAt  int64
	awaited  map[string]int
	full     bool // nothing more may wait
	settling bool
	stats    Stats
	known    map[string][]resolve.Target
	lookups  []looked
}

// trustAll takes every user for who the From says.
type trustAll struct{}

func (trustAll) Check(m *wire.Msg, d *pb.Domain, proxy bool) (*fsm.User, []wire.Field, string, bool) {
	u, _ := wire.ParseURI(m.Bytes(m.From.URI))
	if string(u.User) == "mallory" {
		return nil, []wire.Field{{ID: wire.HdrProxyAuthenticate, Value: []byte(`Digest realm="example.com", nonce="n"`)}}, "", false
	}
	return &fsm.User{AoR: string(u.User) + "@" + d.Name}, nil, "", true
}

func (trustAll) Ours(credentials []byte) bool {
	return bytes.Contains(credentials, []byte(`nonce="ours"`))
}

// digests takes the one response that is right for alice.
type digests struct{ trustAll }

func (digests) Check(m *wire.Msg, d *pb.Domain, _ bool) (*fsm.User, []wire.Field, string, bool) {
	if bytes.Contains(m.Value(wire.HdrProxyAuthorization), []byte(`realm="example.com", nonce="ours", uri="sip:bob@example.com", response="1"`)) {
		return &fsm.User{AoR: "alice@" + d.Name}, nil, "", true
	}
	wrong := ""
	for i := m.First(wire.HdrProxyAuthorization); i >= 0; i = m.Next(i) {
		if bytes.Contains(m.Bytes(m.Header(i).Value), []byte(`realm="example.com"`)) {
			wrong = "wrong password"
		}
	}
	return nil, []wire.Field{{ID: wire.HdrProxyAuthenticate, Value: []byte(`Digest realm="example.com", nonce="ours"`)}}, wrong, false
}

var testGroups = []Group{
	{1, []VIP{{Addr: netip.MustParseAddr("10.0.0.101")}}},
	{2, []VIP{{Addr: netip.MustParseAddr("10.0.0.102")}}},
}

func newWorld(t testing.TB, cl *cluster) *world {
	w := &world{t: t, cl: cl, now: int64(time.Hour), epochs: map[uint32]uint64{1: 1, 2: 1}, known: map[string][]resolve.Target{}, awaited: map[string]int{}}
	w.s = NewShard(Options{State: cl.m, Auth: trustAll{}, Pool: &txn.Pool{}, Stats: &w.stats, Health: &Health{}, MaxCells: 1000, MaxLegs: 8}, w)
	v, ok := NewView(cl.m.Config(), testGroups, nil)
	if !ok {
		t.Fatal("no keys")
	}
	w.v = v
	return w
}

func (w *world) Send(to transport.Flow, data []byte) { w.sent = append(w.sent, sent{to, string(data)}) }

func (w *world) Urgent() { w.urgent++ }

func (w *world) Known(q resolve.Query) ([]resolve.Target, bool) {
	t, ok := w.known[q.Host]
	return t, ok
}

func (w *world) Lookup(q resolve.Query, r Lookup) { w.lookups = append(w.lookups, looked{q, r}) }

func (w *world) Lease(group uint32) (epoch uint64, ok bool) { e, ok := w.epochs[group]; return e, ok }
func (w *world) KeptAlive(transport.Flow, time.Duration)    {}
func (w *world) TakenUp(uint32) bool                        { return !w.settling && !w.untaken }
func (w *world) Settled(uint32) bool                        { return !w.settling }
func (w *world) AcquiredAt(uint32) int64                    { return w.acquired }
func (w *world) MovedAt(uint32) int64                       { return w.movedAt }
func (w *world) Awaited(aor string)                         { w.awaited[aor]-- }
func (w *world) Slept() int64                               { return w.slept }

func (w *world) Await(aor string) bool {
	if w.full {
		return false
	}
	w.awaited[aor]++
	return true
}

func (w *world) Submit(cmd *pb.Command, c Commit) {
	kind := fmt.Sprintf("%T", cmd.Op)
	w.log = append(w.log, strings.TrimPrefix(kind, "*pb.Command_"))
	w.pending = append(w.pending, submitted{cmd, c})
}

// commit applies what waits, in order, until nothing new is submitted.
func (w *world) commit() {
	w.t.Helper()
	for len(w.pending) > 0 {
		p := w.pending[0]
		w.pending = w.pending[1:]
		if w.noLeader {
			err := errNoLeader
			if w.late != nil {
				w.late = append(w.late, p)
				err = ErrUndecided
			}
			w.s.Committed(w.v, w.now, p.c, nil, err)
			continue
		}
		w.s.Committed(w.v, w.now, p.c, w.cl.apply(p.cmd), nil)
	}
}

// commitLate applies what was on its way all the while.
func (w *world) commitLate() {
	w.t.Helper()
	late := w.late
	w.late, w.noLeader = nil, false
	for _, p := range late {
		if r := w.cl.apply(p.cmd); p.c.MakesRecord() {
			w.s.Decided(w.v, w.now, p.c, r, nil)
		}
	}
}

var errNoLeader = fmt.Errorf("no leader")

// in hands the proxy a message that came from remote on group's VIP.
func (w *world) in(group uint32, remote, text string) {
	w.t.Helper()
	w.receive(group, remote, text)
	if !w.hold {
		w.commit()
	}
}

func (w *world) receive(group uint32, remote, text string) {
	w.t.Helper()
	w.receiveFrom(transport.Flow{Group: group, Port: 5060, Remote: netip.MustParseAddrPort(remote)}, text)
}

func (w *world) receiveFrom(from transport.Flow, text string) {
	w.t.Helper()
	var m wire.Msg
	if err := m.Scan([]byte(text)); err != nil {
		w.t.Fatalf("scan: %v\n%s", err, text)
	}
	in := Inbound{Msg: &m, Flow: from}
	if !w.v.Classify(&in) {
		w.t.Fatalf("not ours:\n%s", text)
	}
	in.Epoch = w.epochs[in.Home]
	w.s.Receive(w.v, w.now, &in)
}

// take returns what was sent since the last take.
func (w *world) take() []sent {
	s := w.sent
	w.sent = nil
	return s
}

// takeBut100 is take without the 100 to a request that waits for long.
func (w *world) takeBut100() []sent {
	return slices.DeleteFunc(w.take(), func(s sent) bool { return strings.HasPrefix(s.data, "SIP/2.0 100 ") })
}

// want checks the start lines and receivers of all that was sent since the last take and returns the messages.
func (w *world) want(lines ...string) []string {
	w.t.Helper()
	got := w.take()
	var have, data []string
	for _, s := range got {
		start, _, _ := strings.Cut(s.data, "\r\n")
		start = strings.TrimPrefix(strings.TrimSuffix(start, " SIP/2.0"), "SIP/2.0 ")
		have = append(have, s.to.Remote.String()+" "+start)
		data = append(data, s.data)
	}
	if strings.Join(have, "\n") != strings.Join(lines, "\n") {
		w.t.Fatalf("sent:\n  %s\nwant:\n  %s", strings.Join(have, "\n  "), strings.Join(lines, "\n  "))
	}
	return data
}

// pass lets time go by, firing timers.
func (w *world) pass(d time.Duration) {
	end := w.now + int64(d)
	for w.now < end {
		w.now = min(w.now+int64(10*time.Millisecond), end)
		w.s.Advance(w.v, w.now)
		if !w.hold {
			w.commit()
		}
	}
}

// phone is one end of a test's signalling.
type phone struct {
	name, addr string
}

var (
	alice = phone{"alice", "10.0.0.31:5060"}
	bob   = phone{"bob", "10.0.0.32:5060"}
)

// request writes a request of p's.
func (p phone) request(method, uri, callID string, cseq int, branch, toTag string, headers ...string) string {
	to := "<" + uri + ">"
	if toTag != "" {
		to = toTag
	}
	h := fmt.Sprintf("%s %s SIP/2.0\r\nVia: SIP/2.0/UDP %s;branch=z9hG4bK%s;rport\r\nMax-Forwards: 70\r\nFrom: <sip:%s@example.com>;tag=%s-tag\r\n"+
		"To: %s\r\nCall-ID: %s\r\nCSeq: %d %s\r\n", method, uri, p.addr, branch, p.name, p.name, to, callID, cseq, method)
	if method == "INVITE" {
		h += "Contact: <sip:" + p.name + "@" + p.addr + ">\r\n"
	}
	for _, x := range headers {
		h += x + "\r\n"
	}
	return h + "Content-Length: 0\r\n\r\n"
}

// answer writes p's response to a request that it got.
func (p phone) answer(req string, status int, headers ...string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "SIP/2.0 %d X\r\n", status)
	for _, line := range strings.Split(req, "\r\n") {
		name, _, _ := strings.Cut(line, ":")
		switch name {
		case "Via", "From", "Call-ID", "CSeq", "Record-Route":
			b.WriteString(line + "\r\n")
		case "To":
			if status > 100 && !strings.Contains(line, "tag=") {
				line += ";tag=" + p.name + "-tag"
			}
			b.WriteString(line + "\r\n")
		}
	}
	if status >= 200 && status < 300 && strings.HasPrefix(req, "INVITE") {
		b.WriteString("Contact: <sip:" + p.name + "@" + p.addr + ">\r\n")
	}
	for _, x := range headers {
		b.WriteString(x + "\r\n")
	}
	b.WriteString("Content-Length: 0\r\n\r\n")
	return b.String()
}

// header returns the values of a header's lines.
func header(msg, name string) []string {
	var v []string
	head, _, _ := strings.Cut(msg, "\r\n\r\n")
	for _, line := range strings.Split(head, "\r\n") {
		if n, x, ok := strings.Cut(line, ":"); ok && strings.EqualFold(n, name) {
			v = append(v, strings.TrimSpace(x))
		}
	}
	return v
}

// routeSet turns Record-Route into Route header lines as the caller (reversed) or callee uses them.
func routeSet(msg string, caller bool) []string {
	var out []string
	for _, v := range header(msg, "Record-Route") {
		if caller {
			out = append([]string{"Route: " + v}, out...)
		} else {
			out = append(out, "Route: "+v)
		}
	}
	return out
}
