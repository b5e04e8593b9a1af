package wire

// Params goes through ;name=value parameters (RFC 3261 generic-param, Via and Contact parameters, URI parameters).
// White space around ; and = is allowed, a value may be a quoted string.
type Params struct{ b []byte }

// SplitParams starts an iteration over b, which begins with the first ';' or is empty. Anything before it is skipped.
func SplitParams(b []byte) Params { return Params{b} }

// Next returns the next parameter: its name, and its value as written (quotes included; nil when there is no =).
func (p *Params) Next() (name, value []byte, ok bool) {
	b := p.b
	for {
		i := 0
		for i < len(b) && (b[i] == ';' || isSpace(b[i])) {
			i++
		}
		if i == len(b) {
			p.b = nil
			return nil, nil, false
		}
		off, eq := i, -1
		for i < len(b) && b[i] != ';' {
			switch {
			case b[i] == '"':
				if i = quoteEnd(b, i); i < 0 {
					i = len(b)
				}
				continue
			case b[i] == '=' && eq < 0:
				eq = i
			}
			i++
		}
		p.b = b[i:]
		if eq < 0 {
			return trim(b[off:i]), nil, true
		}
		name, value = trim(b[off:eq]), trim(b[eq+1:i])
		if value == nil {
			value = b[i:i]
		}
		return name, value, true
	}
}

// Param finds a parameter by name (any letter case) in a list that begins with ';'. The value is as written; it is nil
// when the parameter has none.
func Param(params []byte, name string) (value []byte, ok bool) {
	p := SplitParams(params)
	for {
		n, v, more := p.Next()
		if !more {
			return nil, false
		}
		if equalFold(n, name) {
			return v, true
		}
	}
}

func unescape(dst, v []byte) []byte {
	for i := 0; i < len(v); i++ {
		if v[i] == '\\' && i+1 < len(v) {
			i++
		}
		dst = append(dst, v[i])
	}
	return dst
}
