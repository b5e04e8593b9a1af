package vip

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"
)

// Names in the kernel. The table belongs to the network namespace, so one guard runs per namespace.
const (
	fenceTable = "holdline"
	fenceChain = "fence"
	fenceVIP4  = "vip4"
	fenceVIP6  = "vip6"
	fenceHeld4 = "held4"
	fenceHeld6 = "held6"
)

// fence is the kernel's own copy of the leases: on each VIP interface an egress hook drops what would leave with a
// virtual address as its source (IP, ARP, neighbour advertisements) unless the address is an element of a timeout
// set. The guard renews elements for what is left of their lease, so a guard that is stopped, starved or killed
// cannot keep this node sending.
type fence struct {
	table string
	w     *elemWriter
	vips  []netip.Addr
	devs  []string
}

// openFence finds out whether this kernel can do it. What a predecessor left is not touched until guard: it fences on.
func openFence() (*fence, error) {
	probe, err := newFence("holdline-probe")
	if err != nil {
		return nil, err
	}
	replace, err := probe.try()
	err = errors.Join(err, probe.remove())
	probe.close()
	if err != nil {
		return nil, fmt.Errorf("try nftables: %w", err)
	}
	f, err := newFence(fenceTable)
	if err != nil {
		return nil, err
	}
	f.w.replace = replace
	return f, nil
}

func newFence(table string) (*fence, error) {
	w, err := newElemWriter(table)
	if err != nil {
		return nil, err
	}
	return &fence{w: w, table: table}, nil
}

func (f *fence) close() { f.w.close() }

// try goes through all operations once and learns whether elements must be replaced to get a new timeout.
func (f *fence) try() (replace bool, err error) {
	if err := f.guard(nil, []string{"lo"}, nil); err != nil {
		return false, err
	}
	a := []netip.Addr{netip.AddrFrom4([4]byte{192, 0, 2, 1})}
	if err := errors.Join(f.w.set(a, time.Minute), f.w.set(a, time.Hour)); err != nil {
		return false, err
	}
	left, err := f.remaining(a[0])
	return left <= time.Minute, errors.Join(err, f.w.del(a))
}

// guard makes the fence cover vips on the interfaces devs, in one transaction; held stay open for what is left of
// their leases.
func (f *fence) guard(vips []netip.Addr, devs []string, held map[netip.Addr]time.Duration) error {
	f.vips, f.devs = vips, devs
	return f.install(held)
}

// change makes the fence cover vips instead, on the same interfaces: some microseconds, where a new table takes
// milliseconds.
func (f *fence) change(vips []netip.Addr) error {
	without := func(list, other []netip.Addr) (out []netip.Addr) {
		for _, a := range list {
			if !slices.Contains(other, a) {
				out = append(out, a)
			}
		}
		return out
	}
	if err := f.w.cover(without(vips, f.vips), without(f.vips, vips)); err != nil {
		return err
	}
	f.vips = vips
	return nil
}

// install replaces the whole table, whatever a predecessor or an operator made of it, in one transaction.
func (f *fence) install(held map[netip.Addr]time.Duration) error {
	c, err := nftables.New()
	if err != nil {
		return fmt.Errorf("open nftables: %w", err)
	}
	t := &nftables.Table{Name: f.table, Family: nftables.TableFamilyNetdev}
	c.AddTable(t) // so that deleting it cannot fail
	c.DelTable(t)
	c.AddTable(t)
	chain := c.AddChain(&nftables.Chain{Name: fenceChain, Table: t})
	for _, s := range []struct {
		vip, held string
		typ       nftables.SetDatatype
		family    bool
	}{{fenceVIP4, fenceHeld4, nftables.TypeIPAddr, true}, {fenceVIP6, fenceHeld6, nftables.TypeIP6Addr, false}} {
		vip := &nftables.Set{Table: t, Name: s.vip, KeyType: s.typ}
		heldSet := &nftables.Set{Table: t, Name: s.held, KeyType: s.typ, HasTimeout: true}
		var vips, open []nftables.SetElement
		for _, a := range f.vips {
			if a.Is4() != s.family {
				continue
			}
			vips = append(vips, nftables.SetElement{Key: a.AsSlice()})
			if d := held[a]; d >= time.Millisecond {
				open = append(open, nftables.SetElement{Key: a.AsSlice(), Timeout: d})
			}
		}
		if err := errors.Join(c.AddSet(vip, vips), c.AddSet(heldSet, open)); err != nil {
			return fmt.Errorf("install fence: %w", err)
		}
		for _, m := range fenceMatches() {
			if m.v4 == s.family {
				c.AddRule(&nftables.Rule{Table: t, Chain: chain, Exprs: m.rule(vip, heldSet)})
			}
		}
	}
	for _, dev := range f.devs {
		base := c.AddChain(&nftables.Chain{
			Name: "on-" + dev, Table: t, Type: nftables.ChainTypeFilter,
			Hooknum: nftables.ChainHookEgress, Priority: nftables.ChainPriorityFilter, Device: dev,
		})
		c.AddRule(&nftables.Rule{Table: t, Chain: base, Exprs: []expr.Any{
			&expr.Verdict{Kind: expr.VerdictJump, Chain: fenceChain},
		}})
	}
	if err := c.Flush(); err != nil {
		return fmt.Errorf("install fence on %v (needs Linux 5.16 with nftables netdev egress): %w", f.devs, err)
	}
	return nil
}

// remove takes the fence down. Only for a guard that leaves no core behind.
func (f *fence) remove() error {
	c, err := nftables.New()
	if err != nil {
		return fmt.Errorf("open nftables: %w", err)
	}
	t := &nftables.Table{Name: f.table, Family: nftables.TableFamilyNetdev}
	c.AddTable(t)
	c.DelTable(t)
	if err := c.Flush(); err != nil {
		return fmt.Errorf("remove fence: %w", err)
	}
	return nil
}

// fenceIntact tells whether the table is still there: "nft flush ruleset" of a firewall reload takes it away. Safe to call beside
// the loop.
func fenceIntact() (bool, error) {
	c, err := nftables.New()
	if err != nil {
		return false, fmt.Errorf("open nftables: %w", err)
	}
	chains, err := c.ListChainsOfTableFamily(nftables.TableFamilyNetdev)
	if err != nil {
		return false, fmt.Errorf("list nftables chains: %w", err)
	}
	for _, ch := range chains {
		if ch.Table.Name == fenceTable && ch.Name == fenceChain {
			return true, nil
		}
	}
	return false, nil
}

// remaining reads how long the kernel will let an address through.
func (f *fence) remaining(a netip.Addr) (time.Duration, error) {
	c, err := nftables.New()
	if err != nil {
		return 0, fmt.Errorf("open nftables: %w", err)
	}
	s := &nftables.Set{
		Table: &nftables.Table{Name: f.table, Family: nftables.TableFamilyNetdev},
		Name:  fenceHeld4, KeyType: nftables.TypeIPAddr, HasTimeout: true,
	}
	if a.Is6() {
		s.Name, s.KeyType = fenceHeld6, nftables.TypeIP6Addr
	}
	elems, err := c.GetSetElements(s)
	if err != nil {
		return 0, fmt.Errorf("read fence: %w", err)
	}
	for _, e := range elems {
		if got, ok := netip.AddrFromSlice(e.Key); ok && got == a {
			return e.Expires, nil
		}
	}
	return 0, nil
}

// fenceMatch describes one kind of frame that carries a source address.
type fenceMatch struct {
	v4     bool
	proto  uint16 // EtherType
	offset uint32 // of the address, in the network header
	next   []byteMatch
}

type byteMatch struct {
	offset uint32
	value  byte
}

// fenceMatches are what the fence looks at. Neighbour advertisements name the address in their target too
// (RFC 4861 §4.4), and a host that is asked answers from there; no extension header precedes ICMPv6 in them.
func fenceMatches() []fenceMatch {
	return []fenceMatch{
		{v4: true, proto: unix.ETH_P_IP, offset: 12},
		{v4: true, proto: unix.ETH_P_ARP, offset: 14}, // sender protocol address: requests, replies and gratuitous ones
		{proto: unix.ETH_P_IPV6, offset: 8},
		{proto: unix.ETH_P_IPV6, offset: 48, next: []byteMatch{{6, unix.IPPROTO_ICMPV6}, {40, ndAdvert}}},
	}
}

func (m fenceMatch) rule(vips, held *nftables.Set) []expr.Any {
	size := uint32(4)
	if !m.v4 {
		size = 16
	}
	e := []expr.Any{
		&expr.Meta{Key: expr.MetaKeyPROTOCOL, Register: 1},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: []byte{byte(m.proto >> 8), byte(m.proto)}},
	}
	for _, n := range m.next {
		e = append(e,
			&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseNetworkHeader, Offset: n.offset, Len: 1},
			&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: []byte{n.value}})
	}
	return append(e,
		&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseNetworkHeader, Offset: m.offset, Len: size},
		&expr.Lookup{SourceRegister: 1, SetName: vips.Name, SetID: vips.ID},
		&expr.Lookup{SourceRegister: 1, SetName: held.Name, SetID: held.ID, Invert: true},
		&expr.Counter{},
		&expr.Verdict{Kind: expr.VerdictDrop})
}
