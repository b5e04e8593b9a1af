package resolve

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/miekg/dns"

	"holdline/fsm/pb"
)

// server is a name server on loopback.
type server struct {
	mu    sync.Mutex
	zone  map[string][]dns.RR
	asked map[string]int
	fail  map[string]bool // SERVFAIL to these
	hold  map[string]bool // no answer to these
	mute  bool            // nor to any
	cut   bool            // UDP answers are truncated
}

func (s *server) ServeDNS(w dns.ResponseWriter, q *dns.Msg) {
	s.mu.Lock()
	defer s.mu.Unlock()
	k := q.Question[0]
	key := k.Name + " " + dns.TypeToString[k.Qtype]
	s.asked[key]++
	if s.mute || s.hold[key] {
		return
	}
	m := new(dns.Msg)
	m.SetReply(q)
	if s.fail[key] {
		m.Rcode = dns.RcodeServerFailure
	} else if s.cut && w.RemoteAddr().Network() == "udp" {
		m.Truncated = true
	} else if m.Answer = s.zone[key]; len(m.Answer) == 0 {
		m.Rcode = dns.RcodeNameError
		m.Ns = []dns.RR{&dns.SOA{Hdr: dns.RR_Header{Name: "test.", Rrtype: dns.TypeSOA, Class: dns.ClassINET, Ttl: 60}, Ns: ".", Mbox: ".", Minttl: 20}}
	}
	w.WriteMsg(m)
}

// change changes the server's ways while it may be answering.
func (s *server) change(fn func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	fn()
}

func (s *server) count(key string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.asked[key]
}

// world is a resolver with its server and clock.
type world struct {
	*server
	t   *testing.T
	r   *Resolver
	now time.Time
}

func newWorld(t *testing.T, zone string) *world {
	w := &world{t: t, now: time.Unix(1e9, 0), server: &server{zone: map[string][]dns.RR{}, asked: map[string]int{}}}
	for line := range strings.Lines(zone) {
		if line = strings.TrimSpace(line); line == "" {
			continue
		}
		rr, err := dns.NewRR(line)
		if err != nil {
			t.Fatal(err)
		}
		k := rr.Header().Name + " " + dns.TypeToString[rr.Header().Rrtype]
		if cname, ok := rr.(*dns.CNAME); ok {
			k = cname.Hdr.Name + " A"
		}
		w.zone[k] = append(w.zone[k], rr)
	}
	pc, l, port := listenBoth(t)
	for _, s := range []*dns.Server{{PacketConn: pc, Handler: w}, {Listener: l, Handler: w}} {
		ready := make(chan struct{})
		s.NotifyStartedFunc = func() { close(ready) }
		go s.ActivateAndServe()
		<-ready
		t.Cleanup(func() { s.Shutdown() })
	}
	dir := t.TempDir()
	conf, hosts := filepath.Join(dir, "resolv.conf"), filepath.Join(dir, "hosts")
	os.WriteFile(conf, []byte("nameserver 127.0.0.1\n"), 0o600)
	os.WriteFile(hosts, []byte("10.5.5.5 local.test # a comment\n"), 0o600)
	w.r = New(Options{ResolvConf: conf, Hosts: hosts, Port: port, Now: func() time.Time { return w.now }})
	return w
}

// listenBoth takes a port that is free for UDP and for TCP.
func listenBoth(t *testing.T) (pc net.PacketConn, l net.Listener, port string) {
	t.Helper()
	for range 100 {
		pc, err := net.ListenPacket("udp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		_, port, _ := net.SplitHostPort(pc.LocalAddr().String())
		if l, err := net.Listen("tcp", "127.0.0.1:"+port); err == nil {
			return pc, l, port
		}
		_ = pc.Close() // another process's connection has it
	}
	t.Fatal("no port is free for both")
	return nil, nil, ""
}

// find resolves q and writes its targets as text.
func (w *world) find(q Query) string {
	w.t.Helper()
	type result struct {
		t   []Target
		err error
	}
	done := make(chan result, 1)
	w.r.Resolve(w.t.Context(), q, func(t []Target, err error) { done <- result{t, err} })
	r := <-done
	if errors.Is(r.err, ErrNone) {
		return "none"
	}
	if r.err != nil {
		return "error"
	}
	var out []string
	for _, t := range r.t {
		out = append(out, fmt.Sprintf("%v/%v", t.Proto, t.Addr))
	}
	return strings.Join(out, " ")
}

const zone = `
full.test. 60 IN NAPTR 20 10 "s" "SIP+D2U" "" _sip._udp.full.test.
full.test. 60 IN NAPTR 10 10 "s" "SIPS+D2T" "" _sips._tcp.full.test.
full.test. 60 IN NAPTR 5 10 "s" "SIP+D2S" "" _sip._sctp.full.test.
_sip._udp.full.test. 60 IN SRV 10 0 5070 a.test.
_sip._udp.full.test. 60 IN SRV 20 0 5080 b.test.
_sips._tcp.full.test. 60 IN SRV 10 0 5443 b.test.
a.test. 60 IN A 10.1.0.1
b.test. 60 IN A 10.1.0.3
b.test. 60 IN A 10.1.0.2
six.test. 60 IN AAAA 2001:db8::1
srv.test. 60 IN A 10.9.9.9
_sip._tcp.srv.test. 60 IN SRV 1 1 5062 a.test.
gone.test. 60 IN A 10.9.9.9
_sip._udp.gone.test. 60 IN SRV 0 0 0 .
alias.test. 60 IN CNAME a.test.
`

func TestRFC3263(t *testing.T) {
	w := newWorld(t, zone)
	w.change(func() { w.zone["alias.test. A"] = append(w.zone["alias.test. A"], w.zone["a.test. A"]...) })
	udp := Query{Proto: pb.Transport_UDP, Fixed: true}
	for _, c := range []struct {
		host string
		q    Query
		want string
	}{
		{"full.test", Query{}, "TLS/10.1.0.2:5443 TLS/10.1.0.3:5443 UDP/10.1.0.1:5070 UDP/10.1.0.2:5080 UDP/10.1.0.3:5080"},
		{"full.test", udp, "UDP/10.1.0.1:5070 UDP/10.1.0.2:5080 UDP/10.1.0.3:5080"},
		{"full.test", Query{SIPS: true}, "TLS/10.1.0.2:5443 TLS/10.1.0.3:5443"},
		{"a.test", Query{Port: 5099}, "UDP/10.1.0.1:5099"},
		{"A.Test", udp, "UDP/10.1.0.1:5060"},
		{"alias.test", udp, "UDP/10.1.0.1:5060"},
		{"a.test", Query{SIPS: true}, "TLS/10.1.0.1:5061"},
		{"srv.test", Query{}, "TCP/10.1.0.1:5062"},
		{"srv.test", udp, "UDP/10.9.9.9:5060"},
		{"gone.test", udp, "none"},
		{"none.test", Query{}, "none"},
		{"six.test", udp, "none"},
		{"six.test", Query{Six: true, Fixed: true}, "UDP/[2001:db8::1]:5060"},
		{"local.test", Query{}, "UDP/10.5.5.5:5060"},
	} {
		c.q.Host = c.host
		if got := w.find(c.q); got != c.want {
			t.Errorf("%+v:\n  %s\nwant\n  %s", c.q, got, c.want)
		}
	}
	if w.count("local.test. A") != 0 {
		t.Error("a name in the hosts file is asked for")
	}
}

func TestTruncated(t *testing.T) {
	w := newWorld(t, zone)
	w.change(func() { w.cut = true })
	if got := w.find(Query{Host: "a.test", Port: 5060}); got != "UDP/10.1.0.1:5060" {
		t.Error(got)
	}
}

// TestCache: answers are kept to their TTL, negative ones to that of the SOA; silent servers leave what was known.
func TestCache(t *testing.T) {
	w := newWorld(t, zone)
	q, none := Query{Host: "a.test", Port: 5060}, Query{Host: "none.test", Port: 5060}
	if _, ok := w.r.Known(q); ok {
		t.Error("known before it was asked")
	}
	step := func(after time.Duration, asked, askedNone int) {
		t.Helper()
		w.now = w.now.Add(after)
		if got := w.find(q) + " " + w.find(none); got != "UDP/10.1.0.1:5060 none" {
			t.Error(got)
		}
		if a, b := w.count("a.test. A"), w.count("none.test. A"); a != asked || b != askedNone {
			t.Errorf("asked %d and %d times, want %d and %d", a, b, asked, askedNone)
		}
	}
	step(0, 1, 1)
	step(19*time.Second, 1, 1)
	step(time.Second, 1, 2)
	if _, ok := w.r.Known(q); !ok {
		t.Error("not known")
	}
	step(40*time.Second, 2, 3)
	w.change(func() { w.mute = true })
	w.now = w.now.Add(2 * time.Minute)
	if got := w.find(q); got != "UDP/10.1.0.1:5060" {
		t.Errorf("with silent servers: %s", got)
	}
}

// TestWeights: every record's share of the first places is its share of the weights; the same seed gives the same order.
func TestWeights(t *testing.T) {
	a := answer{srv: []srv{{priority: 1, weight: 30, target: "a."}, {priority: 1, weight: 10, target: "b."}, {priority: 0, weight: 0, target: "c."}}}
	a.settle()
	first := map[string]int{}
	for seed := range uint64(4000) {
		o := weighted(a.srv, seed)
		if o[0].target != "c." || len(o) != 3 || o[1] == o[2] {
			t.Fatal(o)
		}
		if !slices.Equal(o, weighted(a.srv, seed)) {
			t.Fatal("not a function of the seed")
		}
		first[o[1].target]++
	}
	if first["b."] < 800 || first["b."] > 1200 {
		t.Errorf("%v of 4000", first)
	}
}

// TestOneLookupForAll: who asks while a lookup is under way waits for that one.
func TestOneLookupForAll(t *testing.T) {
	w := newWorld(t, zone)
	w.mu.Lock() // the server waits
	const n = 500
	done := make(chan error, n)
	for i := range n {
		w.r.Resolve(t.Context(), Query{Host: "a.test", Port: 5060, Seed: uint64(i)}, func(_ []Target, err error) { done <- err })
	}
	w.mu.Unlock()
	for range n {
		if err := <-done; err != nil {
			t.Fatal(err)
		}
	}
	if c := w.count("a.test. A"); c != 1 {
		t.Errorf("asked %d times", c)
	}
}
