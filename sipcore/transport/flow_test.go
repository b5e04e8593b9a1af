package transport

import (
	"net/netip"
	"testing"

	"holdline/fsm/pb"
)

func TestFlowRoundTrip(t *testing.T) {
	for _, f := range []Flow{
		{Port: DefaultPort},
		{Group: 3, VIP: 1, Proto: pb.Transport_TLS, Port: 5061, Remote: netip.MustParseAddrPort("192.0.2.1:40000"), Conn: 1 << 60},
		{Group: 1, Port: 5060, Remote: netip.MustParseAddrPort("[2001:db8::1]:5060")},
	} {
		got, err := FlowFromPB(f.PB())
		if err != nil || got != f {
			t.Errorf("%+v became %+v, %v", f, got, err)
		}
	}
}

func TestFlowFromForeignBytes(t *testing.T) {
	mapped, _ := netip.MustParseAddrPort("[::ffff:192.0.2.1]:5060").MarshalBinary()
	f, err := FlowFromPB(&pb.Flow{Remote: mapped})
	if err != nil || f.Remote != netip.MustParseAddrPort("192.0.2.1:5060") {
		t.Errorf("mapped address: %v %v", f.Remote, err)
	}
	for _, p := range []*pb.Flow{{Vip: 256}, {LocalPort: 65536}, {Remote: []byte{1, 2, 3}}} {
		if _, err := FlowFromPB(p); err == nil {
			t.Errorf("%v was accepted", p)
		}
	}
	if f, err := FlowFromPB(nil); err != nil || f != (Flow{}) {
		t.Errorf("nil: %v %v", f, err)
	}
}
