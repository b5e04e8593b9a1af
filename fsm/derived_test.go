package fsm

import (
	"maps"
	"slices"
	"strings"

	"github.com/google/btree"
)

// checkDerived compares every index and counter with what the rows say.
func checkDerived(t tester, m *Machine) {
	t.Helper()
	st := m.st
	bindings, empty, kept := 0, 0, 0
	var rows []*regRow
	st.regs.rows.scan(func(r *regRow) bool {
		if r == nil {
			t.Fatal("an AoR is listed and has no row")
		}
		bindings += len(r.bindings)
		if len(r.bindings) == 0 {
			empty++
		}
		if slices.ContainsFunc(r.bindings, func(b Binding) bool { return b.KeptAlive() }) {
			kept++
		}
		rows = append(rows, r)
		return true
	})
	if st.regs.bindings != bindings || st.regs.empty != empty {
		t.Errorf("registrations: counted %d bindings and %d empty rows, there are %d and %d", st.regs.bindings, st.regs.empty, bindings, empty)
	}
	checkMet(t, &st.regs.rows.rows)
	onRing := 0
	for from, more := uint64(0), true; more; more = from != 0 {
		var met []Registrant
		met, from = m.Arc(from, 0, 1000, nil)
		onRing += len(met)
	}
	if onRing != kept {
		t.Errorf("registrations: %d are met on the ring, %d are to be kept alive", onRing, kept)
	}
	checkContacts(t, st)
	checkListing(t, "registrations", &st.regs.rows)
	checkListing(t, "users", &st.conf.users)
	checkAgenda(t, &st.regs.agenda, rows)
	checkCalls(t, st)
	checkCDRs(t, m)
	users := map[string]int{}
	m.Config().Users(func(u *User) bool { users[domainOf(u.AoR)]++; return true })
	checkAliases(t, m.Config())
	if !maps.Equal(users, st.conf.usersOf) {
		t.Errorf("users per domain %v, counted %v", users, st.conf.usersOf)
	}
}

// checkContacts: what is gone is not in the index.
func checkContacts(t tester, st *state) {
	t.Helper()
	x := &st.regs.contacts
	for h, aor := range x.aors {
		if r := st.regs.get(aor); r == nil || !slices.ContainsFunc(r.bindings, func(b Binding) bool { return x.hash(b.Contact) == h }) {
			t.Errorf("a contact is said to be of %s, who has none such", aor)
		}
	}
}

// checkAliases: each user is found by his aliases, as he is now, and nobody by another's, or by one that nobody has.
func checkAliases(t tester, c *Config) {
	t.Helper()
	n := 0
	c.Users(func(u *User) bool {
		n += len(u.aliases())
		for _, a := range u.aliases() {
			if c.UserNamed(a) != u || !u.Named(a) || a == u.AoR || domainOf(a) != domainOf(u.AoR) {
				t.Errorf("by alias %s of %s is found %v", a, u.AoR, c.UserNamed(a))
			}
		}
		if c.UserNamed(u.AoR) != u || !u.Named(u.Identity()) || u.other != nil && len(u.aliases()) == 0 || len(u.aliases()) > MaxUserAliases {
			t.Errorf("user %s: %v, gateways are told %s", u.AoR, u.aliases(), u.Identity())
		}
		return true
	})
	if n != c.others.len() {
		t.Errorf("users have %d aliases, by %d they are found", n, c.others.len())
	}
}

// checkListing compares the names in order with the rows.
func checkListing[V named](t tester, what string, l *listing[V]) {
	t.Helper()
	n := 0
	l.names.scan(func(name string, _ struct{}) bool {
		if row, found := l.rows.get(name); !found || row.name() != name {
			t.Errorf("%s: %s is listed and has no row", what, name)
		}
		n++
		return true
	})
	if n != l.len() {
		t.Errorf("%s: %d are listed of %d", what, n, l.len())
	}
}

func checkCalls(t tester, st *state) {
	t.Helper()
	var want callTable
	want.init()
	made := map[string]int{}
	st.calls.rows.scan(func(_ uint64, c *Call) bool {
		want.put(nil, c)
		if c.Active() && strings.Contains(c.Origin, "@") {
			made[c.Origin]++
		}
		if c.Invite != nil && !anyOpen(c.Legs) && !c.beingSetUp() {
			t.Errorf("call %d keeps an INVITE that no leg wants", c.Number)
		}
		return true
	})
	got := &st.calls
	if got.active != want.active || !maps.Equal(got.byMember, want.byMember) || !maps.Equal(got.byDomain, want.byDomain) || !maps.Equal(got.byGroup, want.byGroup) || !maps.Equal(got.byUser, want.byUser) {
		t.Errorf("counters %d %v %v %v, from the rows %d %v %v %v", got.active, got.byMember, got.byDomain, got.byGroup, want.active, want.byMember, want.byDomain, want.byGroup)
	}
	if !maps.Equal(got.byKey, want.byKey) || !maps.Equal(got.byOwn, want.byOwn) || !slices.Equal(items(got.due), items(want.due)) || !slices.Equal(items(got.live), items(want.live)) {
		t.Errorf("indexes by key %d, deadline %d differ from the rows %d", len(got.byKey), got.due.Len(), got.rows.len())
	}
	for aor, n := range got.byUser {
		if int(n.made) != made[aor] {
			t.Errorf("%s makes %d calls, counted %d", aor, made[aor], n.made)
		}
	}
	for k, n := range got.byMember {
		if n < 0 {
			t.Errorf("member %v carries %d calls", k, n)
		}
	}
}

// checkCDRs checks that CDRs lie without a hole up to the last, that no call has two, and none that still goes on has one.
func checkCDRs(t tester, m *Machine) {
	t.Helper()
	first, last := m.CDRRange()
	all := m.CDRs(0, 1<<30)
	if uint64(len(all)) != last+1-first {
		t.Errorf("%d CDRs are kept, from %d to %d", len(all), first, last)
	}
	calls := map[uint64]bool{}
	for i, c := range all {
		if c.Number != first+uint64(i) || calls[c.Call] {
			t.Errorf("CDR %d of call %d: number %d expected, call seen: %v", c.Number, c.Call, first+uint64(i), calls[c.Call])
		}
		calls[c.Call] = true
		if row := m.Call(c.Call); row != nil && row.Active() {
			t.Errorf("call %d goes on and has CDR %d", c.Call, c.Number)
		}
	}
}

func items[T any](t *btree.BTreeG[T]) (out []T) {
	t.Ascend(func(v T) bool { out = append(out, v); return true })
	return out
}

// checkAgenda: every row is in the slot of its time once, and nothing else is.
func checkAgenda(t tester, a *agenda, rows []*regRow) {
	t.Helper()
	entries := 0
	a.slots.scan(func(second int64, s *agendaSlot) bool {
		entries += len(s.entries)
		if s.second != second || len(s.entries) == 0 {
			t.Errorf("agenda: slot %d of second %d has %d entries", s.second, second, len(s.entries))
		}
		return true
	})
	if entries != len(rows) {
		t.Errorf("agenda: %d rows, %d entries", len(rows), entries)
	}
	for _, r := range rows {
		p := r.place
		slot, _ := a.slots.get(r.due() / slotMs)
		if p.row != r || p.slot == nil || slot != p.slot || p.slot.entries[p.i] != (agendaEntry{r.due(), p}) {
			t.Errorf("agenda: %s, due at %d, is not in its place", r.aor, r.due())
		}
	}
}
