package wire

// NameAddr is a name-addr or addr-spec with its header parameters (RFC 3261 §20.10), as in From, Contact, Route.
type NameAddr struct {
	Display []byte // display name as written, quotes included
	URI     []byte // the addr-spec, without < >
	Params  []byte // header parameters, from the first ';' on
	Angle   bool   // the URI was enclosed in < >
}

// ParseNameAddr takes one value apart, not several separated by commas. The URI in it is not looked into.
func ParseNameAddr(b []byte) (NameAddr, error) {
	p, ok := splitAddr(b)
	if !ok {
		return NameAddr{}, ErrAddr
	}
	return NameAddr{
		Display: b[p.display:p.displayEnd],
		URI:     b[p.uri:p.uriEnd],
		Params:  b[p.params:],
		Angle:   p.angle,
	}, nil
}
