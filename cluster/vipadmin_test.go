package cluster

import (
	"context"
	"testing"
	"time"

	"holdline/cluster/api"
)

// TestAddedThoughNotAtHome: a new VIP whose home does not take it, as its guard does not run, is added, and it is no error that another node has it. One that has been removed before that could be
// told is an error, and no crash.
func TestAddedThoughNotAtHome(t *testing.T) {
	l := newLab(t, 2)
	l.join(1, l.init())
	e := l.nodes[0].engine.Load()
	spec := api.GroupSpec{Name: "edge", VIPs: []api.VIP{{Prefix: "192.0.2.5/24"}}, HomeNode: "n1"}
	g, err := l.nodes[0].AddVIP(t.Context(), spec)
	if err != nil {
		t.Fatal(err)
	}
	v := &l.nodes[1].engine.Load().vips
	v.mu.Lock()
	v.held = map[uint32]heldGroup{g.Number: {ballot: 1, since: time.Now()}}
	v.mu.Unlock()
	l.until("n1 hears who has it", func() bool { return e.groupRow(e.machine.Config().Group(g.Number)).Owner == "n2" })
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if row, err := e.bringHome(ctx, g.Number); err != nil || row.Name != "edge" || row.HomeNode != "n1" || row.Owner != "n2" {
		t.Errorf("%+v, %v", row, err)
	}
	for name, f := range map[string]func(context.Context, uint32) (api.Group, error){
		"added": e.bringHome, "moved": func(_ context.Context, n uint32) (api.Group, error) { return e.groupNow(n) },
	} {
		if _, err := f(t.Context(), g.Number+1); api.CodeOf(err) != api.CodeNotFound {
			t.Errorf("%s, and removed: %v", name, err)
		}
	}
}
