// Package txn holds the transaction state machines of RFC 3261 §17 with RFC 6026, for a proxy: one cell
// is a server transaction with the client transactions it was forwarded as. The package is pure: messages
// and time go in, what to send and what to decide come out. It has no locks: a Table belongs to a shard.
package txn

import "holdline/sipcore/wire"

const slabCells = 64

// Table is the transactions of one shard.
type Table struct {
	cells  map[uint64]*Cell // by Key.Lo
	free   *Cell
	frees  int // how many of those there are,
	least  int // and were at least since Trim was last called
	max    int
	timers timers
	legs   []*Leg // free ones
}

// NewTable makes a table that holds at most limit cells.
func NewTable(limit int) *Table {
	return &Table{cells: make(map[uint64]*Cell), max: limit}
}

// Len is the number of cells.
func (t *Table) Len() int { return len(t.cells) }

// Find returns the cell of key, nil when there is none.
func (t *Table) Find(key Key) *Cell {
	if c := t.cells[key.Lo]; c != nil && c.Key == key {
		return c
	}
	return nil
}

// FindLo returns the cell whose key ends in lo, which is what a branch of ours carries.
func (t *Table) FindLo(lo uint64) *Cell { return t.cells[lo] }

// New makes the cell of a new server transaction, in state Trying; nil when the table is full (the
// request is then refused without state) or key is taken.
func (t *Table) New(key Key, method wire.Method) *Cell {
	if len(t.cells) >= t.max || t.cells[key.Lo] != nil {
		return nil
	}
	c := t.free
	if c == nil {
		slab := make([]Cell, slabCells)
		for i := range slab {
			slab[i].nextFree = t.free
			t.free = &slab[i]
		}
		c = t.free
		t.frees = slabCells
	}
	t.free = c.nextFree
	t.frees--
	t.least = min(t.least, t.frees)
	c.nextFree = nil
	c.Key, c.Method, c.State = key, method, ServerTrying
	c.Legs = c.legs[:0]
	c.retransmit = timer{cell: c, leg: -1, kind: timerRetransmit}
	c.expires = timer{cell: c, leg: -1, kind: timerDeadline}
	t.cells[key.Lo] = c
	return c
}

// NewLeg adds an idle leg to c.
func (t *Table) NewLeg(c *Cell) *Leg {
	if len(t.legs) == 0 {
		slab := make([]Leg, slabCells)
		for i := range slab {
			t.legs = append(t.legs, &slab[i])
		}
	}
	l := t.legs[len(t.legs)-1]
	t.legs = t.legs[:len(t.legs)-1]
	i := int16(len(c.Legs))
	l.Index, l.Open = uint8(i), true
	l.retransmit = timer{cell: c, leg: i, kind: timerRetransmit}
	l.expires = timer{cell: c, leg: i, kind: timerDeadline}
	c.Legs = append(c.Legs, l)
	return l
}

// Free ends the cell at once, without a word to anybody.
func (t *Table) Free(c *Cell) {
	if t.cells[c.Key.Lo] != c {
		return
	}
	delete(t.cells, c.Key.Lo)
	t.timers.stop(&c.retransmit)
	t.timers.stop(&c.expires)
	c.Request.Release()
	c.Response.Release()
	t.FreeLegs(c)
	gen := c.gen + 1
	*c = Cell{gen: gen, nextFree: t.free}
	t.free = c
	t.frees++
}

// Trim lets go of what is kept for further transactions when most of it has not been wanted since Trim was last called, as after a flood
// has passed. It reports whether it has.
func (t *Table) Trim() bool {
	const worthIt = 16 * slabCells
	idle, all := t.least, len(t.cells)+t.frees
	t.least = t.frees
	if idle < worthIt || idle < all/4*3 {
		return false
	}
	for c := t.free; c != nil; { // one cell that is in use would hold on to them all
		c, c.nextFree = c.nextFree, nil
	}
	t.free, t.frees, t.least, t.legs = nil, 0, 0, nil
	return true
}

// FreeLegs lets go of the legs of a cell whose server transaction has its final and goes on by itself: no response of theirs is
// waited for any more.
func (t *Table) FreeLegs(c *Cell) {
	for i, l := range c.Legs {
		t.timers.stop(&l.retransmit)
		t.timers.stop(&l.expires)
		l.Request.Release()
		l.CancelRq.Release()
		l.Ack.Release()
		l.Response.Release()
		*l = Leg{}
		t.legs = append(t.legs, l)
		c.Legs[i] = nil
	}
	c.Legs = c.legs[:0]
}

// Each calls fn for every cell; fn may free the one it is given.
func (t *Table) Each(fn func(*Cell)) {
	for _, c := range t.cells {
		fn(c)
	}
}
