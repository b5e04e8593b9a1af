package sipcore

import (
	"bytes"
	"net/netip"
	"testing"

	"holdline/fsm/pb"
	"holdline/sipcore/transport"
)

func TestFrameRoundTrip(t *testing.T) {
	for _, remote := range []string{"10.0.0.1:5060", "[2001:db8::1]:5061"} {
		want := transport.Flow{Group: 3, VIP: 1, Proto: pb.Transport_TLS, Port: 5061, Remote: netip.MustParseAddrPort(remote), Conn: 1 << 40}
		b := appendFrame(nil, frameOutbound, want, []byte("SIP/2.0 200 OK\r\n\r\n"))
		kind, got, data, err := parseFrame(b)
		if err != nil || kind != frameOutbound || got != want || !bytes.HasPrefix(data, []byte("SIP/2.0 200")) {
			t.Errorf("got %d %+v %q %v", kind, got, data, err)
		}
		for n := range len(b) - len(data) {
			if _, _, _, err := parseFrame(b[:n]); err == nil {
				t.Errorf("a frame of %d octets was read", n)
			}
		}
	}
}

func FuzzParseFrame(f *testing.F) {
	f.Add(appendFrame(nil, frameInbound, transport.Flow{Group: 1, Remote: netip.MustParseAddrPort("10.0.0.1:5060")}, []byte("x")))
	f.Fuzz(func(t *testing.T, b []byte) { _, _, _, _ = parseFrame(b) })
}

// TestStaleDatagram: what came in before the lease began is dropped, what came after is not, whatever the
// distance of the two clocks.
func TestStaleDatagram(t *testing.T) {
	l := newLab(t, 1)
	c := l.cores[0]
	raw := transport.MonotonicRaw()
	since := raw + leaseClockAhead()
	l.owners.mu.Lock()
	l.owners.since = since
	l.owners.mu.Unlock()
	junk := func(at int64) {
		c.handle(c.udp.NewSender(), []transport.Packet{{
			Data: []byte("junk"), At: at, Flow: transport.Flow{Group: 1, Port: l.port, Remote: netip.MustParseAddrPort("127.0.0.1:9")},
		}})
	}
	const second = 1e9
	junk(raw - second)
	if c.drops.stale.Load() != 1 || c.drops.garbage.Load() != 0 {
		t.Error("a datagram from before the lease was handled")
	}
	junk(raw + 5e6)
	if c.drops.stale.Load() != 1 || c.drops.garbage.Load() != 1 {
		t.Error("a datagram within the lease was dropped")
	}
}

// TestHandOver: what comes in as datagrams for a group that is given away is left for the next owner where calls are recorded after
// the fact, and only there; what comes over a connection, which nothing would repeat, is handled.
func TestHandOver(t *testing.T) {
	l := newLab(t, 1)
	c := l.cores[0]
	c.GroupAcquired(1, 1)
	c.GroupAcquired(2, 1)
	handled := func(conn uint64) bool {
		requests, left := c.stats.Requests.Load(), c.drops.notOwned.Load()
		c.handle(c.udp.NewSender(), []transport.Packet{{
			Data: []byte("MESSAGE sip:bob@nowhere.example SIP/2.0\r\nVia: SIP/2.0/UDP 127.0.0.1:9;branch=z9hG4bKm\r\nMax-Forwards: 70\r\nFrom: <sip:a@nowhere.example>;tag=a\r\n" +
				"To: <sip:bob@nowhere.example>\r\nCall-ID: m\r\nCSeq: 1 MESSAGE\r\nContent-Length: 0\r\n\r\n"),
			At:   transport.MonotonicRaw() + 5e6,
			Flow: transport.Flow{Group: 1, Port: l.port, Remote: netip.MustParseAddrPort("127.0.0.1:9"), Conn: conn},
		}})
		requests, left = c.stats.Requests.Load()-requests, c.drops.notOwned.Load()-left
		if requests+left != 1 {
			t.Fatalf("%d handled, %d left", requests, left)
		}
		return requests == 1
	}
	// away has a group given away, until long after this test or until just now.
	away := func(group uint32, until int64) {
		c.HandOver(group)
		c.setAcquired(group, func(a acquisition) acquisition {
			if rest := a.leaves - c.now(); rest > int64(handOver) {
				t.Errorf("datagrams are left for %d ns", rest)
			}
			a.leaves = until
			return a
		})
	}
	const long = 1<<63 - 1
	away(1, long)
	if !handled(0) {
		t.Error("a datagram was left, though every call is recorded before")
	}
	l.set("call.commit", "after")
	eventually(t, within(t), "the setting", func() bool { return c.currentView().RecordsLater() })
	if handled(0) {
		t.Error("a datagram was handled by an owner that gives the group away")
	}
	if !handled(1) {
		t.Error("what came over a connection was left")
	}
	away(1, c.now())
	if !handled(0) {
		t.Error("a datagram was left for longer than the group is given away")
	}
	away(2, long)
	if !handled(0) {
		t.Error("a datagram was left, though another group is given away")
	}
}
