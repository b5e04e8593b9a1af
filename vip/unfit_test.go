package vip

import (
	"maps"
	"net/netip"
	"testing"
)

// TestUnfit: a guard tells which groups it could not hold, and why, at once when that changes; before it is told that it is connected, to a core that
// comes anew; and nothing of a group whose interface it has yet to find.
func TestUnfit(t *testing.T) {
	c := newCluster(t, 1)
	b := c.owner(t)
	tells := func(mark int, want map[uint32]string) {
		t.Helper()
		await(b, mark, func(u Unfit) bool { return maps.Equal(u.Groups, want) })
	}
	cfg := c.config(b)
	cfg.Groups = append(cfg.Groups, Group{Number: 8, Name: "border", VIPs: []netip.Prefix{netip.MustParsePrefix("10.88.0.101/24")}})
	if has(b, 0, func(Unfit) bool { return true }) {
		t.Errorf("it fits, and was said not to: %v", b.events)
	}
	mark := b.mark()
	if err := b.client.Configure(cfg); err != nil {
		t.Fatal(err)
	}
	const border = "no interface has an address in 10.88.0.0/24"
	tells(mark, map[uint32]string{8: border})

	b.disconnect()
	b.stop = make(chan struct{})
	mark = b.mark()
	b.connect(cfg)
	await[Connected](b, mark, nil)
	b.mu.Lock()
	for _, e := range b.events[mark:] {
		if _, ok := e.Event.(Unfit); ok {
			break
		}
		if _, ok := e.Event.(Connected); ok {
			t.Errorf("connected before it told what it cannot hold: %v", b.events[mark:])
			break
		}
	}
	b.mu.Unlock()
	tells(mark, map[uint32]string{8: border})

	mark = b.mark()
	c.cable(t, b.name, false)
	tells(mark, map[uint32]string{7: NoCarrier + "eth0", 8: border})
	mark = b.mark()
	c.cable(t, b.name, true)
	tells(mark, map[uint32]string{8: border})
	mark = b.mark()
	b.space.do(t, func() error { return address("eth0", "10.88.0.11/24") })
	tells(mark, nil)
}
