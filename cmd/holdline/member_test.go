package main

import (
	"testing"
	"time"

	"holdline/cluster/api"
)

func TestRegistrationText(t *testing.T) {
	until := time.Date(2026, 1, 2, 12, 30, 0, 0, time.Local).UTC()
	for want, r := range map[string]*api.MemberRegistration{
		"-":                   nil,
		"none yet":            {Node: "n1"},
		"none: 403 Forbidden": {Problem: "403 Forbidden"},
		"until 12:30:00":      {Registered: true, Until: until},
		"until 12:30:00, then none: not answered": {Registered: true, Until: until, Problem: "not answered"},
	} {
		if got := registrationText(r); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}
