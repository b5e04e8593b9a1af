package sipcore

import (
	"testing"

	"holdline/fsm/pb"
)

// TestSilentFlows: after a takeover the new owner knows from the replicated state whose connections are gone, once each, and no
// longer when they have come back. What goes out on the wire is tested in transport, and between real nodes in deploy/lab.
func TestSilentFlows(t *testing.T) {
	l := newLab(t, 2)
	ctx := within(t)
	alice, bob, carol := l.softphone(t, "alice", "tcp", 0), l.softphone(t, "bob", "tls", 0), l.softphone(t, "carol", "udp", 0)
	for _, p := range []*softphone{alice, bob, carol} {
		p.register(ctx)
	}
	alice.call(ctx, "bob") // the same connections once more
	receive(t, ctx, bob.acked)
	if f := l.cores[0].silentFlows(1); len(f) != 0 {
		t.Errorf("the owner takes its own connections for gone: %v", f)
	}
	l.move(1, 1, 2)
	gone := map[pb.Transport]uint16{}
	for _, f := range l.cores[1].silentFlows(1) {
		gone[pb.Transport(f.proto)] = f.port
		if !f.remote.Addr().IsLoopback() || f.remote.Port() == 0 || f.vip != 0 {
			t.Errorf("%+v", f)
		}
	}
	if len(gone) != 2 || gone[pb.Transport_TCP] != l.port || gone[pb.Transport_TLS] != l.port+1 {
		t.Errorf("gone: %v", gone)
	}
	if f := l.cores[1].silentFlows(2); len(f) != 0 {
		t.Errorf("of another group: %v", f)
	}
}
