package proxy

import (
	"fmt"
	"net/netip"
	"strings"
	"syscall"
	"testing"
	"time"

	"holdline/fsm"
	"holdline/fsm/pb"
	"holdline/sipcore/resolve"
	"holdline/sipcore/transport"
	"holdline/sipcore/txn"
	"holdline/sipcore/wire"
)

// benchEnv is a world that costs next to nothing: it counts what is sent and gives every command its result later.
type benchEnv struct {
	sent    int
	last    []byte
	pending []Commit
	number  uint64
	legs    []*pb.Leg
}

func (e *benchEnv) Send(_ transport.Flow, data []byte) {
	e.sent++
	e.last = append(e.last[:0], data...)
}

func (e *benchEnv) Submit(_ *pb.Command, c Commit)               { e.pending = append(e.pending, c) }
func (e *benchEnv) Lookup(resolve.Query, Lookup)                 {}
func (e *benchEnv) Known(resolve.Query) ([]resolve.Target, bool) { return nil, false }
func (e *benchEnv) Lease(uint32) (epoch uint64, ok bool)         { return 1, true }
func (*benchEnv) Urgent()                                        {}
func (*benchEnv) KeptAlive(transport.Flow, time.Duration)        {}
func (e *benchEnv) TakenUp(uint32) bool                          { return true }
func (e *benchEnv) Settled(uint32) bool                          { return true }
func (e *benchEnv) AcquiredAt(uint32) int64                      { return 0 }
func (e *benchEnv) MovedAt(uint32) int64                         { return 0 }
func (e *benchEnv) Await(string) bool                            { return true }
func (e *benchEnv) Awaited(string)                               {}
func (e *benchEnv) Slept() int64                                 { return 0 }

const benchSDP = "v=0\r\no=u 1 1 IN IP4 10.0.0.31\r\ns=-\r\nc=IN IP4 10.0.0.31\r\nt=0 0\r\nm=audio 6000 RTP/AVP 0\r\na=rtpmap:0 PCMU/8000\r\n"

// benchCall is one call's seven received messages, made from a template per run so that every call is another one.
type benchCall struct {
	env    *benchEnv
	s      *Shard
	v      *View
	now    int64
	m      wire.Msg
	in     Inbound
	result pb.Result
	buf    []byte
	n      int
}

func newBenchCall(b testing.TB) *benchCall {
	cl := newCluster(b)
	e := &benchEnv{}
	target := &pb.Target{
		Uri: "sip:123@10.0.0.21:5080", Pool: "gw", Member: "gw1",
		Flow: (transport.Flow{Group: 1, Port: 5060, Remote: netip.MustParseAddrPort("10.0.0.21:5080")}).PB(),
	}
	e.legs = []*pb.Leg{{Target: target}}
	c := &benchCall{env: e, now: int64(time.Hour)}
	c.s = NewShard(Options{
		State: benchState{cl.m}, Auth: trustAll{}, Pool: &txn.Pool{}, Stats: &Stats{}, Health: &Health{}, MaxCells: 1 << 20, MaxLegs: 8,
	}, e)
	c.v, _ = NewView(cl.m.Config(), []Group{{1, []VIP{{Addr: netip.MustParseAddr("10.0.0.101")}}}}, nil)
	return c
}

// benchState spares the benchmark the locks of the machine.
type benchState struct{ *fsm.Machine }

func (c *benchCall) in1(remote string, text []byte) {
	if err := c.m.Scan(text); err != nil {
		panic(fmt.Sprintf("%v\n%s", err, text))
	}
	c.in.Msg, c.in.Flow = &c.m, transport.Flow{Group: 1, Port: 5060, Remote: peers[remote]}
	if !c.v.Classify(&c.in) {
		panic("not ours")
	}
	c.in.Epoch = 1
	c.s.Receive(c.v, c.now, &c.in)
	for len(c.env.pending) > 0 {
		p := c.env.pending[0]
		c.env.pending = c.env.pending[:copy(c.env.pending, c.env.pending[1:])]
		c.result = pb.Result{Id: c.env.number}
		if p.Kind == commitCreate {
			c.env.number++
			c.result = pb.Result{Id: c.env.number, Legs: c.env.legs}
		}
		c.s.Committed(c.v, c.now, p, &c.result, nil)
	}
}

var peers = map[string]netip.AddrPort{"a": netip.MustParseAddrPort("10.0.0.31:5060"), "b": netip.MustParseAddrPort("10.0.0.21:5080")}

func (c *benchCall) request(method, uri, branch, toTag, routes string, cseq int) []byte {
	c.buf = fmt.Appendf(c.buf[:0], "%s %s SIP/2.0\r\nVia: SIP/2.0/UDP 10.0.0.31:5060;branch=z9hG4bK%s%d;rport\r\nMax-Forwards: 70\r\n"+
		"From: <sip:alice@example.com>;tag=a%d\r\nTo: <sip:0123@example.com>%s\r\nCall-ID: %d@10.0.0.31\r\nCSeq: %d %s\r\n"+
		"Contact: <sip:alice@10.0.0.31:5060>\r\n%sContent-Length: ", method, uri, branch, c.n, c.n, toTag, c.n, cseq, method, routes)
	if method == "INVITE" {
		c.buf = fmt.Appendf(c.buf, "%d\r\nContent-Type: application/sdp\r\n\r\n%s", len(benchSDP), benchSDP)
	} else {
		c.buf = append(c.buf, "0\r\n\r\n"...)
	}
	return c.buf
}

// script makes all messages that call n receives; branches and tokens of ours are taken from what the core sends.
func (c *benchCall) script(n int) [][]byte {
	c.n = n
	var out [][]byte
	keep := func(b []byte) []byte {
		out = append(out, append([]byte(nil), b...))
		return out[len(out)-1]
	}
	c.in1("a", keep(c.request("INVITE", "sip:0123@example.com", "i", "", "", 1)))
	inv := string(c.env.last)
	gw := phone{fmt.Sprintf("gw%d", n), "10.0.0.21:5080"}
	c.in1("b", keep([]byte(gw.answer(inv, 100))))
	c.in1("b", keep([]byte(gw.answer(inv, 180))))
	ok := gw.answer(inv, 200, "Content-Type: application/sdp")
	ok = strings.Replace(ok, "Content-Length: 0\r\n\r\n", fmt.Sprintf("Content-Length: %d\r\n\r\n%s", len(benchSDP), benchSDP), 1)
	c.in1("b", keep([]byte(ok)))
	tag := ";tag=" + gw.name + "-tag"
	routes := routesOf(ok)
	c.in1("a", keep(c.request("ACK", "sip:"+gw.name+"@10.0.0.21:5080", "k", tag, routes, 1)))
	c.in1("a", keep(c.request("BYE", "sip:"+gw.name+"@10.0.0.21:5080", "b", tag, routes, 2)))
	c.in1("b", keep([]byte(gw.answer(string(c.env.last), 200))))
	return out
}

// routesOf are the Route headers of the caller's requests in the dialog that this 200 made.
func routesOf(ok string) string { return strings.Join(routeSet(ok, true), "\r\n") + "\r\n" }

// BenchmarkCall is a whole proxied call, INVITE-100-180-200-ACK-BYE-200, scanned, routed and relayed, with the three
// commands of its record made but not applied. Cells live their 64*T1, as in life.
func BenchmarkCall(b *testing.B) {
	c := newBenchCall(b)
	const distinct = 2000
	calls := make([][][]byte, distinct)
	for i := range calls {
		calls[i] = c.script(i)
	}
	c.env.number = 0
	from := []string{"a", "b", "b", "b", "a", "a", "b"}
	c.now += int64(time.Minute)
	c.s.Advance(c.v, c.now)
	if n := c.s.Len(); n != 0 {
		b.Fatalf("%d transactions left", n)
	}
	c.env.sent = 0
	b.ReportAllocs()
	i := 0
	cpu := cpuTime(b)
	for b.Loop() {
		if i%distinct == 0 { // the same calls again, after the first ones' transactions have ended
			c.now += 2 * txn.TimerB
			c.s.Advance(c.v, c.now)
			c.env.number = 0
		}
		for j, msg := range calls[i%distinct] {
			c.in1(from[j], msg)
		}
		i++
	}
	b.ReportMetric(float64(cpuTime(b)-cpu)/float64(i), "cpu-ns/op")
	if want := i * 7; c.env.sent != want {
		b.Errorf("%d messages sent, want %d", c.env.sent, want)
	}
}

// cpuTime is what this process has used: on a busy machine it says more than the clock.
func cpuTime(b *testing.B) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
