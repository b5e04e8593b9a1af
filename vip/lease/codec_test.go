package lease

import (
	"bytes"
	"errors"
	"reflect"
	"testing"
)

func testSealer(t testing.TB, ids ...uint32) *Sealer {
	t.Helper()
	var keys []Key
	for _, id := range ids {
		keys = append(keys, Key{ID: id, Secret: bytes.Repeat([]byte{byte(id)}, 32)})
	}
	s, err := NewSealer(keys...)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func fullPacket() *Packet {
	p := &Packet{
		From: 1, To: 255, Incarnation: 1 << 63, Seq: 77, PeerIncarnation: 3, Echo: 76, Epoch: 4, Ready: 5,
		Health: 9, Flags: FlagMute | FlagOutage, Grant: Fast().Grant,
	}
	for i := range uint32(MaxGroups) {
		p.Requests = append(p.Requests, Request{Group: i + 1, Ballot: uint64(i)<<8 | 1, Owned: i%2 == 0, Prio: uint16(i), Offer: i % 3})
		p.Grants = append(p.Grants, Grant{Group: i + 1, Ballot: uint64(i)<<8 | 2, Seq: uint64(i), Owned: i%3 == 0})
		p.Releases = append(p.Releases, Release{Group: i + 1, Ballot: uint64(i)<<8 | 1, To: i, Owned: i%5 == 0},
			Release{Group: i + 1, Ballot: uint64(i)<<9 | 1})
	}
	return p
}

func TestSealOpen(t *testing.T) {
	s := testSealer(t, 1)
	for _, want := range []*Packet{fullPacket(), {From: 2, To: 3, Incarnation: 1, Seq: 1, Requests: []Request{}, Grants: []Grant{}, Releases: []Release{}}} {
		b := s.Seal(nil, want)
		if len(b) > MaxDatagram {
			t.Errorf("datagram of %d bytes, more than MaxDatagram", len(b))
		}
		got := Packet{Requests: []Request{}, Grants: []Grant{}, Releases: []Release{}}
		if err := s.Open(&got, b); err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(&got, want) {
			t.Errorf("got %+v, want %+v", got, *want)
		}
	}
}

// TestOpenRefuses flips each bit and cuts at each length: nothing but the whole datagram is taken.
func TestOpenRefuses(t *testing.T) {
	s := testSealer(t, 1)
	b := s.Seal(nil, &Packet{From: 1, To: 2, Requests: []Request{{Group: 1, Ballot: 257}}})
	var p Packet
	for bit := range len(b) * 8 {
		b[bit/8] ^= 1 << (bit % 8)
		if s.Open(&p, b) == nil {
			t.Errorf("taken with bit %d flipped", bit)
		}
		b[bit/8] ^= 1 << (bit % 8)
	}
	for n := range b {
		if s.Open(&p, b[:n]) == nil {
			t.Errorf("taken though cut to %d bytes", n)
		}
	}
	if err := s.Open(&p, b); err != nil {
		t.Error(err)
	}
}

func TestKeyRotation(t *testing.T) {
	old, both, next, stranger := testSealer(t, 1), testSealer(t, 2, 1), testSealer(t, 2), testSealer(t, 3)
	p := &Packet{From: 1, To: 2}
	var got Packet
	if err := both.Open(&got, old.Seal(nil, p)); err != nil {
		t.Errorf("the old key is refused during rotation: %v", err)
	}
	if err := next.Open(&got, both.Seal(nil, p)); err != nil {
		t.Errorf("the first key is not the one that signs: %v", err)
	}
	if err := next.Open(&got, old.Seal(nil, p)); !errors.Is(err, ErrKey) {
		t.Errorf("the old key after rotation: %v, want %v", err, ErrKey)
	}
	if err := both.Open(&got, stranger.Seal(nil, p)); !errors.Is(err, ErrKey) {
		t.Errorf("a strange key: %v, want %v", err, ErrKey)
	}
	for _, keys := range [][]Key{nil, {{ID: 1, Secret: make([]byte, 15)}}} {
		if _, err := NewSealer(keys...); err == nil {
			t.Errorf("NewSealer takes %v", keys)
		}
	}
}

// FuzzOpen: whatever comes in, Open neither panics nor takes what Seal would not make.
func FuzzOpen(f *testing.F) {
	s := testSealer(f, 1)
	f.Add(s.Seal(nil, fullPacket()), false)
	f.Add(s.Seal(nil, &Packet{From: 1, To: 2}), true)
	f.Add([]byte("HL\x01"), true)
	f.Fuzz(func(t *testing.T, b []byte, sign bool) {
		if sign && len(b) >= macSize { // get past the MAC
			body := b[:len(b)-macSize]
			b = append(body[:len(body):len(body)], s.tag(&s.keys[0], body)...)
		}
		var p, again Packet
		if s.Open(&p, b) != nil {
			return
		}
		if len(p.Requests) > MaxGroups || len(p.Grants) > MaxGroups || len(p.Releases) > maxReleases {
			t.Fatalf("lists too long: %d, %d, %d", len(p.Requests), len(p.Grants), len(p.Releases))
		}
		if err := s.Open(&again, s.Seal(nil, &p)); err != nil || !reflect.DeepEqual(p, again) {
			t.Fatalf("%+v came back as %+v: %v", p, again, err)
		}
	})
}

// FuzzReceive: an authentic peer gone mad does not crash a core, and gets it to own nothing it was not granted.
func FuzzReceive(f *testing.F) {
	s := testSealer(f, 1)
	f.Add(s.Seal(nil, fullPacket()), int64(ms), uint64(3))
	f.Fuzz(func(t *testing.T, b []byte, step int64, seq uint64) {
		body := b[:max(0, len(b)-macSize)]
		b = append(body[:len(body):len(body)], s.tag(&s.keys[0], body)...)
		var p Packet
		if s.Open(&p, b) != nil {
			return
		}
		core, err := New(Options{Node: 2, Incarnation: 9, Config: testConfig(3, 2)}, 0)
		if err != nil {
			t.Fatal(err)
		}
		p.From, p.To, p.PeerIncarnation = 1, 2, 9
		now := int64(0)
		for range 5 {
			p.Seq, p.Echo = p.Seq+seq, core.seq
			core.SetServing(now, 0, true)
			core.Receive(now, &p)
			now += max(0, min(step, 400*ms))
			core.Tick(now)
			if core.NextDeadline() <= now && !core.flush {
				t.Fatalf("deadline %d is not after %d", core.NextDeadline(), now)
			}
		}
	})
}
