package vip

import (
	"context"
	"maps"
	"net/netip"
	"sync"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// addresser puts addresses on interfaces and takes them off, beside the loop: the kernel does it under a lock that is
// shared by all network namespaces (rtnl), and whoever holds it may be a starved process. On the loop that wait would cost
// the lease; here it costs, at worst, that the address comes late or (behind a closed fence) goes late.
type addresser struct {
	nl    *netlink.Handle
	alive func() uint64                 // turns of the loop: without them nothing is refreshed
	added func(a netip.Addr, err error) // an address has been put up, or could not be
	fail  func(err error)               // anything else that went wrong

	wake chan struct{} // capacity 1
	done chan struct{}

	mu   sync.Mutex
	want map[netip.Addr]int // interface index
	have map[netip.Addr]int
	off  []hostAddr // to be taken off whatever they are
	next []func()   // see then
}

func newAddresser(alive func() uint64, added func(netip.Addr, error), fail func(error)) (*addresser, error) {
	nl, err := netlink.NewHandle(unix.NETLINK_ROUTE)
	if err != nil {
		return nil, err
	}
	return &addresser{
		nl: nl, alive: alive, added: added, fail: fail, wake: make(chan struct{}, 1), done: make(chan struct{}),
		want: map[netip.Addr]int{}, have: map[netip.Addr]int{},
	}, nil
}

// put asks for an address on an interface; index 0: on none.
func (w *addresser) put(a netip.Addr, index int) {
	w.mu.Lock()
	if index == 0 {
		delete(w.want, a)
	} else {
		w.want[a] = index
	}
	w.mu.Unlock()
	w.poke()
}

// remove asks for an address that this guard has not put up to be taken off, unless it is wanted by then.
func (w *addresser) remove(a hostAddr) {
	w.mu.Lock()
	w.off = append(w.off, a)
	w.mu.Unlock()
	w.poke()
}

// then has f run when all that has been asked for until now is done.
func (w *addresser) then(f func()) {
	w.mu.Lock()
	w.next = append(w.next, f)
	w.mu.Unlock()
	w.poke()
}

// lost says that somebody has taken an address off.
func (w *addresser) lost(a netip.Addr) {
	w.mu.Lock()
	_, wanted := w.want[a]
	if wanted {
		delete(w.have, a)
	}
	w.mu.Unlock()
	if wanted {
		w.poke()
	}
}

func (w *addresser) poke() {
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

// run works until ctx ends, then takes everything off.
func (w *addresser) run(ctx context.Context) {
	defer close(w.done)
	defer w.nl.Close()
	tick := time.NewTicker(refreshEvery)
	defer tick.Stop()
	var turns uint64
	for {
		refresh := false
		select {
		case <-ctx.Done():
			w.mu.Lock()
			clear(w.want)
			w.mu.Unlock()
			w.settle(false)
			return
		case <-w.wake:
		case <-tick.C:
			now := w.alive()
			refresh = now != turns
			turns = now
		}
		w.settle(refresh)
	}
}

// settle makes what is there what is wanted.
func (w *addresser) settle(refresh bool) {
	w.mu.Lock()
	want, have := maps.Clone(w.want), maps.Clone(w.have)
	off, next := w.off, w.next
	w.off, w.next = nil, nil
	w.mu.Unlock()
	for a, index := range have {
		if want[a] != index {
			w.forget(a, index)
			if err := delAddress(w.nl, index, a); err != nil {
				w.fail(err)
			}
		}
	}
	for _, o := range off {
		if _, wanted := want[o.prefix.Addr()]; !wanted {
			if err := delAddress(w.nl, o.index, o.prefix.Addr()); err != nil {
				w.fail(err)
			}
		}
	}
	for a, index := range want {
		fresh := have[a] != index
		if !fresh && !refresh {
			continue
		}
		err := addAddress(w.nl, index, a)
		if fresh {
			if err == nil {
				w.mu.Lock()
				w.have[a] = index
				w.mu.Unlock()
			}
			w.added(a, err)
		} else if err != nil {
			w.fail(err)
		}
	}
	for _, f := range next {
		f()
	}
}

// forget notes that an address is about to be taken off, before the kernel says so.
func (w *addresser) forget(a netip.Addr, index int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.have[a] == index {
		delete(w.have, a)
	}
}
