package registrar

import (
	"net/http"
	"strconv"
	"sync"
	"time"

	"holdline/fsm"
	"holdline/sipcore/wire"
)

// rooms has places for an AoR's bindings: eight made anew were a third of what a REGISTER allocates.
var rooms = sync.Pool{New: func() any { return new([]fsm.Binding) }}

// bindings makes the 200 that lists what the AoR has registered, with the seconds left of each (RFC 3261 §10.3 step 8), and
// repeats the Path of this REGISTER for a phone that knows it (RFC 3327 §5.3).
func (r *Registrar) bindings(m *wire.Msg, aor string, now int64) *wire.Response {
	scratch := rooms.Get().(*[]fsm.Binding)
	all := r.state.Bindings(aor, (*scratch)[:0])
	defer func() {
		clear(all)
		*scratch = all
		rooms.Put(scratch)
	}()
	fields := make([]wire.Field, 0, len(all)+2)
	b := make([]byte, 0, 128*len(all))
	for i := range all {
		left := (all[i].ExpiresMs - now + 999) / 1000
		if left <= 0 {
			continue // expired, only not removed yet
		}
		at := len(b)
		b = appendContact(b, &all[i], left)
		fields = append(fields, wire.Field{ID: wire.HdrContact, Value: b[at:len(b):len(b)]})
	}
	if m.Has(wire.HdrPath) && knowsPath(m) {
		for it := m.Values(wire.HdrPath); ; {
			_, v, ok := it.Next()
			if !ok {
				break
			}
			if p, err := text(m.Bytes(v), maxPathValue, "Path"); err == nil { // what could not be stored has been refused
				fields = append(fields, wire.Field{ID: wire.HdrPath, Value: []byte(p)})
			}
		}
	}
	date := time.Now().UTC().AppendFormat(nil, http.TimeFormat) // step 8: some phones set their clocks by it
	fields = append(fields, wire.Field{ID: wire.HdrSupported, Value: []byte("path, outbound")}, wire.Field{ID: wire.HdrDate, Value: date})
	return &wire.Response{Status: 200, Fields: fields}
}

func appendContact(dst []byte, b *fsm.Binding, left int64) []byte {
	dst = append(dst, '<')
	dst = append(dst, b.Contact...)
	dst = append(dst, '>')
	dst = append(dst, b.Params...)
	dst = append(dst, ";expires="...)
	return strconv.AppendInt(dst, left, 10)
}
