package fsm

import (
	"cmp"
	"slices"
	"strings"
)

// agenda finds the registrations that have something to expire, earliest first. Those of one second are in one slot, in no order: a
// refresh takes a row out of one and puts it into another without a search among the others, however many there are. A slot is
// sorted when its time has come.
type agenda struct {
	slots tree[int64, *agendaSlot] // by second of FSM time; none is empty
}

const slotMs = 1000

type agendaSlot struct {
	second  int64
	entries []agendaEntry
}

// agendaEntry has the time beside it: looking for what is due touches no row that is not.
type agendaEntry struct {
	at    int64
	place *agendaPlace
}

// agendaPlace is where an AoR is in the agenda. All versions of its row have the same one; only the goroutine that writes the table looks
// at it.
type agendaPlace struct {
	row  *regRow     // the latest
	slot *agendaSlot // nil: not in the agenda
	i    int         // in slot
}

func newAgenda() agenda { return agenda{newTree[int64, *agendaSlot]()} }

// put enters a row, in place of its former version.
func (a *agenda) put(r *regRow) {
	p, at := r.place, r.due()
	p.row = r
	second := at / slotMs
	if p.slot != nil && p.slot.second == second {
		p.slot.entries[p.i].at = at
		return
	}
	a.remove(p)
	s, any := a.slots.get(second)
	if !any {
		s = &agendaSlot{second: second}
		a.slots.set(second, s)
	}
	p.slot, p.i = s, len(s.entries)
	s.entries = append(s.entries, agendaEntry{at, p})
}

// remove takes a place out, if it is in: the last one of the slot goes there.
func (a *agenda) remove(p *agendaPlace) {
	s := p.slot
	if s == nil {
		return
	}
	last := len(s.entries) - 1
	moved := s.entries[last]
	s.entries[p.i], moved.place.i = moved, p.i
	s.entries[last] = agendaEntry{}
	s.entries = s.entries[:last]
	if last == 0 {
		a.slots.delete(s.second)
	}
	p.slot = nil
}

// first returns rows that have something to expire up to a time, earliest first, those of one moment by AoR, at most limit: the
// same ones on every replica.
func (a *agenda) first(upTo int64, limit int) []*regRow {
	var rows []*regRow
	a.slots.scan(func(second int64, s *agendaSlot) bool {
		if second*slotMs > upTo || len(rows) >= limit {
			return false
		}
		var due []agendaEntry
		for _, e := range s.entries {
			if e.at <= upTo {
				due = append(due, e)
			}
		}
		slices.SortFunc(due, byTime)
		for len(due) > 0 && len(rows) < limit {
			begin, at := len(rows), due[0].at
			for len(due) > 0 && due[0].at == at {
				rows, due = append(rows, due[0].place.row), due[1:]
			}
			slices.SortFunc(rows[begin:], func(a, b *regRow) int { return strings.Compare(a.aor, b.aor) })
		}
		return true
	})
	return rows[:min(limit, len(rows))]
}

// min is when the first row has something to expire.
func (a *agenda) min() (at int64, any bool) {
	a.slots.scan(func(_ int64, s *agendaSlot) bool {
		at, any = slices.MinFunc(s.entries, byTime).at, true
		return false
	})
	return at, any
}

func byTime(a, b agendaEntry) int { return cmp.Compare(a.at, b.at) }
