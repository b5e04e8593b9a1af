package cluster

import (
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"holdline/sipcore"
)

// TestMetrics: what a node and its SIP core tell can be registered beside what the daemon tells of its status: no name is there
// twice, each is in the manual, and the manual has no others.
func TestMetrics(t *testing.T) {
	l := newLab(t, 1)
	l.init()
	n := l.node(0)
	e := n.engine.Load()
	core, err := sipcore.New(sipcore.Options{Machine: e.machine, Node: 1, Log: e.submitter, Owners: &e.vips, Link: e.link.Load()})
	if err != nil {
		t.Fatal(err)
	}
	defer core.Close()
	e.vips.core.Store(core)
	defer e.vips.core.Store(nil)
	r := prometheus.NewPedanticRegistry()
	r.MustRegister(n)
	families, err := r.Gather()
	if err != nil {
		t.Fatal(err)
	}
	names := map[string]string{}
	for _, f := range families {
		names[f.GetName()] = f.GetHelp()
	}
	if names["holdline_sip_requests_total"] == "" || names["holdline_sip_transactions"] == "" {
		t.Errorf("the SIP core is missing among %d metrics", len(names))
	}
	daemon, err := os.ReadFile("../cmd/holdline/metrics.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range regexp.MustCompile(`\bd\("([a-z_]+)", "([^"]+)"`).FindAllStringSubmatch(string(daemon), -1) {
		if _, twice := names["holdline_"+m[1]]; twice {
			t.Errorf("holdline_%s is there twice", m[1])
		}
		names["holdline_"+m[1]] = m[2]
	}
	manual, err := os.ReadFile("../docs/metrics.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range regexp.MustCompile("(?m)^\\| `(holdline_[a-z_0-9]+)").FindAllStringSubmatch(string(manual), -1) {
		if _, there := names[m[1]]; !there && !onlyWithNeighbours(m[1]) {
			t.Errorf("%s is in the manual, but not there", m[1])
		}
	}
	for name, help := range names {
		if !strings.Contains(string(manual), "| `"+name+"`") && !strings.Contains(string(manual), "| `"+name+"{") {
			t.Errorf("not in the manual:\n| `%s` | %s |", name, help)
		}
	}
}

// onlyWithNeighbours names the metrics that a node without VIPs, peers, domains, certificates and pools does not have.
func onlyWithNeighbours(name string) bool {
	switch name {
	case "holdline_vip_lease_held", "holdline_vip_fits", "holdline_peer_alive", "holdline_domain_calls", "holdline_member_calls", "holdline_member_up", "holdline_trunk_registered", "holdline_certificate_expires_in_seconds":
		return true
	}
	return false
}
