package fsm

import (
	"cmp"
	"slices"
	"strings"

	"holdline/fsm/pb"
)

// dropFormer makes room in a row that its REGISTER has made longer by over bindings than it may be: what a phone that is bound now has plainly
// left behind goes, the first to expire first, and no more than must. A phone whose Contact has its connection's port in it and that names no
// flow (RFC 5626) makes one more binding each time it connects, and would lock itself out until they expire. False: there is too little.
func (r *regRow) dropFormer(over int) bool {
	var former []int
	for i := range r.bindings {
		if o := &r.bindings[i]; !r.made(o) && slices.ContainsFunc(r.bindings, func(b Binding) bool { return r.made(&b) && o.formerly(&b) }) {
			former = append(former, i)
		}
	}
	if len(former) < over {
		return false
	}
	slices.SortStableFunc(former, func(i, j int) int { return cmp.Compare(r.bindings[i].ExpiresMs, r.bindings[j].ExpiresMs) })
	former = former[:over]
	slices.Sort(former)
	for _, i := range slices.Backward(former) {
		r.bindings = slices.Delete(r.bindings, i, i+1)
	}
	return true
}

// made reports whether the REGISTER that last changed the row made or refreshed the binding.
func (r *regRow) made(b *Binding) bool {
	return b.CSeq == r.cseq && b.txn == r.txn && b.CallID == r.callID
}

// formerly reports whether o is where the phone of b was before: both name one instance and no reg-id; or neither names an instance, both came
// over connections from one address, and their Contacts differ in the port alone. An edge proxy's connections are of many phones.
func (o *Binding) formerly(b *Binding) bool {
	if o.Instance != "" || b.Instance != "" {
		return sameName(o.Instance, b.Instance) && o.RegID == 0 && b.RegID == 0
	}
	return o.direct() && b.direct() && o.Flow.Remote.Addr().Unmap() == b.Flow.Remote.Addr().Unmap() && sameButPort(o.Contact, b.Contact)
}

// direct reports whether the phone itself holds the connection.
func (b *Binding) direct() bool {
	return b.Flow.Proto != pb.Transport_UDP && b.Flow.Remote.IsValid() && len(b.Path) == 0
}

// sameButPort reports whether two contacts name the same user at the same host, on whatever port.
func sameButPort(a, b string) bool {
	userA, hostA := userHost(a)
	userB, hostB := userHost(b)
	return userA == userB && lower(hostA) == lower(hostB)
}

func userHost(contact string) (user, host string) {
	base, _ := cutParams(contact)
	_, rest, _ := strings.Cut(base, ":")
	at := strings.LastIndexByte(rest, '@') + 1
	user, host = rest[:at], rest[at:]
	host, _, _ = strings.Cut(host, "?")
	if i := strings.LastIndexByte(host, ':'); i > strings.LastIndexByte(host, ']') { // a ':' in brackets is of IPv6
		host = host[:i]
	}
	return user, host
}
