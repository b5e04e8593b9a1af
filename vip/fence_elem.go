package vip

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// elemWriter sets and deletes elements of the fence's timeout sets over a raw netlink socket: nothing is allocated
// and no goroutine is switched, as this runs at every renewal on the guard's loop thread.
type elemWriter struct {
	fd    int
	table string
	to    unix.SockaddrNetlink // the kernel
	seq   uint32
	msg   nlBuilder
	in    [8192]byte
	// replace: this kernel ignores a new timeout on an element that is there already (before Linux 6.12), so the
	// element is deleted and added in one transaction, which other packets see as one step.
	replace bool
}

func newElemWriter(table string) (*elemWriter, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_NETFILTER)
	if err != nil {
		return nil, fmt.Errorf("open netfilter socket: %w", err)
	}
	if err := unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		unix.Close(fd)
		return nil, fmt.Errorf("bind netfilter socket: %w", err)
	}
	return &elemWriter{fd: fd, table: table, to: unix.SockaddrNetlink{Family: unix.AF_NETLINK}, msg: nlBuilder{b: make([]byte, 0, 4096)}}, nil
}

func (w *elemWriter) close() { unix.Close(w.fd) }

// set lets addrs through for the next d. d is cut to whole milliseconds; the kernel cuts it further to its tick
// (4 ms at 250 Hz): an element ends early, never late.
func (w *elemWriter) set(addrs []netip.Addr, d time.Duration) error {
	if len(addrs) == 0 {
		return nil
	}
	if d < time.Millisecond {
		return w.del(addrs)
	}
	w.start()
	first := w.seq
	for _, a := range addrs {
		w.elem(unix.NFT_MSG_NEWSETELEM, heldSet(a), a, d)
		if w.replace {
			w.elem(unix.NFT_MSG_DELSETELEM, heldSet(a), a, 0)
			w.elem(unix.NFT_MSG_NEWSETELEM, heldSet(a), a, d)
		}
	}
	if err := w.commit(first); err != nil {
		return fmt.Errorf("renew fence of %v: %w", addrs, err)
	}
	return nil
}

// del stops letting addrs through. An element that is gone already is no error.
func (w *elemWriter) del(addrs []netip.Addr) error {
	for _, a := range addrs {
		w.start()
		first := w.seq
		w.elem(unix.NFT_MSG_DELSETELEM, heldSet(a), a, 0)
		if err := w.commit(first); err != nil && !errors.Is(err, unix.ENOENT) {
			return fmt.Errorf("close fence of %s: %w", a, err)
		}
	}
	return nil
}

// cover changes, in one transaction, which addresses are fenced.
func (w *elemWriter) cover(add, remove []netip.Addr) error {
	if len(add)+len(remove) == 0 {
		return nil
	}
	w.start()
	first := w.seq
	for _, a := range add {
		w.elem(unix.NFT_MSG_NEWSETELEM, vipSet(a), a, 0)
	}
	for _, a := range remove {
		w.elem(unix.NFT_MSG_DELSETELEM, vipSet(a), a, 0)
	}
	if err := w.commit(first); err != nil {
		return fmt.Errorf("fence %v: %w", add, err)
	}
	return nil
}

func heldSet(a netip.Addr) string {
	if a.Is4() {
		return fenceHeld4
	}
	return fenceHeld6
}

func vipSet(a netip.Addr) string {
	if a.Is4() {
		return fenceVIP4
	}
	return fenceVIP6
}

func (w *elemWriter) start() {
	w.msg.reset()
	w.batch(unix.NFNL_MSG_BATCH_BEGIN)
	w.seq++
}

func (w *elemWriter) batch(typ uint16) {
	at := w.msg.begin(typ, unix.NLM_F_REQUEST, w.seq)
	w.msg.nfgen(unix.AF_UNSPEC, unix.NFNL_SUBSYS_NFTABLES)
	w.msg.end(at)
}

func (w *elemWriter) elem(op uint16, set string, a netip.Addr, d time.Duration) {
	flags := uint16(unix.NLM_F_REQUEST | unix.NLM_F_ACK)
	if op == unix.NFT_MSG_NEWSETELEM {
		flags |= unix.NLM_F_CREATE
	}
	m := &w.msg
	at := m.begin(unix.NFNL_SUBSYS_NFTABLES<<8|op, flags, w.seq)
	w.seq++
	m.nfgen(unix.NFPROTO_NETDEV, 0)
	m.str(unix.NFTA_SET_ELEM_LIST_TABLE, w.table)
	m.str(unix.NFTA_SET_ELEM_LIST_SET, set)
	list := m.nest(unix.NFTA_SET_ELEM_LIST_ELEMENTS)
	elem := m.nest(unix.NFTA_LIST_ELEM)
	key := m.nest(unix.NFTA_SET_ELEM_KEY)
	if a.Is4() {
		b := a.As4()
		m.bytes(unix.NFTA_DATA_VALUE, b[:])
	} else {
		b := a.As16()
		m.bytes(unix.NFTA_DATA_VALUE, b[:])
	}
	m.unnest(key)
	if d > 0 {
		// Both: Linux 6.12 and later take a timeout that equals the element's for no change at all, and would let a
		// live owner's element run out.
		m.be64(unix.NFTA_SET_ELEM_TIMEOUT, uint64(d.Milliseconds()))
		m.be64(unix.NFTA_SET_ELEM_EXPIRATION, uint64(d.Milliseconds()))
	}
	m.unnest(elem)
	m.unnest(list)
	m.end(at)
}

// commit sends the batch and collects one acknowledgement per element message from first on. The kernel answers
// within the send call, so nothing here waits.
func (w *elemWriter) commit(first uint32) error {
	want := int(w.seq - first)
	w.batch(unix.NFNL_MSG_BATCH_END)
	w.seq++
	if err := unix.Sendto(w.fd, w.msg.b, 0, &w.to); err != nil {
		return os.NewSyscallError("send", err)
	}
	var failed error
	for want > 0 {
		n, _, err := unix.Recvfrom(w.fd, w.in[:], unix.MSG_DONTWAIT)
		switch {
		case err == unix.EINTR:
			continue
		case err != nil:
			if failed == nil {
				failed = fmt.Errorf("%d acknowledgements missing: %w", want, err)
			}
			return failed
		}
		for b := w.in[:n]; len(b) >= unix.SizeofNlMsghdr+4; {
			size := int(binary.NativeEndian.Uint32(b))
			if size < unix.SizeofNlMsghdr+4 || size > len(b) {
				break
			}
			typ := binary.NativeEndian.Uint16(b[4:])
			seq := binary.NativeEndian.Uint32(b[8:])
			// An older seq is a left-over of a batch that failed half-way. A batch that fails as a whole is
			// acknowledged under the sequence number of its begin message, one below first.
			if typ == unix.NLMSG_ERROR && int32(seq-(first-1)) >= 0 {
				errno := -int32(binary.NativeEndian.Uint32(b[unix.SizeofNlMsghdr:]))
				if errno != 0 && failed == nil {
					failed = unix.Errno(errno)
				}
				if seq == first-1 {
					return failed
				}
				want--
			}
			next := (size + unix.NLMSG_ALIGNTO - 1) &^ (unix.NLMSG_ALIGNTO - 1)
			if next >= len(b) {
				break
			}
			b = b[next:]
		}
	}
	return failed
}
