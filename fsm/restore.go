package fsm

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"

	"google.golang.org/protobuf/proto"

	"holdline/fsm/pb"
)

// maxRecord bounds a record that is read: the largest is a call with its INVITE, or some results.
const maxRecord = 64 << 20

var errDamaged = errors.New("the snapshot is damaged; remove it and let this node fetch another from its peers")

// Restore replaces everything by what a snapshot holds, or nothing when it can't be read, and tells the watchers.
func (m *Machine) Restore(r io.Reader) error {
	in := &restorer{st: newState(), names: map[string]string{}}
	if err := in.read(r); err != nil {
		return fmt.Errorf("restore snapshot: %w", err)
	}
	if m.known != 0 && in.meta.FeatureLevel > m.known {
		return fmt.Errorf("restore snapshot: the cluster runs at feature level %d and this release knows only %d: install the release the other nodes run", in.meta.FeatureLevel, m.known)
	}
	config := in.st.view()
	m.mu.Lock()
	m.st = in.st
	m.mu.Unlock()
	m.now.Store(in.meta.TimeMs)
	m.lived.Store(in.meta.TimeMs + in.meta.OutageMs)
	m.wall.Store(in.meta.WallMs)
	m.config.Store(config)
	m.applied.Store(in.meta.Applied)
	m.tell([]Event{Restored{in.meta.Applied}})
	return nil
}

type restorer struct {
	st    *state
	meta  *pb.Meta
	last  kind
	key   string            // of the last record of this kind: keys rise
	names map[string]string // domains, pools, members: one string each
	bad   error
}

func (in *restorer) read(r io.Reader) error {
	sr := &snapshotReader{in: bufio.NewReaderSize(r, 256<<10), sum: crc32.New(castagnoli())}
	magic, err := sr.bytes(len(snapshotMagic))
	if err != nil {
		return err
	}
	if v := len(snapshotMagic) - 1; string(magic[:v]) != snapshotMagic[:v] {
		return errDamaged
	} else if magic[v] != snapshotMagic[v] {
		return fmt.Errorf("its format %d is not known to this release: install the release the other nodes run", magic[v])
	}
	for count := uint64(0); ; count++ {
		giveWay(count)
		k, err := sr.byte()
		if err != nil {
			return err
		}
		if kind(k) == kindEnd {
			return in.finish(sr, count)
		}
		b, err := sr.record()
		if err != nil {
			return err
		}
		if err := in.record(kind(k), b); err != nil {
			return err
		}
	}
}

func (in *restorer) finish(sr *snapshotReader, count uint64) error {
	n, err := sr.bytes(8)
	if err != nil {
		return err
	}
	want := sr.sum.Sum32()
	if binary.BigEndian.Uint64(n) != count {
		return errDamaged
	}
	sum, err := sr.bytes(4)
	if err != nil {
		return err
	}
	if binary.BigEndian.Uint32(sum) != want || in.meta == nil {
		return errDamaged
	}
	if _, err := sr.in.ReadByte(); !errors.Is(err, io.EOF) {
		return errDamaged // something follows
	}
	var broken bool
	in.st.sessions.scan(func(_ uint64, s *session) bool {
		broken = broken || s.next < s.acked || s.next-s.acked != uint64(len(s.results))
		return !broken
	})
	cdrs := &in.st.cdrs
	if broken || cdrs.rows.len() > 0 && cdrs.last != in.meta.LastCdr {
		return errDamaged
	}
	cdrs.last = in.meta.LastCdr
	return nil
}

// message is what of a generated message is needed to read a row.
type message[T any] interface {
	*T
	proto.Message
}

func decode[T any, P message[T]](in *restorer, b []byte) P {
	row := P(new(T))
	if err := proto.Unmarshal(b, row); err != nil {
		in.bad = fmt.Errorf("%w: %w", errDamaged, err)
	}
	return row
}

// rises checks that rows come sorted and once.
func (in *restorer) rises(key string) bool {
	if in.bad == nil && in.key >= key {
		in.bad = errDamaged
	}
	in.key = key
	return in.bad == nil
}

func number(n uint64) string { return string(binary.BigEndian.AppendUint64([]byte{1}, n)) }

func (in *restorer) record(k kind, b []byte) error {
	if k < in.last || (in.last == 0) != (k == kindMeta) {
		return errDamaged
	}
	if k != in.last {
		in.last, in.key = k, ""
	}
	if k <= kindRoute {
		in.config(k, b)
	} else {
		in.row(k, b)
	}
	return in.bad
}

func (in *restorer) config(k kind, b []byte) {
	c := &in.st.conf
	switch k {
	case kindMeta:
		in.meta = decode[pb.Meta](in, b)
		c.Version, c.FeatureLevel = in.meta.ConfigVersion, in.meta.FeatureLevel
		in.st.meta = meta{in.meta.LastSession, in.meta.LastCall, in.meta.LastNode, in.meta.LastGroup, in.meta.OutageMs}
	case kindNode:
		if n := decode[pb.Node](in, b); in.rises(number(uint64(n.Number))) {
			c.nodes = append(c.nodes, n)
		}
	case kindGroup:
		if g := decode[pb.Group](in, b); in.rises(number(uint64(g.Number))) {
			c.groups = append(c.groups, g)
			c.vips = vipTable(c.groups)
		}
	case kindToken:
		if t := decode[pb.Token](in, b); in.rises(string(t.Hash)) {
			c.tokens[string(t.Hash)] = t
		}
	case kindKey:
		if p := decode[pb.PutKey](in, b); in.rises(p.Purpose + "\x00" + number(^uint64(p.Id))) { // newest first
			c.keys[p.Purpose] = append(c.keys[p.Purpose], p)
		}
	case kindSetting:
		if s := decode[pb.PutSetting](in, b); in.rises(s.Name) {
			c.setting[s.Name] = s.Value
		}
	case kindDomain:
		if d := decode[pb.Domain](in, b); in.rises(d.Name) {
			c.setDomain(d)
			in.names[d.Name] = d.Name
		}
	case kindUser:
		if u := decode[pb.User](in, b); in.rises(u.Aor) {
			in.user(u)
		}
	case kindPool:
		if p := decode[pb.Pool](in, b); in.rises(p.Name) {
			c.pools[p.Name] = &Pool{Name: p.Name, Algorithm: p.Algorithm}
			c.sourcesDirty = true
			in.names[p.Name] = p.Name
		}
	case kindMember:
		m := decode[pb.Member](in, b)
		if p := c.pools[m.Pool]; p == nil {
			in.bad = errDamaged
		} else if in.rises(m.Pool + "\x00" + m.Name) {
			p.Members = append(p.Members, m)
			in.names[m.Name] = m.Name
		}
	case kindRoute:
		if r := decode[pb.Route](in, b); in.rises(r.Domain + "\x00" + r.Prefix) {
			d, found := c.routes.get(r.Domain)
			if !found {
				d = &domainRoutes{byPrefix: map[string]*pb.Route{}}
				c.routes.set(r.Domain, d)
			}
			d.byPrefix[r.Prefix] = r
			d.longest = max(d.longest, len(r.Prefix))
		}
	}
}

func (in *restorer) row(k kind, b []byte) {
	switch k {
	case kindRotation:
		if p := decode[pb.PoolState](in, b); in.rises(p.Pool) {
			in.st.calls.rotation[p.Pool] = rotationFromPB(p)
		}
	case kindSession:
		if s := decode[pb.Session](in, b); in.rises(number(s.Id)) {
			in.st.sessions.set(s.Id, &session{id: s.Id, node: s.Node, nonce: s.Nonce, next: s.NextSeq, acked: s.Acked, last: s.LastMs})
		}
	case kindResults:
		s := decode[pb.Session](in, b)
		if to, found := in.st.sessions.get(s.Id); found {
			to.results = append(to.results, s.Results...)
		} else {
			in.bad = errDamaged
		}
	case kindRegistration:
		if r := decode[pb.Registration](in, b); in.rises(r.Aor) && len(r.Txn) == 8 {
			row := rowFromPB(r)
			if u := in.st.conf.User(r.Aor); u != nil {
				row.aor = u.AoR
			}
			in.st.regs.put(nil, row.stored(nil))
		} else {
			in.bad = errDamaged
		}
	case kindCall:
		c := callFromPB(decode[pb.Call](in, b))
		if !in.rises(number(c.Number)) || c.Number >= 1<<48 || c.Home > maxNumber || c.Key == "" || in.st.calls.byKey[c.Key] != nil {
			in.bad = errDamaged
			return
		}
		in.share(c)
		in.st.calls.put(nil, c)
	case kindCertificate:
		if c := decode[pb.Certificate](in, b); in.rises(c.Domain) {
			in.st.conf.certificates[c.Domain] = c
		}
	case kindCursor:
		if c := decode[pb.Cursor](in, b); in.rises(c.Name) {
			in.st.cdrs.cursors[c.Name] = c
		}
	case kindCDR:
		c := decode[pb.Cdr](in, b)
		if last := in.st.cdrs.last; c.Number == 0 || in.st.cdrs.rows.len() > 0 && c.Number != last+1 {
			in.bad = errDamaged
			return
		}
		in.st.cdrs.last = c.Number
		in.st.cdrs.rows.set(c.Number, cdrRow{c.EndedMs, bytes.Clone(b)})
	default:
		in.bad = fmt.Errorf("record kind %d is not known to this release: install the release the other nodes run", k)
	}
}

// share gives a call the strings that the configuration has already.
func (in *restorer) share(c *Call) {
	one := func(s *string) {
		if known, ok := in.names[*s]; ok {
			*s = known
		}
	}
	one(&c.Domain)
	one(&c.Pool)
	for i := range c.Legs {
		one(&c.Legs[i].Target.Pool)
		one(&c.Legs[i].Target.Member)
	}
}

// user reads a user. No name is two users': users come by name, so an alias may be that of one who is yet to come.
func (in *restorer) user(p *pb.User) {
	c := &in.st.conf
	u := &User{AoR: p.Aor, HasMD5: len(p.Ha1Md5) == 16, HasSHA2: len(p.Ha1Sha256) == 32, MaxCalls: p.MaxCalls}
	copy(u.MD5[:], p.Ha1Md5)
	copy(u.SHA256[:], p.Ha1Sha256)
	if c.aliasOf(u.AoR) != nil || (len(p.Aliases) > 0 || p.Identity != "") && c.rename(u, p.Aliases, nil, &p.Identity) != nil {
		in.bad = errDamaged
		return
	}
	c.setUser(u)
}

func rotationFromPB(in *pb.PoolState) *rotation {
	r := &rotation{cursor: in.Cursor}
	if len(in.Members) > 0 {
		r.current = map[string]int64{}
	}
	for _, m := range in.Members {
		r.current[m.Name] = m.Current
	}
	return r
}

func rowFromPB(in *pb.Registration) regRow {
	r := regRow{aor: in.Aor, callID: in.CallId, cseq: in.Cseq, txn: binary.BigEndian.Uint64(in.Txn), goneMs: in.GoneMs}
	if len(in.Bindings) > 0 {
		r.bindings = make([]Binding, len(in.Bindings))
	}
	for i, b := range in.Bindings {
		r.bindings[i] = bindingFromPB(b)
	}
	return r
}
