package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"path/filepath"

	"github.com/hashicorp/raft"
	"google.golang.org/protobuf/proto"

	"holdline/domains"
	"holdline/fsm"
	"holdline/fsm/pb"
)

// fillBatch is how many rows an entry makes: the state machine is driven directly, no log is written.
const fillBatch = 500

// filling is what a node is to hold.
type filling struct {
	registrations int // of as many users; the refresher's own Contact and Call-ID
	calls         int // answered, through the gateway
}

// fill makes rows in a node's state by the state machine's own commands: it takes a backup, stops the node, and lays a snapshot with
// the rows over the one the backup was made of.
func (h *holdline) fill(ctx context.Context, dir string, f filling, stop func() error) error {
	var state bytes.Buffer
	if err := h.clients[0].Backup(ctx, &state); err != nil {
		return err
	}
	if err := stop(); err != nil {
		return err
	}
	m := fsm.New()
	if err := m.Restore(&state); err != nil {
		return err
	}
	groups := m.Config().Groups()
	if len(groups) == 0 {
		return errors.New("the node has no VIP group")
	}
	group := groups[0]
	for from := 0; from < f.registrations; from += fillBatch {
		var rows []*pb.Command
		for i := from; i < min(from+fillBatch, f.registrations); i++ {
			rows = append(rows, registeredUser(i, group)...)
		}
		if err := applyAll(m, rows); err != nil {
			return err
		}
	}
	for from := 0; from < f.calls; from += fillBatch {
		var create, answer []*pb.Command
		for i := from; i < min(from+fillBatch, f.calls); i++ {
			create = append(create, heldCall(i, group))
		}
		numbers, err := apply(m, create)
		if err != nil {
			return err
		}
		for _, n := range numbers {
			answer = append(answer, &pb.Command{Op: &pb.Command_AnswerCall{AnswerCall: &pb.AnswerCall{
				Call: n, Home: group.Number, Epoch: group.Epoch, ToTag: fmt.Sprintf("held%08x", n),
				CalleeContact: "sip:" + gatewayAddr + ":5060", CallerContact: "sip:" + callerAddr + ":6000",
			}}})
		}
		if err := applyAll(m, answer); err != nil {
			return err
		}
	}
	return layOver(dir, m)
}

// registeredUser is user i with the binding that the refresher's REGISTER renews.
func registeredUser(i int, group *pb.Group) []*pb.Command {
	u := newRefreshed(i)
	weak, strong := domains.HA1(u.name, benchDomain, benchPassword)
	aor := u.name + "@" + benchDomain
	remote := netip.AddrPortFrom(netip.MustParseAddr(callerAddr), uint16(u.port()))
	return []*pb.Command{
		{Op: &pb.Command_PutUser{PutUser: &pb.PutUser{User: &pb.User{Aor: aor, Ha1Md5: weak[:], Ha1Sha256: strong[:]}}}},
		{Op: &pb.Command_Register{Register: &pb.Register{
			Aor: aor, CallId: u.callID(), Cseq: 1, Txn: []byte(aor), Group: group.Number, Epoch: group.Epoch,
			Changes: []*pb.BindingChange{{ExpiresS: 12 * 3600, Binding: &pb.Binding{
				Contact: u.contact(), Q: 1000, Flow: fsm.Flow{Group: group.Number, Remote: remote}.PB(),
			}}},
		}}},
	}
}

func heldCall(i int, group *pb.Group) *pb.Command {
	return &pb.Command{Op: &pb.Command_CreateCall{CreateCall: &pb.CreateCall{
		Key: fmt.Appendf(nil, "held-%015d", i), Home: group.Number, Epoch: group.Epoch, Domain: benchDomain,
		CallId: fmt.Sprintf("held-%08d@%s", i, callerAddr), FromTag: fmt.Sprintf("from%08d", i), FromUri: "sip:caller@" + benchDomain,
		ToUri: fmt.Sprintf("sip:%08d@%s", i, benchDomain), Pool: "gateways", RequestUser: fmt.Sprintf("%08d", i),
		Caller: fsm.Flow{Group: group.Number, Remote: netip.AddrPortFrom(netip.MustParseAddr(callerAddr), 6000)}.PB(), Origin: "callers/c1",
	}}}
}

func applyAll(m *fsm.Machine, commands []*pb.Command) error {
	_, err := apply(m, commands)
	return err
}

// apply applies commands at the index and time that the state is of, and returns the numbers their results name.
func apply(m *fsm.Machine, commands []*pb.Command) ([]uint64, error) {
	entry, err := proto.Marshal(&pb.Entry{TimeMs: m.Now(), Batches: []*pb.Batch{{Commands: commands}}})
	if err != nil {
		return nil, err
	}
	var ids []uint64
	for _, r := range m.Apply(m.Applied(), entry) {
		if r.Code != pb.Code_OK {
			return nil, errors.New(r.Error)
		}
		ids = append(ids, r.Id)
	}
	return ids, nil
}

// layOver writes the machine as the newest snapshot of a stopped node: what its log holds after that index is applied to it.
func layOver(dir string, m *fsm.Machine) error {
	store, err := raft.NewFileSnapshotStore(dir, 2, io.Discard)
	if err != nil {
		return err
	}
	list, err := store.List()
	if err != nil || len(list) == 0 {
		return errors.Join(fmt.Errorf("%s holds no snapshot", filepath.Join(dir, "snapshots")), err)
	}
	old := list[0]
	_, none := raft.NewInmemTransport("") // only an older format asks it for addresses
	sink, err := store.Create(old.Version, old.Index, old.Term, old.Configuration, old.ConfigurationIndex, none)
	if err != nil {
		return err
	}
	if _, err := m.Snapshot().WriteTo(sink); err != nil {
		return errors.Join(err, sink.Cancel())
	}
	return sink.Close()
}
