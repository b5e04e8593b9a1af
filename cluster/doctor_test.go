package cluster

import (
	"testing"
	"time"

	"holdline/cluster/api"
)

func TestWakingCheck(t *testing.T) {
	for late, want := range map[time.Duration]string{0: api.CheckOK, 3 * time.Millisecond: api.CheckOK, 21 * time.Millisecond: api.CheckWarn} {
		if c := wakingCheck(late); c.Result != want || (c.Advice == "") != (want == api.CheckOK) {
			t.Errorf("%v late: %+v", late, c)
		}
	}
}
