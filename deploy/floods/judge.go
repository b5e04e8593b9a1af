package main

import "fmt"

// terms are what a run must meet.
type terms struct {
	goodput float64 // share of the peak that is completed at twice the peak
	polite  float64 // share of polite calls completed while others misbehave
	rss     int64   // bytes
}

// fullTerms are those of DESIGN §5 on a machine that does nothing else, for a node that is told that it has so many bytes of memory.
func fullTerms(memory int64) terms { return terms{goodput: 0.9, polite: 0.99, rss: memory * 3 / 2} }

// judge names what a run did not meet. Under more calls than can be served a polite caller is one among many: it is sent away as
// others are, and must not simply get no answer.
func (r *report) judge(t terms) []error {
	var bad []error
	complain := func(format string, args ...any) { bad = append(bad, fmt.Errorf(format, args...)) }
	switch {
	case r.Offered < 1.8*r.Peak || r.Lag > 50:
		if t.goodput > 0 {
			complain("no verdict on overload: the callers could not offer twice the peak (%.0f/s of %.0f, %.0f ms behind); run it on an idle machine",
				r.Offered, 2*r.Peak, r.Lag)
		}
	case r.Goodput < t.goodput*r.Peak:
		complain("goodput at twice the peak: %.0f calls/s of %.0f", r.Goodput, r.Peak)
	}
	if r.Registered < r.Phones {
		complain("avalanche: %d of %d phones have registered", r.Registered, r.Phones)
	}
	for _, x := range r.Rows {
		served := x.PoliteOK
		if x.Flood == twicePeak || x.Flood == allRegister || x.Flood == longOnes {
			served += x.PoliteBusy
		}
		if float64(served) < t.polite*float64(x.Polite) || x.Polite == 0 {
			complain("%s: %d of %d polite calls were served", x.Flood, served, x.Polite)
		}
		if x.RSS > t.rss {
			complain("%s: %d MiB resident", x.Flood, x.RSS>>20)
		}
	}
	return bad
}
