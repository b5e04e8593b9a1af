package wire

import "bytes"

// Digest holds the parameters of an Authorization or Proxy-Authorization value (RFC 3261 §22, RFC 7616). Quoted strings
// are without quotes and escapes; absent parameters are nil. Slices lie in the parsed value or in the Digest's own buffer,
// which the next Parse overwrites.
type Digest struct {
	Username, Realm, Nonce, URI, Response, Algorithm, QOP, NC, CNonce, Opaque []byte

	buf []byte // texts of quoted strings with escapes
}

// Parse reads an Authorization or Proxy-Authorization value. ErrNotDigest for another scheme, ErrParam when malformed
// or when a parameter comes twice. It allocates only for quoted strings with escapes, and reuses that room.
func (d *Digest) Parse(b []byte) error {
	*d = Digest{buf: d.buf[:0]}
	scheme, it := SplitAuth(b)
	if !equalFold(scheme, "Digest") {
		return ErrNotDigest
	}
	for {
		name, v, err := it.Next()
		if err != nil || name == nil {
			return err
		}
		to := d.field(name)
		if to == nil {
			continue
		}
		if *to != nil {
			return ErrParam
		}
		*to = d.text(v)
	}
}

// text returns a value without quotes and escapes, never nil.
func (d *Digest) text(v []byte) []byte {
	if len(v) < 2 || v[0] != '"' {
		return v
	}
	v = v[1 : len(v)-1]
	if bytes.IndexByte(v, '\\') < 0 {
		return v
	}
	n := len(d.buf)
	d.buf = unescape(d.buf, v)
	return d.buf[n:len(d.buf):len(d.buf)]
}

// field returns where a parameter is kept, nil for one that we do not use.
func (d *Digest) field(name []byte) *[]byte {
	var low [len("algorithm")]byte
	if len(name) > len(low) {
		return nil
	}
	switch string(AppendLower(low[:0], name)) {
	case "username":
		return &d.Username
	case "realm":
		return &d.Realm
	case "nonce":
		return &d.Nonce
	case "uri":
		return &d.URI
	case "response":
		return &d.Response
	case "algorithm":
		return &d.Algorithm
	case "qop":
		return &d.QOP
	case "nc":
		return &d.NC
	case "cnonce":
		return &d.CNonce
	case "opaque":
		return &d.Opaque
	}
	return nil
}

// AuthParams goes through the name=value list of Authorization, WWW-Authenticate and their relatives.
type AuthParams struct{ b []byte }

// SplitAuth returns the scheme of credentials or of a challenge and an iterator over its parameters.
func SplitAuth(b []byte) (scheme []byte, params AuthParams) {
	b = trim(b)
	i := 0
	for i < len(b) && isToken(b[i]) {
		i++
	}
	if i < len(b) && !isSpace(b[i]) {
		return nil, AuthParams{}
	}
	return b[:i], AuthParams{b[i:]}
}

// Next returns the next parameter, its value as written (quotes included); name is nil at the end. ErrParam when the
// list is malformed.
func (p *AuthParams) Next() (name, value []byte, err error) {
	b := p.b
	i := 0
	for i < len(b) && (isSpace(b[i]) || b[i] == ',') {
		i++
	}
	if i == len(b) {
		p.b = nil
		return nil, nil, nil
	}
	off := i
	for i < len(b) && isToken(b[i]) {
		i++
	}
	name = b[off:i]
	i = skipLWS(b, i)
	if len(name) == 0 || i == len(b) || b[i] != '=' {
		return nil, nil, ErrParam
	}
	i = skipLWS(b, i+1)
	off = i
	if i < len(b) && b[i] == '"' {
		i = quoteEnd(b, i)
		if i < 0 {
			return nil, nil, ErrParam
		}
	} else {
		for i < len(b) && b[i] != ',' && !isSpace(b[i]) && b[i] != '"' {
			i++
		}
	}
	value = b[off:i]
	i = skipLWS(b, i)
	if i < len(b) && b[i] != ',' {
		return nil, nil, ErrParam
	}
	p.b = b[i:]
	return name, value, nil
}
