package cluster

import (
	"slices"
	"strings"
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

// Doctor tells how far the peers' clocks are off.
func TestClockCheck(t *testing.T) {
	l := newLab(t, 2)
	l.join(1, l.init())
	n := l.node(0)
	number := l.node(1).engine.Load().number.Load()
	var c api.Check
	l.until("doctor has heard the other clock", func() bool {
		checks, err := n.Doctor(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		i := slices.IndexFunc(checks, func(c api.Check) bool { return c.Name == "clock n2" })
		if i >= 0 {
			c = checks[i]
		}
		return i >= 0
	})
	if c.Result != api.CheckOK || !strings.HasPrefix(c.Detail, "differs by ") {
		t.Errorf("two nodes on one machine: %+v", c)
	}

	for off, want := range map[time.Duration]string{
		0: api.CheckOK, 500 * time.Millisecond: api.CheckOK, 2 * time.Second: api.CheckWarn, -2 * time.Second: api.CheckWarn, -10 * time.Minute: api.CheckFail,
	} {
		p := peerInfos{by: map[uint32]heardInfo{}}
		p.set(number, peerInfo{WallMs: time.Now().Add(-off).UnixMilli()})
		h, _ := p.get(number)
		if c := clockCheck("n2", h.clockOff()); c.Result != want || (c.Advice == "") != (want == api.CheckOK) {
			t.Errorf("%v off: %+v", off, c)
		}
	}
}
