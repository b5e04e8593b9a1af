package txn

import "sync"

// Buf is a pooled message with one owner, who releases it.
type Buf struct {
	B     []byte
	class uint8
	pool  *Pool
}

// classes are the capacities that are pooled; a message larger than the last is left to the collector.
var classes = [...]int{512, 1024, 2048, 4096, 16384, 66560}

// Pool makes Bufs. It is safe for concurrent use; the zero Pool is ready.
type Pool struct {
	free [len(classes)]sync.Pool
}

// Get returns an empty buffer with room for at least size octets.
func (p *Pool) Get(size int) *Buf {
	for i, c := range classes {
		if size > c {
			continue
		}
		if b, ok := p.free[i].Get().(*Buf); ok {
			return b
		}
		return &Buf{B: make([]byte, 0, c), class: uint8(i), pool: p}
	}
	return &Buf{B: make([]byte, 0, size), class: uint8(len(classes)), pool: p}
}

// Copy returns a buffer that holds a copy of b.
func (p *Pool) Copy(b []byte) *Buf {
	buf := p.Get(len(b))
	buf.B = append(buf.B, b...)
	return buf
}

// Release gives the buffer back; nil is fine. Nobody may touch b afterwards.
func (b *Buf) Release() {
	if b == nil || int(b.class) >= len(classes) || cap(b.B) != classes[b.class] {
		return // none, or grown past its class by append: left to the collector
	}
	b.B = b.B[:0]
	b.pool.free[b.class].Put(b)
}
