package main

import (
	"testing"

	"holdline/cluster/api"
)

// TestVia: who looks for calls of a gateway finds it, but none that was only tried, or is yet to be.
func TestVia(t *testing.T) {
	leg := func(member, state string) api.Leg { return api.Leg{Member: member, State: state} }
	for want, c := range map[string]api.Call{
		"":        {Legs: []api.Leg{leg("", "answered")}},
		"out":     {Pool: "out", Legs: []api.Leg{leg("gw1", "failed"), leg("gw2", "trying")}},
		"out/gw1": {Pool: "out", Legs: []api.Leg{leg("gw1", "trying")}},
		"out/gw2": {Pool: "out", Legs: []api.Leg{leg("gw1", "failed"), leg("gw2", "answered"), leg("gw3", "pending")}},
		"out/gw3": {Pool: "out", Legs: []api.Leg{leg("gw1", "failed"), leg("gw3", "confirmed")}},
	} {
		if got := via(c); got != want {
			t.Errorf("%+v: %q, not %q", c, got, want)
		}
	}
}
