package fsm

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"hash"
	"hash/crc32"
	"io"
	"maps"
	"runtime"

	"google.golang.org/protobuf/proto"

	"holdline/fsm/pb"
)

// A snapshot is snapshotMagic, records of (kind, uvarint length, protobuf), sorted by kind and key, and an end record
// with the number of records and a CRC-32C of all before. Two replicas in the same state write the same bytes.
const snapshotMagic = "HLFSM\x00\x00\x01" // the last byte is the format's version

type kind byte

const (
	kindMeta kind = iota + 1
	kindNode
	kindGroup
	kindToken
	kindKey
	kindSetting
	kindDomain
	kindUser
	kindPool
	kindMember
	kindRoute
	kindRotation
	kindSession
	kindResults
	kindRegistration
	kindCall
	kindCertificate
	kindCursor
	kindCDR
	kindEnd kind = 0xff
)

// resultsPerRecord bounds the size of a record: a session may keep thousands of results.
const resultsPerRecord = 32

// Snapshot is the whole state at one index. It shares its rows with the machine, which goes on meanwhile.
type Snapshot struct {
	config  *Config
	tokens  map[string]*pb.Token
	meta    *pb.Meta
	turns   map[string]*rotation
	session []*session
	regs    listing[*regRow]
	calls   tree[uint64, *Call]
	cursors map[string]*pb.Cursor
	cdrs    tree[uint64, cdrRow]
}

// Snapshot takes a snapshot. What it costs doesn't depend on the number of users, registrations and calls.
func (m *Machine) Snapshot() *Snapshot {
	m.mu.Lock()
	defer m.mu.Unlock()
	st := m.st
	s := &Snapshot{
		config: st.view(),
		tokens: maps.Clone(st.conf.tokens),
		turns:  make(map[string]*rotation, len(st.calls.rotation)),
		regs:   st.regs.rows.copy(),
		calls:  st.calls.rows.copy(),

		cursors: maps.Clone(st.cdrs.cursors),
		cdrs:    st.cdrs.rows.copy(),
	}
	for name, r := range st.calls.rotation {
		s.turns[name] = r.clone()
	}
	st.sessions.scan(func(_ uint64, v *session) bool {
		s.session = append(s.session, v)
		return true
	})
	s.meta = &pb.Meta{
		Applied: m.applied.Load(), TimeMs: m.now.Load(), WallMs: m.wall.Load(), FeatureLevel: s.config.FeatureLevel, ConfigVersion: s.config.Version,
		LastSession: st.meta.lastSession, LastCall: st.meta.lastCall, LastNode: st.meta.lastNode, LastGroup: st.meta.lastGroup,
		LastCdr: st.cdrs.last, OutageMs: st.meta.outage,
	}
	return s
}

// Applied is the index of the last entry the snapshot holds.
func (s *Snapshot) Applied() uint64 { return s.meta.Applied }

// WriteTo writes the snapshot. It may take its time and may be called more than once.
func (s *Snapshot) WriteTo(w io.Writer) (int64, error) {
	sw := &snapshotWriter{out: bufio.NewWriterSize(w, 256<<10), sum: crc32.New(castagnoli())}
	sw.write([]byte(snapshotMagic))
	s.writeConfig(sw)
	s.writeSessions(sw)
	s.regs.scan(func(r *regRow) bool {
		sw.record(kindRegistration, r.pb())
		return sw.err == nil
	})
	s.calls.scan(func(_ uint64, c *Call) bool {
		sw.record(kindCall, c.pb())
		return sw.err == nil
	})
	s.config.Certificates(func(c *pb.Certificate) bool { sw.record(kindCertificate, c); return sw.err == nil })
	for _, name := range sortedKeys(s.cursors) {
		sw.record(kindCursor, s.cursors[name])
	}
	s.cdrs.scan(func(_ uint64, r cdrRow) bool {
		sw.raw(kindCDR, r.data)
		return sw.err == nil
	})
	sw.end()
	if sw.err != nil {
		return sw.n, fmt.Errorf("write snapshot: %w", sw.err)
	}
	return sw.n, nil
}

func (s *Snapshot) writeConfig(sw *snapshotWriter) {
	c := s.config
	sw.record(kindMeta, s.meta)
	for _, n := range c.nodes {
		sw.record(kindNode, n)
	}
	for _, g := range c.groups {
		sw.record(kindGroup, g)
	}
	for _, h := range sortedKeys(s.tokens) {
		sw.record(kindToken, s.tokens[h])
	}
	for _, p := range sortedKeys(c.keys) {
		for _, k := range c.keys[p] {
			sw.record(kindKey, k)
		}
	}
	for _, name := range sortedKeys(c.setting) {
		sw.record(kindSetting, &pb.PutSetting{Name: name, Value: c.setting[name]})
	}
	c.Domains(func(d *pb.Domain) bool { sw.record(kindDomain, d); return sw.err == nil })
	c.Users(func(u *User) bool { sw.record(kindUser, u.pb()); return sw.err == nil })
	for _, name := range sortedKeys(c.pools) {
		sw.record(kindPool, &pb.Pool{Name: name, Algorithm: c.pools[name].Algorithm})
	}
	for _, name := range sortedKeys(c.pools) {
		for _, m := range c.pools[name].Members {
			sw.record(kindMember, m)
		}
	}
	c.Routes(func(r *pb.Route) bool { sw.record(kindRoute, r); return sw.err == nil })
	for _, name := range sortedKeys(s.turns) {
		sw.record(kindRotation, s.turns[name].pb(name))
	}
}

func (s *Snapshot) writeSessions(sw *snapshotWriter) {
	for _, v := range s.session {
		sw.record(kindSession, &pb.Session{Id: v.id, Node: v.node, Nonce: v.nonce, NextSeq: v.next, Acked: v.acked, LastMs: v.last})
	}
	for _, v := range s.session {
		for rest := v.results; len(rest) > 0; {
			n := min(len(rest), resultsPerRecord)
			sw.record(kindResults, &pb.Session{Id: v.id, Results: rest[:n]})
			rest = rest[n:]
		}
	}
}

type snapshotWriter struct {
	out   *bufio.Writer
	sum   hash.Hash32
	buf   []byte
	n     int64
	count uint64
	err   error
}

func castagnoli() *crc32.Table { return crc32.MakeTable(crc32.Castagnoli) }

func (w *snapshotWriter) write(b []byte) {
	if w.err != nil {
		return
	}
	w.sum.Write(b)
	n, err := w.out.Write(b)
	w.n += int64(n)
	w.err = err
}

func (w *snapshotWriter) record(k kind, m proto.Message) {
	if w.err != nil {
		return
	}
	b, err := proto.MarshalOptions{Deterministic: true}.MarshalAppend(w.buf[:0], m)
	if err != nil {
		w.err = err
		return
	}
	w.buf = b
	w.raw(k, b)
}

// raw writes a record that is encoded already.
func (w *snapshotWriter) raw(k kind, b []byte) {
	const room = 1 + binary.MaxVarintLen64
	var head [room]byte
	head[0] = byte(k)
	n := 1 + binary.PutUvarint(head[1:], uint64(len(b)))
	w.write(head[:n])
	w.write(b)
	w.count++
	giveWay(w.count)
}

// giveWay lets whatever is ready run before a long walk through all rows goes on, every tenth of a millisecond or so. The scheduler itself would let the
// walk run for 10 ms at a time, and a heartbeat between two nodes waits at each of its half a dozen steps.
func giveWay(row uint64) {
	if row%64 == 0 {
		runtime.Gosched()
	}
}

func (w *snapshotWriter) end() {
	b := binary.BigEndian.AppendUint64([]byte{byte(kindEnd)}, w.count)
	w.write(b)
	w.write(binary.BigEndian.AppendUint32(nil, w.sum.Sum32()))
	if w.err == nil {
		w.err = w.out.Flush()
	}
}

func (r *regRow) pb() *pb.Registration {
	out := &pb.Registration{Aor: r.aor, CallId: r.callID, Cseq: r.cseq, Txn: binary.BigEndian.AppendUint64(nil, r.txn), GoneMs: r.goneMs}
	for i := range r.bindings {
		out.Bindings = append(out.Bindings, r.bindings[i].pb())
	}
	return out
}

func (u *User) pb() *pb.User {
	out := &pb.User{Aor: u.AoR, MaxCalls: u.MaxCalls}
	if u.HasMD5 {
		out.Ha1Md5 = u.MD5[:]
	}
	if u.HasSHA2 {
		out.Ha1Sha256 = u.SHA256[:]
	}
	if out.Aliases = u.Aliases(); u.Identity() != u.AoR {
		out.Identity = userOf(u.Identity())
	}
	return out
}

func (r *rotation) pb(pool string) *pb.PoolState {
	out := &pb.PoolState{Pool: pool, Cursor: r.cursor}
	for _, name := range sortedKeys(r.current) {
		out.Members = append(out.Members, &pb.MemberState{Name: name, Current: r.current[name]})
	}
	return out
}
