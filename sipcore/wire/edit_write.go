package wire

// AppendTo appends the edited message to dst. It allocates only when dst lacks room. The edits stay: AppendTo can be
// called again, and further edits can be made.
func (e *Edit) AppendTo(dst []byte) ([]byte, error) {
	if e.err != nil {
		return dst, e.err
	}
	start := len(dst)
	ops := append(e.plan[:0], e.ops...)
	e.plan = ops
	e.expandDrops(ops)
	sortOps(ops)
	b, pos := e.m.B, int32(0)
	removed := false // what lies before pos was removed, not replaced
	for i := range ops {
		o := &ops[i]
		if o.off < pos {
			switch {
			case removed && o.end <= pos: // within what is gone
			case removed && o.kind >= opDrop:
				pos = o.end
			default:
				return dst[:start], ErrOverlap
			}
			continue
		}
		dst = append(dst, b[pos:o.off]...)
		dst = append(dst, e.text[o.text:o.until]...)
		if o.end > o.off {
			pos, removed = o.end, o.kind >= opDrop
		} else {
			pos = o.off
		}
	}
	dst = append(dst, b[pos:]...)
	if len(dst)-start > MaxMessage {
		return dst[:start], ErrTooLong
	}
	return dst, nil
}

// sortOps orders by place; insertions come before what gives way at the same place. Few operations, nearly in order.
func sortOps(ops []op) {
	for i := 1; i < len(ops); i++ {
		o := ops[i]
		j := i
		for ; j > 0 && before(&o, &ops[j-1]); j-- {
			ops[j] = ops[j-1]
		}
		ops[j] = o
	}
}

func before(a, b *op) bool {
	if a.off != b.off {
		return a.off < b.off
	}
	if (a.kind == opInsert) != (b.kind == opInsert) {
		return a.kind == opInsert
	}
	if a.kind == opInsert {
		return a.order < b.order
	}
	return a.end > b.end // the wider one first, it may take the other with it
}

// expandDrops widens the removal of values by the commas that go with them, and to the whole line when no value is left.
func (e *Edit) expandDrops(ops []op) {
	for i := range ops {
		if ops[i].kind != opDrop {
			continue
		}
		hdr := ops[i].hdr
		h := e.m.Header(int(hdr))
		it := SplitValues(e.m.Bytes(h.Value))
		keptEnd, prev := int32(-1), (*op)(nil)
		for {
			v, ok := it.Next()
			if !ok {
				break
			}
			off := int32(h.Value.Off) + int32(it.start)
			if prev != nil {
				prev.end = off // nothing is kept before it: it goes up to the next value
				prev = nil
			}
			d := findDrop(ops, hdr, off)
			switch {
			case d == nil:
				keptEnd = off + int32(len(v))
			case keptEnd >= 0:
				d.off, d.end, d.kind = keptEnd, off+int32(len(v)), opRemove
				keptEnd = d.end
			default:
				d.kind, prev = opRemove, d
			}
		}
		if keptEnd < 0 { // every value is dropped
			ops[i].off, ops[i].end = int32(h.Line.Off), int32(h.Line.End)
		}
	}
}

func findDrop(ops []op, hdr, off int32) *op {
	for i := range ops {
		if o := &ops[i]; o.kind == opDrop && o.hdr == hdr && o.off == off {
			return o
		}
	}
	return nil
}
