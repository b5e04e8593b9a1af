package lease

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
)

// The datagram: a header of fixed size, the three lists, the MAC over all before it. Integers are big-endian.
//
//	 0 magic "HL"   2 version   3 flags   4 key id
//	 8 from   9 to   10 requests   11 grants   12 releases   13 (3 bytes 0)
//	16 incarnation   24 seq   32 peer incarnation   40 echo   48 epoch   56 ready
//	64 health   68 grant in µs   72 lists
const (
	wireVersion  = 1
	headerSize   = 72
	requestSize  = 16
	grantSize    = 21
	releaseSize  = 14
	macSize      = 16
	maxReleases  = 2 * MaxGroups
	minKeySize   = 16
	flagOwned    = 1
	microseconds = 1000
)

// MaxDatagram is the size of the largest encoded packet, in bytes. Up to some 35 groups fit an Ethernet frame.
const MaxDatagram = headerSize + MaxGroups*(requestSize+grantSize) + maxReleases*releaseSize + macSize

// Errors of Open.
var (
	ErrDatagram = errors.New("not a lease packet")
	ErrKey      = errors.New("lease packet with an unknown key")
	ErrMAC      = errors.New("lease packet with a wrong MAC")
)

// Key authenticates packets. Secret has at least 16 bytes.
type Key struct {
	ID     uint32
	Secret []byte
}

// Sealer encodes, decodes and authenticates packets (HMAC-SHA-256, first 128 bits). Not safe for concurrent use.
type Sealer struct {
	keys []sealKey
	sum  [sha256.Size]byte
}

type sealKey struct {
	id  uint32
	mac hash.Hash
}

// NewSealer returns a Sealer that signs with the first key and accepts all (two during a rotation).
func NewSealer(keys ...Key) (*Sealer, error) {
	if len(keys) == 0 {
		return nil, errors.New("lease: make sealer: no key given")
	}
	s := &Sealer{}
	for _, k := range keys {
		if len(k.Secret) < minKeySize {
			return nil, fmt.Errorf("lease: make sealer: key %d has %d bytes; at least %d are needed", k.ID, len(k.Secret), minKeySize)
		}
		s.keys = append(s.keys, sealKey{k.ID, hmac.New(sha256.New, k.Secret)})
	}
	return s, nil
}

func (s *Sealer) tag(k *sealKey, b []byte) []byte {
	k.mac.Reset()
	k.mac.Write(b) // a hash never fails
	return k.mac.Sum(s.sum[:0])[:macSize]
}

// Seal appends the encoded packet to dst. Lists longer than the protocol allows are cut.
func (s *Sealer) Seal(dst []byte, p *Packet) []byte {
	start := len(dst)
	requests := p.Requests[:min(len(p.Requests), MaxGroups)]
	grants := p.Grants[:min(len(p.Grants), MaxGroups)]
	releases := p.Releases[:min(len(p.Releases), maxReleases)]
	be := binary.BigEndian
	dst = append(dst, 'H', 'L', wireVersion, p.Flags)
	dst = be.AppendUint32(dst, s.keys[0].id)
	dst = append(dst, byte(p.From), byte(p.To), byte(len(requests)), byte(len(grants)), byte(len(releases)), 0, 0, 0)
	dst = be.AppendUint64(dst, p.Incarnation)
	dst = be.AppendUint64(dst, p.Seq)
	dst = be.AppendUint64(dst, p.PeerIncarnation)
	dst = be.AppendUint64(dst, p.Echo)
	dst = be.AppendUint64(dst, p.Epoch)
	dst = be.AppendUint64(dst, p.Ready)
	dst = be.AppendUint32(dst, p.Health)
	dst = be.AppendUint32(dst, uint32(p.Grant/microseconds))
	for i := range requests {
		r := &requests[i]
		dst = be.AppendUint32(dst, r.Group)
		dst = be.AppendUint64(dst, r.Ballot)
		dst = be.AppendUint16(dst, r.Prio)
		dst = append(dst, ownedFlag(r.Owned), byte(r.Offer))
	}
	for i := range grants {
		g := &grants[i]
		dst = be.AppendUint32(dst, g.Group)
		dst = be.AppendUint64(dst, g.Ballot)
		dst = be.AppendUint64(dst, g.Seq)
		dst = append(dst, ownedFlag(g.Owned))
	}
	for i := range releases {
		r := &releases[i]
		dst = be.AppendUint32(dst, r.Group)
		dst = be.AppendUint64(dst, r.Ballot)
		dst = append(dst, byte(r.To), ownedFlag(r.Owned))
	}
	return append(dst, s.tag(&s.keys[0], dst[start:])...)
}

func ownedFlag(owned bool) byte {
	if owned {
		return flagOwned
	}
	return 0
}

// Open decodes b into p, whose slices it reuses. It keeps no reference to b. When it fails p's content is undefined.
func (s *Sealer) Open(p *Packet, b []byte) error {
	if len(b) < headerSize+macSize || len(b) > MaxDatagram || b[0] != 'H' || b[1] != 'L' || b[2] != wireVersion {
		return ErrDatagram
	}
	nr, ng, nl := int(b[10]), int(b[11]), int(b[12])
	if nr > MaxGroups || ng > MaxGroups || nl > maxReleases ||
		len(b) != headerSize+nr*requestSize+ng*grantSize+nl*releaseSize+macSize {
		return ErrDatagram
	}
	be := binary.BigEndian
	key := s.key(be.Uint32(b[4:]))
	if key == nil {
		return ErrKey
	}
	body, tag := b[:len(b)-macSize], b[len(b)-macSize:]
	if !hmac.Equal(tag, s.tag(key, body)) {
		return ErrMAC
	}
	*p = Packet{
		From: uint32(b[8]), To: uint32(b[9]), Flags: b[3],
		Incarnation: be.Uint64(b[16:]), Seq: be.Uint64(b[24:]), PeerIncarnation: be.Uint64(b[32:]), Echo: be.Uint64(b[40:]),
		Epoch: be.Uint64(b[48:]), Ready: be.Uint64(b[56:]),
		Health: be.Uint32(b[64:]), Grant: int64(be.Uint32(b[68:])) * microseconds,
		Requests: p.Requests[:0], Grants: p.Grants[:0], Releases: p.Releases[:0],
	}
	at := body[headerSize:]
	for ; nr > 0; nr-- {
		p.Requests = append(p.Requests, Request{
			Group: be.Uint32(at), Ballot: be.Uint64(at[4:]), Prio: be.Uint16(at[12:]),
			Owned: at[14]&flagOwned != 0, Offer: uint32(at[15]),
		})
		at = at[requestSize:]
	}
	for ; ng > 0; ng-- {
		p.Grants = append(p.Grants, Grant{
			Group: be.Uint32(at), Ballot: be.Uint64(at[4:]), Seq: be.Uint64(at[12:]), Owned: at[20]&flagOwned != 0,
		})
		at = at[grantSize:]
	}
	for ; nl > 0; nl-- {
		p.Releases = append(p.Releases, Release{
			Group: be.Uint32(at), Ballot: be.Uint64(at[4:]), To: uint32(at[12]), Owned: at[13]&flagOwned != 0,
		})
		at = at[releaseSize:]
	}
	return nil
}

func (s *Sealer) key(id uint32) *sealKey {
	for i := range s.keys {
		if s.keys[i].id == id {
			return &s.keys[i]
		}
	}
	return nil
}
