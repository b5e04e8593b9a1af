package transport

// kind of a datagram, by its first bytes.
type kind uint8

const (
	kindSIP       kind = iota // anything for the scanner to judge
	kindKeepalive             // CRLF, NULs and the like, which hold a NAT binding open (RFC 5626 §3.5.1 is for streams)
	kindSTUN                  // STUN (RFC 5389 §6); RFC 5626 §4.4.2 has clients ping with Binding requests on the SIP port
)

const (
	stunHeader = 20
	stunCookie = "\x21\x12\xa4\x42"
	// maxKeepalive is the longest datagram looked through for content.
	maxKeepalive = 16
)

func classify(b []byte) kind {
	if len(b) >= stunHeader && b[0] < 4 && string(b[4:8]) == stunCookie {
		return kindSTUN
	}
	if len(b) > maxKeepalive {
		return kindSIP
	}
	for _, c := range b {
		if c != '\r' && c != '\n' && c != 0 && c != ' ' {
			return kindSIP
		}
	}
	return kindKeepalive
}
