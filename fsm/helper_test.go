package fsm

import (
	"bytes"
	"fmt"
	"net/netip"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"holdline/fsm/pb"
)

// tester is what tests, benchmarks and rapid's properties have in common.
type tester interface {
	Helper()
	Fatal(args ...any)
	Fatalf(format string, args ...any)
	Errorf(format string, args ...any)
}

// replica is a machine with a log in the making: each do is one entry of the leader's own.
type replica struct {
	tester
	*Machine
	index uint64
	time  int64
	log   []*pb.Entry
}

func newReplica(t tester) *replica {
	return &replica{tester: t, Machine: New(), time: 1_000_000}
}

func (r *replica) entry(batches ...*pb.Batch) []*pb.Result {
	r.Helper()
	e := &pb.Entry{TimeMs: r.time, WallMs: 1_700_000_000_000 + r.time, Batches: batches}
	r.log = append(r.log, e)
	b, err := proto.Marshal(e)
	if err != nil {
		r.Fatal(err)
	}
	r.index++
	return r.Apply(r.index, b)
}

func (r *replica) do(c *pb.Command) *pb.Result {
	r.Helper()
	return r.entry(&pb.Batch{Commands: []*pb.Command{c}})[0]
}

// must applies commands that have to succeed and returns the last result.
func (r *replica) must(cs ...*pb.Command) (last *pb.Result) {
	r.Helper()
	for _, c := range cs {
		if last = r.do(c); last.Code != pb.Code_OK {
			r.Fatalf("%v: %v %s", c, last.Code, last.Error)
		}
	}
	return last
}

func (r *replica) refused(c *pb.Command, code pb.Code, text string) {
	r.Helper()
	if got := r.do(c); got.Code != code || got.Error != text {
		r.Errorf("%v\n got %v %q\nwant %v %q", c, got.Code, got.Error, code, text)
	}
}

func (r *replica) bytes() []byte {
	r.Helper()
	return snapshotBytes(r, r.Machine)
}

func snapshotBytes(t tester, m *Machine) []byte {
	t.Helper()
	var b bytes.Buffer
	n, err := m.Snapshot().WriteTo(&b)
	if err != nil || n != int64(b.Len()) {
		t.Fatalf("write snapshot: %d of %d bytes, %v", n, b.Len(), err)
	}
	return b.Bytes()
}

// cluster is a configuration to make calls on: two nodes, two groups taken over with epoch 5, a domain, users, a pool.
func cluster(t tester) *replica {
	r := newReplica(t)
	r.must(
		cmd(&pb.PutNode{Node: &pb.Node{Uuid: "u1", Name: "n1", Listen: "10.77.0.11:7700", FeatureLevel: 1}}),
		cmd(&pb.PutNode{Node: &pb.Node{Uuid: "u2", Name: "n2", Listen: "10.77.0.12:7700", FeatureLevel: 1}}),
		cmd(&pb.PutGroup{Group: &pb.Group{Vips: []*pb.Vip{{Prefix: "10.77.0.101/24"}}, HomeNode: "u1"}}),
		cmd(&pb.PutGroup{Group: &pb.Group{Vips: []*pb.Vip{{Prefix: "10.77.0.102/24"}}, HomeNode: "u2"}}),
		cmd(&pb.PutDomain{Domain: &pb.Domain{Name: "example.com", Aliases: []string{"10.77.0.101"}}}),
		cmd(&pb.PutPool{Pool: &pb.Pool{Name: "carriers"}}),
		cmd(&pb.Takeover{Group: 1, Epoch: 5, Node: "u1"}),
		cmd(&pb.Takeover{Group: 2, Epoch: 5, Node: "u2"}),
	)
	for i := range 4 {
		r.must(user(fmt.Sprintf("user%d@example.com", i)))
	}
	for i := range 3 {
		r.must(cmd(&pb.PutMember{Member: &pb.Member{Pool: "carriers", Name: fmt.Sprintf("gw%d", i+1), Address: fmt.Sprintf("10.77.0.2%d:5080", i+1)}}))
	}
	return r
}

func user(aor string) *pb.Command {
	return cmd(&pb.PutUser{User: &pb.User{Aor: aor, Ha1Md5: make([]byte, 16)}})
}

// cmd wraps a command's message.
func cmd(op proto.Message) *pb.Command {
	c := &pb.Command{}
	fields := c.ProtoReflect().Descriptor().Fields()
	for i := range fields.Len() {
		if f := fields.Get(i); f.Message() == op.ProtoReflect().Descriptor() {
			c.ProtoReflect().Set(f, protoreflect.ValueOfMessage(op.ProtoReflect()))
			return c
		}
	}
	panic(fmt.Sprintf("%T is not a command", op))
}

func remote(s string) *pb.Flow {
	return Flow{Group: 1, Remote: netip.MustParseAddrPort(s)}.PB()
}

func register(aor, callID string, cseq uint32, txn string, changes ...*pb.BindingChange) *pb.Command {
	return cmd(&pb.Register{Aor: aor, CallId: callID, Cseq: cseq, Txn: []byte(txn), Changes: changes, Group: 1, Epoch: 5, MaxBindings: 3})
}

func contact(uri string, expires uint32) *pb.BindingChange {
	return &pb.BindingChange{ExpiresS: expires, Binding: &pb.Binding{Contact: uri, Flow: remote("192.0.2.7:5060"), Q: 1000}}
}
