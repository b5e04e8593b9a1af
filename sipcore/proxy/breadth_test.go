package proxy

import (
	"strings"
	"testing"
)

func threePhones(t *testing.T) *world {
	cl := newCluster(t)
	for _, p := range []phone{bob, bob2, carol} {
		cl.register("bob@example.com", "sip:bob@"+p.addr, p.addr, 1, 1000)
	}
	return newWorld(t, cl)
}

// TestBreadth: the breadth is split over parallel branches without loss; 60 is what a request has that brings none.
func TestBreadth(t *testing.T) {
	for given, want := range map[string]string{"": "20 20 20", "Max-Breadth: 7": "3 2 2", "Max-Breadth: 3": "1 1 1"} {
		w := threePhones(t)
		var headers []string
		if given != "" {
			headers = []string{given}
		}
		w.in(1, alice.addr, alice.request("INVITE", "sip:bob@example.com", "c2", 1, "c2", "", headers...))
		m := w.byReceiver()
		var got []string
		for _, p := range []phone{bob, bob2, carol} {
			if v := header(m[p.addr][0], "Max-Breadth"); len(v) == 1 {
				got = append(got, v[0])
			}
		}
		if strings.Join(got, " ") != want {
			t.Errorf("%q is split into %q", given, got)
		}
	}
}

// TestBreadthNarrow: with less breadth than branches the rest takes its turn.
func TestBreadthNarrow(t *testing.T) {
	w := threePhones(t)
	w.in(1, alice.addr, alice.request("INVITE", "sip:bob@example.com", "c1", 1, "c1", "", "Max-Breadth: 1"))
	for i, p := range []phone{bob, bob2, carol} {
		m := w.byReceiver()
		if starts(m[p.addr]) != "INVITE" || header(m[p.addr][0], "Max-Breadth")[0] != "1" {
			t.Fatalf("step %d: sent %v", i, m)
		}
		w.in(1, p.addr, p.answer(m[p.addr][0], 486))
	}
	if m := w.byReceiver(); starts(m[alice.addr]) != "486" {
		t.Errorf("sent %v", m)
	}
}

func TestBreadthExhausted(t *testing.T) {
	w := threePhones(t)
	w.in(1, alice.addr, alice.request("INVITE", "sip:bob@example.com", "c1", 1, "c1", "", "Max-Breadth: 0"))
	w.want(alice.addr + " 440 Max-Breadth Exceeded")
	w.in(1, alice.addr, alice.request("INVITE", "sip:bob@example.com", "c2", 1, "c2", "", "Max-Breadth: much"))
	w.want(alice.addr + " 400 Bad Max-Breadth")
}

// TestBreadthAfterTakeover: the new owner repeats each leg's INVITE as it was.
func TestBreadthAfterTakeover(t *testing.T) {
	w := threePhones(t)
	w.in(1, alice.addr, alice.request("INVITE", "sip:bob@example.com", "c1", 1, "c1", "", "Max-Breadth: 7"))
	before := w.byReceiver()
	n := w.moved()
	n.rearm()
	after := n.byReceiver()
	for _, p := range []phone{bob, bob2, carol} {
		if before[p.addr][0] != after[p.addr][0] {
			t.Errorf("INVITE after the takeover:\n%s\nbefore:\n%s", after[p.addr][0], before[p.addr][0])
		}
	}
}
