package capture

import (
	"encoding/binary"
	"net/netip"
	"testing"

	"go.uber.org/goleak"
	"golang.org/x/sys/unix"

	"holdline/deploy/lab/netlab"
	"holdline/deploy/lab/userns"
)

func TestMain(m *testing.M) {
	userns.ForTests()
	goleak.VerifyTestMain(m)
}

var vip1, vip2, other = netip.MustParseAddr("10.77.0.101"), netip.MustParseAddr("10.77.0.102"), netip.MustParseAddr("10.77.0.11")

func ethernet(mac byte, typ uint16, payload int) []byte {
	b := make([]byte, 14+payload)
	copy(b, []byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2, 0x77, 0, 0, 0, mac})
	binary.BigEndian.PutUint16(b[offType:], typ)
	return b
}

func ipFrame(mac byte, src netip.Addr) []byte {
	b := ethernet(mac, typeIPv4, 600)
	b[14] = 0x45
	copy(b[offIPSrc:], src.AsSlice())
	return b
}

func arpFrame(mac byte, sender, target netip.Addr) []byte {
	b := ethernet(mac, typeARP, 46)
	copy(b[14:], []byte{0, 1, 8, 0, 6, 4, 0, 1})
	copy(b[offARPSend:], sender.AsSlice())
	copy(b[offARPTarg:], target.AsSlice())
	return b
}

// inject puts raw frames onto a box's cable.
func inject(t *testing.T, b *netlab.Box, frames ...[]byte) {
	t.Helper()
	err := b.Do(func() error {
		fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return err
		}
		defer unix.Close(fd)
		card, err := b.Links().LinkByName(netlab.Card)
		if err != nil {
			return err
		}
		for _, f := range frames {
			if err := unix.Sendto(fd, f, 0, &unix.SockaddrLinklayer{Ifindex: card.Attrs().Index}); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestCaptureSeesTwoOwnersAndNothingElse(t *testing.T) {
	n, err := netlab.New()
	if err != nil {
		t.Fatal(err)
	}
	defer n.Close()
	var boxes []*netlab.Box
	var ports []int
	for i, name := range []string{"n1", "n2", "phones"} {
		b, err := n.AddBox(name, byte(i+1))
		if err != nil {
			t.Fatal(err)
		}
		boxes, ports = append(boxes, b), append(ports, b.Port())
	}
	c, err := Start(n.Switch, []netip.Addr{vip1, vip2}, ports)
	if err != nil {
		t.Fatal(err)
	}
	a, b, phones := boxes[0], boxes[1], boxes[2]
	inject(t, a, arpFrame(1, vip1, vip1), ipFrame(1, vip1), ipFrame(1, other)) // the last is not a VIP's
	inject(t, phones, ipFrame(9, netip.MustParseAddr("10.77.0.22")))           // nor this
	inject(t, b, ipFrame(2, vip2), ipFrame(2, vip1))                           // a second owner of vip1
	inject(t, a, arpFrame(1, vip1, other))                                     // and the first again
	inject(t, b, ethernet(2, 0x86dd, 100), arpFrame(2, netip.IPv4Unspecified(), vip1))

	frames, dropped, err := c.Stop()
	if err != nil || dropped != 0 {
		t.Fatalf("stop: %d dropped, %v", dropped, err)
	}
	// Each frame once, although the switch sends it out again through the other two ports.
	if len(frames) != 5 {
		t.Errorf("%d frames, want 5: %+v", len(frames), frames)
	}
	owners := Owners(frames)
	if len(owners) != 2 || owners[0].Max != 2 || owners[1].Max != 1 {
		t.Errorf("owners %+v; want two of %v and one of %v", owners, vip1, vip2)
	}
	if got := owners[0].Tenures[0].Sender; got.Port != a.Port() || got.MAC[5] != 1 {
		t.Errorf("first owner is %v, want the card of n1 at port %d", got, a.Port())
	}
	if !frames[0].Announce || !frames[0].ARP || frames[1].ARP {
		t.Errorf("kinds of the first frames: %+v", frames[:2])
	}
}

func TestCaptureTakesEveryFrame(t *testing.T) {
	n, err := netlab.New()
	if err != nil {
		t.Fatal(err)
	}
	defer n.Close()
	box, err := n.AddBox("n1", 1)
	if err != nil {
		t.Fatal(err)
	}
	c, err := Start(n.Switch, []netip.Addr{vip1}, []int{box.Port()})
	if err != nil {
		t.Fatal(err)
	}
	// Frames through the whole ring and round again: none lost as long as the reader keeps up.
	const total = frameCount + 1000
	burst := make([][]byte, 1000)
	for i := range burst {
		burst[i] = ipFrame(1, vip1)
	}
	for sent := 0; sent < total; sent += len(burst) {
		inject(t, box, burst...)
	}
	frames, dropped, err := c.Stop()
	if err != nil {
		t.Fatal(err)
	}
	if want := (total + len(burst) - 1) / len(burst) * len(burst); len(frames)+dropped != want {
		t.Errorf("%d taken + %d dropped; want %d in all", len(frames), dropped, want)
	}
	t.Logf("%d frames, %d dropped", len(frames), dropped)
}
