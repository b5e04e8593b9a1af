package fsm

import "holdline/fsm/pb"

// Bindings appends the AoR's bindings to dst, in the order they were first made. What is in the table is registered:
// only an Expire entry expires.
func (m *Machine) Bindings(aor string, dst []Binding) []Binding {
	m.mu.RLock()
	defer m.mu.RUnlock()
	if r := m.st.regs.get(aor); r != nil {
		dst = append(dst, r.bindings...)
	}
	return dst
}

// Registered reports whether this very REGISTER (same AoR, Call-ID, CSeq and server transaction key) is the last one applied, so
// that its 200 can be repeated without asking for credentials again.
func (m *Machine) Registered(aor, callID string, cseq uint32, txn []byte) bool {
	m.mu.RLock()
	defer m.mu.RUnlock()
	r := m.st.regs.get(aor)
	return r != nil && r.repeats(callID, cseq, txnHash(txn))
}

// Registrations calls fn for each AoR with bindings, sorted, from a copy of the table made at the start; fn may take its time.
func (m *Machine) Registrations(fn func(aor string, bindings []Binding) bool) {
	m.mu.Lock() // copying marks the table
	regs := m.st.regs.rows.copy()
	m.mu.Unlock()
	regs.scan(func(r *regRow) bool {
		return len(r.bindings) == 0 || fn(r.aor, r.bindings)
	})
}

// bindingsLooked is how many rows and buckets EachBinding looks at while Apply waits: some 0.1 ms, of a million 0.3 at worst.
const bindingsLooked = 1000

// EachBinding calls fn for each binding, in no order and without a copy of the table, a thousand at a time: a binding is seen as it is
// when its turn comes, and those of an AoR whose first one is made meanwhile may be missing. fn must not keep the binding, wait, or
// use the machine: Apply waits for it.
func (m *Machine) EachBinding(fn func(*Binding)) {
	for from, more := uint64(0), true; more; more = from != 0 {
		m.mu.RLock()
		from = m.st.regs.rows.rows.each(from, bindingsLooked, func(r *regRow) {
			for i := range r.bindings {
				fn(&r.bindings[i])
			}
		})
		m.mu.RUnlock()
	}
}

// Call returns the call's row, or nil. Ended calls stay for 32 s, for retransmissions.
func (m *Machine) Call(number uint64) *Call {
	m.mu.RLock()
	defer m.mu.RUnlock()
	return m.st.calls.get(number)
}

// CallByKey returns the call that CreateCall made with this key, or nil.
func (m *Machine) CallByKey(key []byte) *Call {
	m.mu.RLock()
	defer m.mu.RUnlock()
	return m.st.calls.byKey[string(key)]
}

// CallsOf calls fn for each call whose home is the group, ended ones too, oldest first, until it returns false. It goes through
// a copy of the table made at the start, of all homes (10 ms for 100 000 calls): a takeover wants it once, and every call would
// pay for an index. fn may take its time and may read the machine.
func (m *Machine) CallsOf(group uint32, fn func(*Call) bool) {
	m.Calls(func(c *Call) bool { return c.Home != group || fn(c) })
}

// Calls calls fn for each call, ended ones too, by number, from a copy of the table made at the start.
func (m *Machine) Calls(fn func(*Call) bool) {
	m.mu.Lock() // copying marks the tree
	rows := m.st.calls.rows.copy()
	m.mu.Unlock()
	rows.scan(func(_ uint64, c *Call) bool { return fn(c) })
}

// MemberCalls is the number of active calls on a pool member.
func (m *Machine) MemberCalls(pool, member string) int {
	m.mu.RLock()
	defer m.mu.RUnlock()
	return m.st.calls.byMember[memberKey{pool, member}]
}

// DomainCalls is the number of active calls of a domain.
func (m *Machine) DomainCalls(domain string) int {
	m.mu.RLock()
	defer m.mu.RUnlock()
	return m.st.calls.byDomain[domain]
}

// Overdue returns answered calls whose deadline is at or before upTo, and those in any state that an operator wants ended, earliest first, at most limit: it is
// for their homes' owners to end them.
func (m *Machine) Overdue(upTo int64, limit int) []*Call {
	m.mu.RLock()
	defer m.mu.RUnlock()
	var out []*Call
	m.st.calls.live.Ascend(func(d callDue) bool {
		if d.at-graceMs > upTo || len(out) >= limit {
			return false
		}
		if c := m.st.calls.get(d.number); c != nil && (c.State == pb.CallState_CALL_ANSWERED || c.CutMs() != 0) {
			out = append(out, c)
		}
		return true
	})
	return out
}

// Counts returns totals.
func (m *Machine) Counts() Counts {
	m.mu.RLock()
	defer m.mu.RUnlock()
	return Counts{
		Registrations: m.st.regs.rows.len() - m.st.regs.empty,
		Bindings:      m.st.regs.bindings,
		KeptAlive:     m.st.regs.rows.rows.met,
		Calls:         m.st.calls.active,
		CallRows:      m.st.calls.rows.len(),
		Sessions:      m.st.sessions.len(),
	}
}

// ExpireDue returns the earliest FSM time at which an Expire entry has something to do, and whether there is any. The
// leader proposes Expire once its own FSM time has reached it.
func (m *Machine) ExpireDue() (upTo int64, any bool) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	return m.st.expireDue()
}
