package cluster

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"holdline/cluster/api"
	"holdline/fsm/pb"
)

func TestRegistrationChecks(t *testing.T) {
	until := time.Date(2026, 1, 2, 12, 30, 0, 0, time.Local)
	all := map[*pb.Member]*api.MemberRegistration{}
	for name, r := range map[string]api.MemberRegistration{
		"a": {Registered: true, Until: until, Node: "n1"},
		"b": {Problem: "403 Forbidden", Node: "n1"},
		"c": {Registered: true, Until: until, Problem: "not answered", Node: "n2"},
		"d": {},
		"e": {Node: "n3"},
	} {
		all[&pb.Member{Pool: "carriers", Name: name, Address: "sip.example", User: "u" + name}] = &r
	}
	var got []string
	for _, c := range registrationChecks(all) {
		if (c.Result == api.CheckWarn) != (c.Advice != "") {
			t.Errorf("advice: %+v", c)
		}
		got = append(got, fmt.Sprintf("%s %s: %s", c.Result, c.Name, c.Detail))
	}
	if want := []string{
		"warn registration carriers/b: user ub is not registered at sip.example: 403 Forbidden (n1)",
		"warn registration carriers/c: user uc is registered at sip.example until 12:30:00, and not for longer: not answered (n2)",
		"warn registration carriers/d: user ud is not registered at sip.example: no node owns the VIP",
		"warn registration carriers/e: user ue is not registered at sip.example yet (n3)",
		"ok registrations: registered with 1 gateways",
	}; !slices.Equal(got, want) {
		t.Errorf("%q\nwant %q", got, want)
	}
	if n := len(registrationChecks(nil)); n != 0 {
		t.Errorf("%d checks of nothing", n)
	}
}

// TestTrunkInfos: what a peer has told of its registrations counts down, and is not believed for long.
func TestTrunkInfos(t *testing.T) {
	var i trunkInfos
	if _, ok := i.get(2, "p", "m"); ok {
		t.Error("nobody has told anything")
	}
	i.set(2, []toldTrunk{{Pool: "p", Member: "m", Left: time.Hour}, {Pool: "p", Member: "x", Problem: "not answered"}})
	if x, ok := i.get(2, "p", "m"); !ok || x.Left > time.Hour || x.Left < time.Hour-time.Minute {
		t.Errorf("%+v, %v", x, ok)
	}
	if x, ok := i.get(2, "p", "x"); !ok || x.Problem != "not answered" || x.Left != 0 {
		t.Errorf("%+v, %v", x, ok)
	}
	h := i.by[2]
	h.at = h.at.Add(-trunkTell)
	i.by[2] = h
	if x, ok := i.get(2, "p", "m"); !ok || x.Left > time.Hour-trunkTell {
		t.Errorf("a second later: %+v, %v", x, ok)
	}
	h.at = h.at.Add(-trunkStale)
	i.by[2] = h
	if _, ok := i.get(2, "p", "m"); ok {
		t.Error("it has not told that for long")
	}
	i.set(2, nil)
	if _, ok := i.get(2, "p", "m"); ok {
		t.Error("it keeps it no more")
	}
}
