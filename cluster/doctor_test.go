package cluster

import (
	"testing"
	"time"

	"holdline/cluster/api"
	"holdline/vip/lease"
)

// A guard that was woken late is warned of, the sooner the shorter its grants are.
func TestWakingCheck(t *testing.T) {
	const ms = time.Millisecond
	for _, x := range []struct {
		late    time.Duration
		profile lease.Profile
		want    string
	}{
		{0, lease.Fast(), api.CheckOK},
		{3 * ms, lease.Fast(), api.CheckOK},
		{20 * ms, lease.Fast(), api.CheckWarn},
		{20 * ms, lease.Standard(), api.CheckOK},
		{80 * ms, lease.Standard(), api.CheckWarn},
	} {
		if c := wakingCheck(x.late, time.Duration(x.profile.Grant)); c.Result != x.want || (c.Advice == "") != (x.want == api.CheckOK) {
			t.Errorf("%v late under %s: %+v", x.late, x.profile.Name, c)
		}
	}
}
