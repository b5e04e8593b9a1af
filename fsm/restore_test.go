package fsm

import (
	"bytes"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"holdline/fsm/pb"
)

// sample is a machine with a row of every kind.
func sample(t tester) *replica {
	r := cluster(t)
	id := r.must(cmd(&pb.OpenSession{Node: "u1", Nonce: 1})).Id
	r.entry(&pb.Batch{Session: id, FirstSeq: 1, Commands: []*pb.Command{newCall("k"), poolCall("p", 1), setting("v")}})
	r.must(
		register("user1@example.com", "c", 1, "t", contact("sip:a@192.0.2.1", 60)),
		cmd(&pb.PutToken{Hash: []byte("0123456789abcdef"), ExpiresWallMs: 1 << 50}),
		cmd(&pb.PutKey{Purpose: "nonce", Id: 1, Secret: []byte("x")}),
		cmd(&pb.PutKey{Purpose: "nonce", Id: 2, Secret: []byte("y")}),
		cmd(&pb.PutRoute{Route: &pb.Route{Domain: "example.com", Pool: "carriers"}}),
		cmd(&pb.PutPool{Pool: &pb.Pool{Name: "w", Algorithm: Weighted}}),
		newCall("over"),
		cmd(&pb.EndCall{Call: 3, Home: 1, Epoch: 5}),
		cmd(&pb.PutCursor{Name: "billing"}),
	)
	return r
}

func TestRestoreReplacesEverythingOrNothing(t *testing.T) {
	r := sample(t)
	image := r.bytes()
	other := cluster(t)
	other.must(cmd(&pb.PutDomain{Domain: &pb.Domain{Name: "gone.example"}}))
	var told []Event
	other.Watch(func(e Event) { told = append(told, e) })
	before := other.bytes()
	for n := range image { // every way to cut it off, and a flipped bit in every byte
		if err := other.Restore(bytes.NewReader(image[:n])); err == nil {
			t.Fatalf("%d of %d bytes were taken for a snapshot", n, len(image))
		}
		bad := bytes.Clone(image)
		bad[n] ^= 0x10
		if err := other.Restore(bytes.NewReader(bad)); err == nil {
			t.Fatalf("a flipped bit in byte %d went unnoticed", n)
		}
	}
	if err := other.Restore(bytes.NewReader(append(bytes.Clone(image), 0))); !errors.Is(err, errDamaged) {
		t.Fatalf("bytes after the end: %v", err)
	}
	newer := bytes.Clone(image)
	newer[len(snapshotMagic)-1]++
	if err := other.Restore(bytes.NewReader(newer)); err == nil || !strings.Contains(err.Error(), "format 2 is not known to this release") {
		t.Fatalf("a later format: %v", err)
	}
	if len(told) != 0 || !bytes.Equal(before, other.bytes()) {
		t.Fatal("a failed restore changed something")
	}
	if err := other.Restore(bytes.NewReader(image)); err != nil {
		t.Fatal(err)
	}
	if len(told) != 1 || told[0] != (Restored{r.Applied()}) || other.Config().Domain("gone.example") != nil || !bytes.Equal(image, other.bytes()) {
		t.Fatalf("restored: %v", told)
	}
	if other.Now() != r.Now() || other.Applied() != r.Applied() {
		t.Fatal("time and index belong to the snapshot")
	}
}

// failStop applies an entry and reports whether the machine stopped; any other panic is a failure.
func failStop(m *Machine, entry []byte) (stopped bool) {
	defer func() {
		if p := recover(); p != nil {
			if _, meant := p.(FailStop); !meant {
				panic(p)
			}
			stopped = true
		}
	}()
	m.Apply(m.Applied()+1, entry)
	return false
}

func TestFailStop(t *testing.T) {
	m := New()
	unknown := &pb.Command{}
	unknown.ProtoReflect().SetUnknown([]byte{0xfa, 0x7f, 0}) // field 2047: a command of a later release
	e, err := proto.Marshal(&pb.Entry{TimeMs: 5, Batches: []*pb.Batch{{Commands: []*pb.Command{setting("a"), unknown}}}})
	if err != nil {
		t.Fatal(err)
	}
	before := snapshotBytes(t, m)
	if !failStop(m, e) || !failStop(m, []byte{0xff}) {
		t.Error("what can't be applied stops the machine")
	}
	if !bytes.Equal(before, snapshotBytes(t, m)) {
		t.Error("nothing of the entry is applied")
	}
	if CheckCommand(unknown) == nil || CheckCommand(nil) == nil || CheckCommand(setting("a")) != nil {
		t.Error("the leader lets only known commands in")
	}
}

func FuzzApply(f *testing.F) {
	r := sample(f)
	image := r.bytes()
	for _, e := range r.log {
		b, err := proto.Marshal(e)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, entry []byte) {
		m := New()
		if err := m.Restore(bytes.NewReader(image)); err != nil {
			t.Fatal(err)
		}
		if failStop(m, entry) {
			return
		}
		checkDerived(t, m)
		after := snapshotBytes(t, m)
		if err := m.Restore(bytes.NewReader(after)); err != nil {
			t.Fatalf("what Apply made can't be restored: %v", err)
		}
	})
}

// reseal gives an image a right checksum, so that fuzzing comes past it.
func reseal(image []byte) []byte {
	if len(image) < 4 {
		return image
	}
	out := bytes.Clone(image)
	binary.BigEndian.PutUint32(out[len(out)-4:], crc32.Checksum(out[:len(out)-4], castagnoli()))
	return out
}

func FuzzRestore(f *testing.F) {
	f.Add(sample(f).bytes())
	f.Add(snapshotBytes(f, New()))
	f.Fuzz(func(t *testing.T, image []byte) {
		m := New()
		if m.Restore(bytes.NewReader(reseal(image))) == nil {
			checkDerived(t, m)
			snapshotBytes(t, m)
		}
	})
}
