package fsm

import (
	"maps"

	"google.golang.org/protobuf/proto"

	"holdline/fsm/pb"
)

// CDRs returns CDRs after this number in order, at most limit of them. Where the first of them has another number than after+1, those
// between have gone.
func (m *Machine) CDRs(after uint64, limit int) []*pb.Cdr {
	var rows [][]byte
	m.mu.RLock()
	if after < m.st.cdrs.last && limit > 0 {
		m.st.cdrs.rows.from(after+1, func(_ uint64, r cdrRow) bool {
			rows = append(rows, r.data)
			return len(rows) < limit
		})
	}
	m.mu.RUnlock()
	out := make([]*pb.Cdr, len(rows))
	for i, b := range rows {
		out[i] = new(pb.Cdr)
		if err := proto.Unmarshal(b, out[i]); err != nil { // the row is a message that Apply or Restore has had in its hands
			panic(FailStop{m.Applied(), "read CDR: " + err.Error()})
		}
	}
	return out
}

// CDRRange returns the numbers of the first CDR kept and of the last one made. first is last+1 when none is kept.
func (m *Machine) CDRRange() (first, last uint64) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	t := &m.st.cdrs
	if n, _, any := t.first(); any {
		return n, t.last
	}
	return t.last + 1, t.last
}

// Cursors returns the cursors of CDR consumers and of nodes (NodeCursor), by name.
func (m *Machine) Cursors() []*pb.Cursor {
	m.mu.RLock()
	defer m.mu.RUnlock()
	var out []*pb.Cursor
	for _, name := range sortedKeys(m.st.cdrs.cursors) {
		out = append(out, m.st.cdrs.cursors[name])
	}
	return out
}

// MemberName names a pool member.
type MemberName struct{ Pool, Member string }

// CallCounts are numbers of active calls, exact at the moment of reading. What has none is not listed.
type CallCounts struct {
	Total   int
	Domains map[string]int
	Groups  map[uint32]int // by home
	Members map[MemberName]int
	Users   map[string]int // by AoR: calling, being rung, or talking
}

// CallCounts counts the active calls; by user only if asked, for they may be many.
func (m *Machine) CallCounts(users bool) CallCounts {
	m.mu.RLock()
	defer m.mu.RUnlock()
	t := &m.st.calls
	c := CallCounts{Total: t.active, Domains: maps.Clone(t.byDomain), Groups: maps.Clone(t.byGroup), Members: make(map[MemberName]int, len(t.byMember))}
	for k, n := range t.byMember {
		c.Members[MemberName{k.pool, k.member}] = n
	}
	if users {
		c.Users = make(map[string]int, len(t.byUser))
		for aor, n := range t.byUser {
			c.Users[aor] = int(n.part)
		}
	}
	return c
}

// UserCalls is the number of active calls that a user takes part in.
func (m *Machine) UserCalls(aor string) int {
	m.mu.RLock()
	defer m.mu.RUnlock()
	return int(m.st.calls.byUser[aor].part)
}
