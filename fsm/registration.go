package fsm

import (
	"crypto/sha256"
	"encoding/binary"
	"math"
)

// tombstoneMs is how long an AoR without bindings is remembered, so that a late copy of an earlier REGISTER doesn't bring
// a removed binding back: 64·T1, the life of a retransmission (RFC 3261 §17.1.2.2).
const tombstoneMs = 32_000

// regTable holds one row per AoR.
type regTable struct {
	rows     listing[*regRow]
	agenda   agenda       // by when a row has something to expire; derived
	contacts contactIndex // derived
	bindings int          // derived
	empty    int          // rows without bindings; derived
}

// regRow is an AoR's bindings and the REGISTER that last changed them. Immutable once in the table.
type regRow struct {
	aor      string // first what each look-up reads, that it be in one line of the processor's cache
	callID   string
	txn      uint64
	cseq     uint32
	kept     bool      // a binding is to be kept alive; derived
	bindings []Binding // in the order they were first made
	goneMs   int64     // without bindings: when the row goes
	place    *agendaPlace
}

func (r *regRow) name() string { return r.aor }

func (t *regTable) init() {
	t.rows = newListing(newRing(func(r *regRow) bool { return r.kept }))
	t.agenda = newAgenda()
	t.contacts = newContactIndex()
}

func (t *regTable) get(aor string) *regRow {
	r, _ := t.rows.get(aor)
	return r
}

// put sets a row; old is what it replaces, or nil.
func (t *regTable) put(old, r *regRow) {
	if old == nil {
		r.place = &agendaPlace{}
	} else {
		r.place = old.place
		t.count(old, -1)
	}
	r.kept = r.keptAlive()
	t.rows.set(r)
	t.contacts.moved(old, r)
	t.agenda.put(r)
	t.count(r, 1)
}

func (t *regTable) drop(aor string) {
	if r, existed := t.rows.delete(aor); existed {
		t.agenda.remove(r.place)
		t.contacts.moved(r, nil)
		t.count(r, -1)
	}
}

// count adds a row to what is counted, or takes it away.
func (t *regTable) count(r *regRow, by int) {
	t.bindings += by * len(r.bindings)
	if len(r.bindings) == 0 {
		t.empty += by
	}
}

// keptAlive reports whether one of the row's bindings is to be kept alive.
func (r *regRow) keptAlive() bool {
	for i := range r.bindings {
		if r.bindings[i].KeptAlive() {
			return true
		}
	}
	return false
}

// due is the first moment at which the row has something to expire.
func (r *regRow) due() int64 {
	if len(r.bindings) == 0 {
		return r.goneMs
	}
	at := int64(math.MaxInt64)
	for i := range r.bindings {
		at = min(at, r.bindings[i].ExpiresMs)
	}
	return at
}

// repeats reports whether this REGISTER is the one that last changed the row.
func (r *regRow) repeats(callID string, cseq uint32, txn uint64) bool {
	return r.cseq == cseq && r.txn == txn && r.callID == callID
}

// txnHash shortens a server transaction key. It is compared along with Call-ID and CSeq only.
func txnHash(key []byte) uint64 {
	sum := sha256.Sum256(key)
	return binary.BigEndian.Uint64(sum[:])
}

// InstanceHash shortens a +sip.instance to what a call's record keeps of it: 8 bytes instead of some 60. It tells the few phones of
// one AoR apart. 0 stands for none.
func InstanceHash(instance string) uint64 {
	if instance == "" {
		return 0
	}
	sum := sha256.Sum256([]byte(lower(instance)))
	return binary.BigEndian.Uint64(sum[:]) | 1
}

// find returns the index of the binding that a contact updates, or -1: RFC 5626 §6 with instance and reg-id, else by the
// contact's URI (RFC 3261 §10.2.4).
func find(bindings []Binding, contact, instance string, regID uint32) int {
	for i := range bindings {
		b := &bindings[i]
		if instance != "" && regID != 0 && b.Instance != "" && b.RegID != 0 {
			if b.RegID == regID && sameName(b.Instance, instance) {
				return i
			}
			continue
		}
		if sameURI(b.Contact, contact) {
			return i
		}
	}
	return -1
}
