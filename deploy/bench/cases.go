package main

import (
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"
)

// benchCase is one row of the report: two systems under the same load. Systems named later record calls after the fact
// (setting call.commit), as Kamailio does with DMQ; alone, Kamailio records nothing.
type benchCase struct {
	name       string
	ours, peer string
	rate       int
	hold       time.Duration
	register   bool
	capacity   bool // rate is where to begin: the highest rate without a failure is looked for
}

func (c benchCase) String() string { return fmt.Sprintf("%s@%d", c.name, c.rate) }

// cases lists all of them for the given rates ("500,1500").
func cases(rates string) []benchCase {
	var list []benchCase
	for _, f := range strings.Split(rates, ",") {
		rate, err := strconv.Atoi(strings.TrimSpace(f))
		if err != nil || rate <= 0 {
			continue
		}
		for _, hold := range []time.Duration{0, 3 * time.Second} {
			suffix := map[bool]string{true: "-0s", false: "-3s"}[hold == 0]
			list = append(list,
				benchCase{name: "one" + suffix, ours: "holdline-later", peer: "kamailio", rate: rate, hold: hold},
				benchCase{name: "one-logged" + suffix, ours: "holdline", peer: "kamailio", rate: rate, hold: hold},
				benchCase{name: "three" + suffix, ours: "holdline-3", peer: "kamailio-dmq", rate: rate, hold: hold},
				benchCase{name: "three-later" + suffix, ours: "holdline-3-later", peer: "kamailio-dmq", rate: rate, hold: hold},
			)
		}
	}
	for _, rate := range []int{5000, 10000} {
		list = append(list, benchCase{name: "register-one", ours: "holdline", peer: "kamailio", rate: rate, register: true},
			benchCase{name: "register-three", ours: "holdline-3", peer: "kamailio-dmq", rate: rate, register: true})
	}
	return append(list,
		benchCase{name: "capacity-one", ours: "holdline-later", peer: "kamailio", rate: capacityFirst, capacity: true},
		benchCase{name: "capacity-three", ours: "holdline-3", peer: "kamailio-dmq", rate: capacityFirst, capacity: true})
}

func names(cs []benchCase) []string {
	var v []string
	for _, c := range cs {
		v = append(v, c.String())
	}
	return v
}

func printRow(w io.Writer, r result, head bool) {
	if head {
		fmt.Fprintf(w, "%-16s %6s │ %9s %9s %6s │ %7s %7s │ %8s %8s │ %15s %15s\n",
			"case", "rate/s", "ours µs", "peer µs", "ratio", "ours ✗", "peer ✗", "ours ↻", "peer ↻", "ours p50/p99 ms", "peer p50/p99 ms")
	}
	if r.OursMax+r.PeerMax > 0 {
		fmt.Fprintf(w, "%-16s        │ highest rate without a failure, generator on the same machine: ours %d/s, peer %d/s, ratio %.2f\n", r.Case, r.OursMax, r.PeerMax, r.Ratio)
		return
	}
	if r.Rounds == 0 {
		fmt.Fprintf(w, "%-16s %6d │ refused: %s\n", r.Case, r.Rate, r.Refused)
		return
	}
	fmt.Fprintf(w, "%-16s %6d │ %9.0f %9.0f %6.2f │ %7d %7d │ %8d %8d │ %7.1f/%7.1f %7.1f/%7.1f\n", r.Case, r.Rate, r.Ours, r.Peer, r.Ratio,
		r.OursFailed, r.PeerFailed, r.OursRetrans, r.PeerRetrans, r.OursP50, r.OursP99, r.PeerP50, r.PeerP99)
}
