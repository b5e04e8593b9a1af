package resolve

import (
	"fmt"
	"strings"
	"testing"

	"github.com/miekg/dns"
)

// TestManyRecords: of a name with very many records a few are kept, the same ones whatever order they come in.
func TestManyRecords(t *testing.T) {
	w := newWorld(t, "")
	w.change(func() { w.cut = true }) // so many go over TCP
	const records = 900               // fit into a message
	for i := range records {
		n := i * 617 % records
		for _, line := range []string{
			fmt.Sprintf("many.test. 60 IN A 10.2.%d.%d", n/256, n%256),
			fmt.Sprintf("_sip._udp.many.test. 60 IN SRV 7 %d 5060 a%d.test.", n, n),
			fmt.Sprintf(`many.test. 60 IN NAPTR %d 10 "s" "SIP+D2U" "" _sip._udp.many%d.test.`, n, n),
		} {
			rr, err := dns.NewRR(line)
			if err != nil {
				t.Fatal(err)
			}
			key := rr.Header().Name + " " + dns.TypeToString[rr.Header().Rrtype]
			w.change(func() { w.zone[key] = append(w.zone[key], rr) })
		}
	}
	if got := w.find(Query{Host: "many.test", Port: 5060}); !strings.HasPrefix(got, "UDP/10.2.0.0:5060 UDP/10.2.0.1:5060 ") {
		t.Error(got)
	}
	w.find(Query{Host: "many.test"})
	kept := func(name string, kind uint16) *answer { return w.r.cache.get(question{name, kind}, false) }
	if a := kept("many.test.", dns.TypeA); len(a.addrs) != maxRecords || a.addrs[maxRecords-1].String() != "10.2.0.31" {
		t.Error(a.addrs)
	}
	if a := kept("_sip._udp.many.test.", dns.TypeSRV); len(a.srv) != maxRecords || a.srv[0].weight != records-maxRecords {
		t.Error(a.srv)
	}
	if a := kept("many.test.", dns.TypeNAPTR); len(a.naptr) != maxRules || a.naptr[0].name != "_sip._udp.many0.test." {
		t.Error(a.naptr)
	}
}
