package wire

import (
	"bytes"
	"net/netip"
	"unsafe"
)

// Scheme of a URI.
type Scheme uint8

// Schemes with a meaning; any other is SchemeOther and is kept whole in URI.Opaque.
const (
	SchemeOther Scheme = iota
	SchemeSIP
	SchemeSIPS
	SchemeTel
)

// URI is a URI taken apart (RFC 3261 §19.1.1, RFC 3966). All parts are as written and lie in the bytes that were parsed.
type URI struct {
	Raw      []byte // the whole of it
	Name     []byte // scheme name
	User     []byte // user part; the number of a tel URI
	Password []byte
	Host     []byte // IPv6 with its brackets
	Params   []byte // from the first ';' on, without headers
	Headers  []byte // after '?'
	Opaque   []byte // all after the colon, for SchemeOther
	Port     uint16 // 0 when none is named
	Scheme   Scheme
	HasUser  bool // there is an '@'
}

// ParseURI takes a URI apart. The error is ErrURI; schemes other than sip, sips and tel are not looked into.
func ParseURI(b []byte) (URI, error) {
	u := URI{Raw: b}
	colon := bytes.IndexByte(b, ':')
	if colon <= 0 || !isAlpha(b[0]) || !allOf(b, classURI) {
		return URI{}, ErrURI
	}
	for _, c := range b[:colon] {
		if !isToken(c) {
			return URI{}, ErrURI
		}
	}
	u.Name = b[:colon]
	rest := b[colon+1:]
	switch {
	case equalFold(u.Name, "sip"):
		u.Scheme = SchemeSIP
	case equalFold(u.Name, "sips"):
		u.Scheme = SchemeSIPS
	case equalFold(u.Name, "tel"):
		return u.parseTel(rest)
	default:
		u.Opaque = rest
		return u, nil
	}
	return u.parseSIP(rest)
}

// parseTel reads "number;params" (RFC 3966).
func (u URI) parseTel(b []byte) (URI, error) {
	u.User = b
	if i := bytes.IndexByte(b, ';'); i >= 0 {
		u.User, u.Params = b[:i], b[i:]
	}
	u.Scheme, u.HasUser = SchemeTel, true
	if len(u.User) == 0 {
		return URI{}, ErrURI
	}
	return u, nil
}

// parseSIP reads "user:password@host:port;params?headers". The user part may hold ';', '?' and '/' itself (RFC 3261
// §25.1 user-unreserved), so the '@' is looked for first; an '@' is not allowed in what follows the host.
func (u URI) parseSIP(b []byte) (URI, error) {
	if at := bytes.LastIndexByte(b, '@'); at >= 0 {
		u.HasUser = true
		u.User, b = b[:at], b[at+1:]
		if i := bytes.IndexByte(u.User, ':'); i >= 0 {
			u.User, u.Password = u.User[:i], u.User[i+1:]
		}
		if len(u.User) == 0 || bytes.IndexByte(u.User, '@') >= 0 || bytes.IndexByte(u.Password, '@') >= 0 {
			return URI{}, ErrURI
		}
	}
	i := 0
	if len(b) > 0 && b[0] == '[' {
		i = bytes.IndexByte(b, ']') + 1
	} else {
		for i < len(b) && class[b[i]]&classHost != 0 && b[i] != ':' {
			i++
		}
	}
	u.Host = b[:i]
	if !allOf(u.Host, classHost) {
		return URI{}, ErrURI
	}
	b = b[i:]
	if len(b) > 0 && b[0] == ':' {
		i = 1
		for i < len(b) && isDigit(b[i]) {
			i++
		}
		port, ok := number(b[1:i], 65535)
		if !ok {
			return URI{}, ErrURI
		}
		u.Port = uint16(port)
		b = b[i:]
	}
	if len(b) > 0 && b[0] != ';' && b[0] != '?' {
		return URI{}, ErrURI
	}
	if i = bytes.IndexByte(b, '?'); i >= 0 {
		b, u.Headers = b[:i], b[i+1:]
	}
	if len(b) > 0 {
		u.Params = b
	}
	return u, nil
}

// Param finds a URI parameter by name (any letter case).
func (u *URI) Param(name string) (value []byte, ok bool) { return Param(u.Params, name) }

// EffectivePort is the port named, or the default of the scheme: 5061 for sips, else 5060 (RFC 3261 §19.1.2).
func (u *URI) EffectivePort() uint16 {
	switch {
	case u.Port != 0:
		return u.Port
	case u.Scheme == SchemeSIPS:
		return 5061
	}
	return 5060
}

// Addr returns the host as an IP address; it is not valid when the host is a name.
func (u *URI) Addr() netip.Addr { return ParseHost(u.Host) }

// ParseHost returns the IP address that host is written as, IPv6 with or without brackets; not valid for a name.
func ParseHost(host []byte) netip.Addr {
	if n := len(host); n > 2 && host[0] == '[' && host[n-1] == ']' {
		host = host[1 : n-1]
	}
	if len(host) > 45 || len(host) < 2 || !isHexDigit(host[0]) && host[0] != ':' {
		return netip.Addr{}
	}
	for _, c := range host { // a name fails here, before its error is allocated
		if !isHexDigit(c) && c != '.' && c != ':' {
			return netip.Addr{}
		}
	}
	// No copy: the address holds no text, and the error, which would, is not kept.
	a, err := netip.ParseAddr(unsafe.String(&host[0], len(host)))
	if err != nil {
		return netip.Addr{}
	}
	return a
}
