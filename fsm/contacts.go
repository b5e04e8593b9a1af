package fsm

import (
	"hash/maphash"
	"slices"
	"strings"
)

// contactIndex finds whose phone has a contact that does not say so: browsers register by random names. Those whose user part is the user's are found without, and
// take no room here. It is derived from the registrations, and judges nothing: who asks it looks at the bindings.
type contactIndex struct {
	seed maphash.Seed
	aors map[uint64]string // by hash of the contact's base; of two users who have the same the first
}

func newContactIndex() contactIndex {
	return contactIndex{seed: maphash.MakeSeed(), aors: map[uint64]string{}}
}

// contactBase is what a contact is known by: scheme, user and host, which parameters do not change.
func contactBase(uri string) string {
	uri, _, _ = strings.Cut(uri, "?")
	base, _ := cutParams(uri)
	scheme, rest, _ := strings.Cut(base, ":")
	at := strings.LastIndexByte(rest, '@') + 1
	return lower(scheme) + ":" + rest[:at] + lower(rest[at:])
}

// namedAfter reports whether a contact's user part is the user's name.
func namedAfter(contact, aor string) bool {
	_, rest, _ := strings.Cut(contact, ":")
	n := strings.LastIndexByte(aor, '@') + 1
	return n > 0 && len(rest) >= n && rest[:n] == aor[:n]
}

// moved brings the index up to date when a row takes the place of another; either may be nil.
func (x *contactIndex) moved(old, row *regRow) {
	if old != nil {
		for i := range old.bindings {
			if c := old.bindings[i].Contact; !namedAfter(c, old.aor) && !row.hasContact(c) {
				if h := x.hash(c); x.aors[h] == old.aor {
					delete(x.aors, h)
				}
			}
		}
	}
	if row == nil {
		return
	}
	for i := range row.bindings {
		if c := row.bindings[i].Contact; !namedAfter(c, row.aor) { // a refresh too: who had it first may be gone
			if h := x.hash(c); x.aors[h] == "" {
				x.aors[h] = row.aor
			}
		}
	}
}

func (x *contactIndex) hash(contact string) uint64 {
	return maphash.String(x.seed, contactBase(contact))
}

func (r *regRow) hasContact(contact string) bool {
	if r == nil {
		return false
	}
	if slices.ContainsFunc(r.bindings, func(b Binding) bool { return b.Contact == contact }) { // a refresh
		return true
	}
	base := contactBase(contact)
	return slices.ContainsFunc(r.bindings, func(b Binding) bool { return contactBase(b.Contact) == base })
}

// ByContact appends to dst the bindings with this contact, of the user whom its user part names in the domain, else of whoever has registered it, and returns that
// user; "": there are none. Parameters are not compared: whoever writes down a contact that he has got may leave them out.
func (m *Machine) ByContact(uri, domain string, dst []Binding) (aor string, with []Binding) {
	base := contactBase(uri)
	_, user, _ := strings.Cut(base, ":")
	m.mu.RLock()
	defer m.mu.RUnlock()
	for _, aor := range [...]string{user[:strings.LastIndexByte(user, '@')+1] + domain, m.st.regs.contacts.aors[m.st.regs.contacts.hash(uri)]} {
		r := m.st.regs.get(aor)
		if r == nil {
			continue
		}
		n := len(dst)
		for i := range r.bindings {
			if contactBase(r.bindings[i].Contact) == base {
				dst = append(dst, r.bindings[i])
			}
		}
		if len(dst) > n {
			return aor, dst
		}
	}
	return "", dst
}
