package fsm

import (
	"fmt"
	"net/netip"
	"runtime"
	"testing"

	"google.golang.org/protobuf/proto"

	"holdline/fsm/pb"
)

// load is a machine filled with what real phones and calls leave behind.
type load struct {
	*replica
	refreshes uint32
}

func newLoad(t tester, users int) *load {
	l := &load{replica: cluster(t)}
	for from := 0; from < users; from += 500 {
		b := &pb.Batch{}
		for i := from; i < min(from+500, users); i++ {
			b.Commands = append(b.Commands, cmd(&pb.PutUser{User: &pb.User{Aor: phone(i), Ha1Md5: make([]byte, 16), Ha1Sha256: make([]byte, 32)}}))
		}
		l.apply(l.encode(b))
	}
	return l
}

func phone(i int) string { return fmt.Sprintf("4930%07d@example.com", i) }

func (l *load) encode(b *pb.Batch) []byte {
	l.Helper()
	e, err := proto.Marshal(&pb.Entry{TimeMs: l.time, Batches: []*pb.Batch{b}})
	if err != nil {
		l.Fatal(err)
	}
	return e
}

func (l *load) apply(e []byte) {
	l.Helper()
	l.index++
	for _, r := range l.Apply(l.index, e) {
		if r.Code != pb.Code_OK {
			l.Fatalf("%v", r)
		}
	}
}

// registration is phone i's REGISTER as a desk phone behind NAT sends it.
func (l *load) registration(i int) *pb.Command {
	l.refreshes++
	remote := netip.AddrPortFrom(netip.AddrFrom4([4]byte{198, 51, byte(i >> 8), byte(i)}), 40000)
	return cmd(&pb.Register{
		Aor: phone(i), CallId: fmt.Sprintf("%08x-%08x@192.168.1.20", i, i*7), Cseq: l.refreshes, Txn: fmt.Appendf(nil, "txn-%016d", l.refreshes),
		Group: 1, Epoch: 5, MaxBindings: 10,
		Changes: []*pb.BindingChange{{ExpiresS: 3600, Binding: &pb.Binding{
			Contact:  fmt.Sprintf("sip:4930%07d@192.168.1.20:5060;transport=udp", i),
			Params:   fmt.Sprintf(`;+sip.instance="<urn:uuid:00000000-0000-1000-8000-%012x>";reg-id=1`, i),
			Instance: fmt.Sprintf("urn:uuid:00000000-0000-1000-8000-%012x", i),
			RegId:    1, KeepsFlow: true, Q: 1000, UserAgent: fmt.Sprintf("Example Phone 8.%d", i%50), Flow: Flow{Group: 1, Remote: remote}.PB(),
		}}},
	})
}

func (l *load) register(phones int) {
	for from := 0; from < phones; from += 500 {
		b := &pb.Batch{}
		for i := from; i < min(from+500, phones); i++ {
			b.Commands = append(b.Commands, l.registration(i))
		}
		l.apply(l.encode(b))
	}
}

const benchInvite = "INVITE sip:493012345@example.com SIP/2.0\r\nVia: SIP/2.0/UDP 192.168.1.20:5060;branch=z9hG4bK1234567890abcdef;rport\r\n" +
	"Max-Forwards: 70\r\nFrom: <sip:49301@example.com>;tag=1234567890\r\nTo: <sip:493012345@example.com>\r\nContact: <sip:49301@192.168.1.20>\r\n" +
	"Call-ID: 0123456789abcdef0123456789abcdef@192.168.1.20\r\nCSeq: 1 INVITE\r\nContent-Type: application/sdp\r\nContent-Length: 200\r\n\r\n"

func benchCreate(i uint64) *pb.Command {
	return cmd(&pb.CreateCall{
		Key: fmt.Appendf(nil, "%020d", i), Home: 1, Epoch: 5, Domain: "example.com", CallId: fmt.Sprintf("%032x@192.168.1.20", i), FromTag: "1234567890",
		FromUri: "sip:49301@example.com", ToUri: "sip:493012345@example.com", Caller: remote("198.51.100.1:40000"),
		Invite:  append([]byte(benchInvite), make([]byte, 200)...),
		Targets: []*pb.Target{{Uri: "sip:493012345@192.168.1.30:5060;transport=udp", Aor: "493012345@example.com", Q: 1000, Flow: remote("198.51.100.2:40000")}},
	})
}

func benchAnswer(n uint64) *pb.Command {
	return cmd(&pb.AnswerCall{Call: n, Home: 1, Epoch: 5, ToTag: fmt.Sprintf("tag%016x", n), CalleeContact: "sip:493012345@192.168.1.30:5060;transport=udp"})
}

func benchEnd(n uint64) *pb.Command {
	return cmd(&pb.EndCall{Call: n, Home: 1, Epoch: 5, ToTag: fmt.Sprintf("tag%016x", n)})
}

// establish makes calls up to number n, all answered.
func (l *load) establish(n uint64) {
	for from := l.st.meta.lastCall; from < n; from += 200 {
		b := &pb.Batch{}
		for i := from + 1; i <= min(from+200, n); i++ {
			b.Commands = append(b.Commands, benchCreate(i), benchAnswer(i))
		}
		l.apply(l.encode(b))
	}
}

func liveHeap() uint64 {
	runtime.GC()
	runtime.GC()
	var s runtime.MemStats
	runtime.ReadMemStats(&s)
	return s.HeapAlloc
}

// TestMemory holds the budgets of live heap per registration and per established call, after refreshes in random order
// have spread the trees.
func TestMemory(t *testing.T) {
	if testing.Short() {
		t.Skip("fills the heap")
	}
	const phones, calls = 100_000, 20_000
	l := newLoad(t, phones)
	l.log = nil
	before := liveHeap()
	l.register(phones)
	l.time += 1000
	l.register(phones) // once more, as refreshes
	per := int64(liveHeap()-before) / phones
	t.Logf("%d B per registration", per)
	if per > 800 {
		t.Errorf("%d B per registration, the budget is 800", per)
	}
	before = liveHeap()
	l.establish(calls)
	per = int64(liveHeap()-before) / calls
	t.Logf("%d B per established call", per)
	if per > 2048 {
		t.Errorf("%d B per established call, the budget is 2048", per)
	}
	runtime.KeepAlive(l)
}
