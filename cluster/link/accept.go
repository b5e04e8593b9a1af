package link

import (
	"encoding/binary"
	"net"
	"sync"
	"time"
)

// inbound is a stream that a peer dialled: it is read here, answers go back on it.
type inbound struct {
	link *Link
	from uint32
	conn net.Conn

	mu  sync.Mutex
	out []byte
}

// Serve reads a stream that node from has dialled, until it ends. The caller has checked who it is.
func (l *Link) Serve(from uint32, conn net.Conn) error {
	if p := l.peer(from); p != nil {
		p.cameIn()
	}
	in := &inbound{link: l, from: from, conn: conn}
	r := newReader(conn)
	var frames, acked uint64
	for {
		if r.Buffered() == 0 { // everything that came together is answered together
			if frames > acked {
				in.answer(kindAck, appendU64(nil, frames))
				acked = frames
			}
			if err := in.flush(); err != nil {
				return err
			}
		}
		if err := conn.SetReadDeadline(time.Now().Add(2 * silentAfter)); err != nil {
			return err
		}
		kind, b, err := r.next()
		if err != nil {
			return err
		}
		l.heard(from)
		switch {
		case kind == kindFrame && len(b) >= 12:
			frames++
			in.frame(frames, binary.BigEndian.Uint32(b), u64(b[4:]), b[12:])
		case kind == kindBatch:
			if !l.opt.Handler.Batch(from, append([]byte(nil), b...)) {
				in.answer(kindNoBatch, nil)
			}
		case kind == kindReadIndex && len(b) == 8:
			in.readIndex(u64(b))
		case kind == kindPing && len(b) == 8:
			in.answer(kindPong, b)
		case kind == kindGossip:
			l.opt.Handler.Gossip(from, append([]byte(nil), b...))
		default:
			return errMalformed
		}
	}
}

// frame delivers a SIP frame, or says who owns its group. A holder under a lower epoch than the sender knows of is not the
// owner any more: it has not noticed yet.
func (in *inbound) frame(number uint64, group uint32, epoch uint64, data []byte) {
	l := in.link
	if mine, _, held := l.opt.Owners.Lease(group); held && mine >= epoch {
		l.opt.Handler.Frame(in.from, group, mine, data)
		return
	}
	owner, ballot := l.opt.Owners.Owner(group)
	b := appendU64(nil, number)
	b = binary.BigEndian.AppendUint32(b, owner)
	in.answer(kindRefuse, appendU64(b, ballot))
}

func (in *inbound) readIndex(id uint64) {
	in.link.opt.Handler.ReadIndex(in.from, func(index uint64, ok bool) {
		b := appendU64(appendU64(nil, id), index)
		if ok {
			b = append(b, 1)
		} else {
			b = append(b, 0)
		}
		in.answer(kindIndex, b)
		if err := in.flush(); err != nil {
			_ = in.conn.Close() // the reader notices
		}
	})
}

func (in *inbound) answer(kind byte, payload []byte) {
	in.mu.Lock()
	in.out = appendMessage(in.out, kind, payload)
	in.mu.Unlock()
}

func (in *inbound) flush() error {
	in.mu.Lock()
	defer in.mu.Unlock()
	if len(in.out) == 0 {
		return nil
	}
	if err := in.conn.SetWriteDeadline(time.Now().Add(writeTimeout)); err != nil {
		return err
	}
	_, err := in.conn.Write(in.out)
	in.out = in.out[:0]
	return err
}

func (l *Link) heard(node uint32) {
	if p := l.peer(node); p != nil {
		p.heard.Store(l.now())
	}
}
