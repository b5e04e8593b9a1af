package resolve

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"
)

const halfBroken = `
target.test. 60 IN A 10.9.9.9
_sip._udp.target.test. 60 IN SRV 1 0 5060 broken.test.
_sip._udp.target.test. 60 IN SRV 2 0 5062 a.test.
_sip._udp.target.test. 60 IN SRV 3 0 5063 b.test.
broken.test. 60 IN A 10.9.9.1
rule.test. 60 IN NAPTR 10 10 "s" "SIPS+D2T" "" _sips._tcp.off.test.
rule.test. 60 IN NAPTR 20 10 "s" "SIP+D2T" "" _sip._tcp.broken.test.
rule.test. 60 IN NAPTR 30 10 "s" "SIP+D2U" "" _sip._udp.rule.test.
_sip._udp.rule.test. 60 IN SRV 1 0 5064 a.test.
_sips._tcp.off.test. 60 IN SRV 0 0 0 .
naptr.test. 60 IN A 10.1.0.9
srvonly.test. 60 IN A 10.9.9.9
_sip._tcp.srvonly.test. 60 IN SRV 1 0 5065 a.test.
nothing.test. 60 IN A 10.9.9.9
_sip._udp.nothing.test. 60 IN SRV 0 0 0 .
noudp.test. 60 IN A 10.9.9.9
_sip._udp.noudp.test. 60 IN SRV 0 0 0 .
_sip._tcp.noudp.test. 60 IN SRV 1 0 5066 a.test.
failing.test. 60 IN A 10.9.9.9
tls.test. 60 IN A 10.9.9.9
tls.test. 60 IN NAPTR 10 10 "s" "SIPS+D2T" "" _sips._tcp.broken.test.
_sip._udp.tls.test. 60 IN SRV 1 0 5067 a.test.
all.test. 60 IN NAPTR 10 10 "s" "SIPS+D2T" "" _sips._tcp.off.test.
_sip._udp.all.test. 60 IN SRV 1 0 5068 a.test.
a.test. 60 IN A 10.1.0.1
b.test. 60 IN A 10.1.0.2
`

// TestHalfBroken: a branch in the DNS that fails, or is not available, hides no other; an answer from the cache is no different.
func TestHalfBroken(t *testing.T) {
	w := newWorld(t, halfBroken)
	w.change(func() {
		w.fail = map[string]bool{
			"broken.test. A": true, "_sip._tcp.broken.test. SRV": true, "_sips._tcp.broken.test. SRV": true,
			"naptr.test. NAPTR": true, "srvonly.test. NAPTR": true, "_sip._udp.srvonly.test. SRV": true, "_sip._udp.failing.test. SRV": true,
		}
	})
	for _, c := range []struct{ host, want string }{
		{"target.test", "UDP/10.1.0.1:5062 UDP/10.1.0.2:5063"},
		{"rule.test", "UDP/10.1.0.1:5064"},
		{"naptr.test", "UDP/10.1.0.9:5060"},
		{"srvonly.test", "TCP/10.1.0.1:5065"},
		{"nothing.test", "none"}, // no service is not the same as no SRV records
		{"noudp.test", "TCP/10.1.0.1:5066"},
		{"failing.test", "error"}, // it may have SRV records
		{"tls.test", "error"},     // the domain wants TLS
		{"all.test", "none"},
	} {
		for _, how := range []string{"asked", "cached"} {
			if got := w.find(Query{Host: c.host}); got != c.want {
				t.Errorf("%s, %s: %s, want %s", c.host, how, got, c.want)
			}
		}
		if _, known := w.r.Known(Query{Host: c.host}); known != strings.Contains(c.want, "/") {
			t.Errorf("%s is known: %v", c.host, known)
		}
	}
}

// TestSilentBranch: a name whose servers are silent does not use up the time of the others.
func TestSilentBranch(t *testing.T) {
	w := newWorld(t, `
		_sip._udp.silent.test. 60 IN SRV 1 0 5060 b.test.
		_sip._udp.silent.test. 60 IN SRV 2 0 5060 c.test.
		_sip._udp.silent.test. 60 IN SRV 3 0 5060 d.test.
		_sip._udp.silent.test. 60 IN SRV 4 0 5060 a.test.
		a.test. 60 IN A 10.1.0.1`)
	w.change(func() {
		w.hold = map[string]bool{"silent.test. NAPTR": true, "b.test. A": true, "c.test. A": true, "d.test. A": true}
	})
	if got := w.find(Query{Host: "silent.test"}); got != "UDP/10.1.0.1:5060" {
		t.Error(got)
	}
}

// TestManyTargets: of a service with more hosts than are tried, each call finds those that come first by its own seed; also when all
// hosts but one are known, which may be one that other seeds need not.
func TestManyTargets(t *testing.T) {
	const hosts = 12
	zone := ""
	for i := range hosts {
		zone += fmt.Sprintf("_sip._udp.large.test. 60 IN SRV 1 10 5060 h%d.test.\nh%d.test. 60 IN A 10.3.0.%d\n", i, i, i)
	}
	w := newWorld(t, zone)
	all := map[string]bool{}
	for i := range hosts {
		for seed := range uint64(100) {
			q := Query{Host: "large.test", Fixed: true, Seed: seed + 1}
			got := strings.Fields(w.find(q))
			if known := strings.Fields(w.find(q)); len(got) != maxTargets || !slices.Equal(got, known) {
				t.Fatalf("seed %d: %v, then %v", q.Seed, got, known)
			}
			all[got[0]] = true
		}
		w.r.cache.drop(question{fmt.Sprintf("h%d.test.", i), dns.TypeA})
	}
	if len(all) != hosts {
		t.Errorf("only %d of %d are ever the first", len(all), hosts)
	}
	if n := w.count("h0.test. A"); n != 2 {
		t.Errorf("a host is asked for %d times", n)
	}
}

// TestQuestionsAreBounded: a zone cannot have us ask for as many names as it likes, and what was found by then is used.
func TestQuestionsAreBounded(t *testing.T) {
	zone := ""
	for i := range maxRules {
		zone += fmt.Sprintf("deep.test. 60 IN NAPTR %d 10 \"s\" \"SIP+D2U\" \"\" _sip._udp.d%d.test.\n", i, i)
		for n := range maxRecords {
			zone += fmt.Sprintf("_sip._udp.d%d.test. 60 IN SRV %d 0 5060 h%d.d%d.test.\n", i, n, n, i)
		}
	}
	w := newWorld(t, zone+"h0.d0.test. 60 IN A 10.1.0.1\n")
	w.change(func() { w.cut = true }) // such answers go over TCP
	if got := w.find(Query{Host: "deep.test"}); got != "UDP/10.1.0.1:5060" {
		t.Error(got)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.asked) > maxAsked {
		t.Errorf("%d questions", len(w.asked))
	}
}

// TestFull: names whose servers are silent do not keep those from being served that have had an answer before.
func TestFull(t *testing.T) {
	w := newWorld(t, zone)
	w.r.limit = 4
	query := func(host string) Query { return Query{Host: host, Port: 5060} }
	w.find(query("a.test"))
	w.find(query("b.test"))
	w.now = w.now.Add(2 * time.Minute)
	w.change(func() { w.mute = true })
	done := make(chan string, 8)
	ask := func(host string) {
		w.r.Resolve(t.Context(), query(host), func(targets []Target, err error) { done <- fmt.Sprint(host, " ", len(targets), " ", err != nil) })
	}
	for i := range 4 {
		ask(fmt.Sprintf("silent%d.test", i))
	}
	if got := <-done; got != "silent3.test 0 true" {
		t.Error(got)
	}
	ask("a.test") // has the last place
	select {
	case got := <-done:
		t.Error(got)
	default:
	}
	ask("b.test") // at once
	if got := <-done; got != "b.test 2 false" {
		t.Error(got)
	}
	if _, ok := w.r.Known(query("b.test")); !ok {
		t.Error("an ACK would not be sent")
	}
	if _, ok := w.r.Known(query("silent3.test")); ok {
		t.Error("it is known though it never had an answer")
	}
	var rest []string
	for range 4 {
		rest = append(rest, <-done)
	}
	slices.Sort(rest)
	if got := strings.Join(rest, ", "); got != "a.test 1 false, silent0.test 0 true, silent1.test 0 true, silent2.test 0 true" {
		t.Error(got)
	}
}
