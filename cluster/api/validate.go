package api

import (
	"net/netip"
	"strconv"
	"strings"
	"unicode/utf8"
)

// DefaultPort is the cluster port when an address names none.
const DefaultPort = 7700

// ParseListen reads an IP address with or without port as the address that a node listens on and is reached at by its peers.
// Whether the machine has it is for the daemon to find out.
func ParseListen(s string) (netip.AddrPort, error) {
	ap, err := netip.ParseAddrPort(s)
	if err != nil {
		a, aerr := netip.ParseAddr(strings.Trim(s, "[]"))
		if aerr != nil {
			return ap, Errorf(CodeInvalid, "listen address %q is not an IP address: give this node's own address, such as 10.77.0.11", s)
		}
		ap = netip.AddrPortFrom(a, DefaultPort)
	}
	a := ap.Addr().Unmap()
	unreachable := a.IsUnspecified() || a.IsMulticast() || a.IsLoopback() || a.Is6() && a.IsLinkLocalUnicast() // which needs a zone, and that is each machine's own
	if unreachable || a.Zone() != "" || ap.Port() == 0 {
		return ap, Errorf(CodeInvalid, "listen address %q cannot be reached by the other nodes: give this node's own address, such as 10.77.0.11", s)
	}
	return netip.AddrPortFrom(a, ap.Port()), nil
}

// ParseVIP reads an address with the prefix length of its network.
func ParseVIP(s string) (netip.Prefix, error) {
	p, err := netip.ParsePrefix(s)
	if err != nil {
		return p, Errorf(CodeInvalid, "VIP %q is not an address with its network's prefix length: write it as 10.77.0.101/24", s)
	}
	a := p.Addr()
	switch {
	case a.Is4In6(), a.IsUnspecified(), a.IsMulticast(), a.IsLoopback(), a.IsLinkLocalUnicast():
		return p, Errorf(CodeInvalid, "VIP %s cannot float: give a unicast address of a network that all nodes are attached to", s)
	case a.Is4() && p.Bits() < 31 && (a == p.Masked().Addr() || a == lastOf(p)):
		return p, Errorf(CodeInvalid, "VIP %s is the network or broadcast address of its network: give a host address", s)
	case p.IsSingleIP():
		return p, Errorf(CodeInvalid, "VIP %s names no network: write the length of the one that the nodes' own addresses there have, such as /24", s)
	case p.Bits() == 0:
		return p, Errorf(CodeInvalid, "VIP %s has prefix length 0: write the length of its network, such as /24", s)
	}
	return p, nil
}

// lastOf is the highest address of an IPv4 prefix.
func lastOf(p netip.Prefix) netip.Addr {
	b := p.Masked().Addr().As4()
	for i := p.Bits(); i < 32; i++ {
		b[i/8] |= 0x80 >> (i % 8)
	}
	return netip.AddrFrom4(b)
}

// checkName accepts names of nodes, groups, pools and members: what fits a host name label, so that it fits anywhere.
func checkName(kind, s string) error {
	ok := s != "" && len(s) <= 63 && isLetter(s[0])
	for i := 0; ok && i < len(s); i++ {
		ok = isLetter(s[i]) || isDigit(s[i]) || s[i] == '-' || s[i] == '_' || s[i] == '.'
	}
	if !ok {
		return Errorf(CodeInvalid, "%s name %q is not usable: begin with a letter, then letters, digits, '-', '_' or '.', at most 63", kind, s)
	}
	return nil
}

// domainName returns the canonical form of a SIP host: a host name in lower case, or an IP address.
func domainName(kind, s string) (string, error) {
	if a, err := netip.ParseAddr(strings.Trim(s, "[]")); err == nil && a.Zone() == "" && !a.IsUnspecified() {
		return a.Unmap().String(), nil
	}
	name := strings.ToLower(strings.TrimSuffix(s, "."))
	ok := name != "" && len(name) <= 253
	allDigits := true // RFC 3261 §25.1: the top label begins with a letter; 10.77.0 is a mistyped address
	for label := range strings.SplitSeq(name, ".") {
		ok = ok && label != "" && len(label) <= 63 && label[0] != '-' && label[len(label)-1] != '-'
		allDigits = true
		for i := 0; i < len(label); i++ {
			ok = ok && (isLetter(label[i]) || isDigit(label[i]) || label[i] == '-' || label[i] == '_')
			allDigits = allDigits && isDigit(label[i])
		}
	}
	if !ok || allDigits {
		return "", Errorf(CodeInvalid, "%s %q is neither a host name nor an IP address: write it as example.com", kind, s)
	}
	return name, nil
}

// ParseAoR returns the canonical user@domain. A leading sip: is accepted and dropped.
func ParseAoR(s string) (aor, user, domain string, err error) {
	rest := strings.TrimPrefix(s, "sip:")
	at := strings.LastIndexByte(rest, '@')
	if at < 0 {
		return "", "", "", Errorf(CodeInvalid, "user %q has no domain: write it as alice@example.com", s)
	}
	user = rest[:at]
	if !validUser(user) {
		return "", "", "", Errorf(CodeInvalid, "user part %q has characters that SIP does not allow there, is empty or longer than 128: write it as alice@example.com", user)
	}
	if domain, err = domainName("domain", rest[at+1:]); err != nil {
		return "", "", "", err
	}
	return user + "@" + domain, user, domain, nil
}

// validUser says whether s is a user of RFC 3261 §25.1 without escapes: those have no canonical form in a command line.
func validUser(s string) bool {
	for i := 0; i < len(s); i++ {
		if !isLetter(s[i]) && !isDigit(s[i]) && !strings.ContainsRune("-_.!~*'()&=+$,;?/", rune(s[i])) {
			return false
		}
	}
	return s != "" && len(s) <= 128
}

// hostPort accepts host, host:port, an IPv6 address alone and [IPv6]:port.
func hostPort(s string) error {
	if ap, err := netip.ParseAddrPort(s); err == nil && ap.Port() != 0 && !ap.Addr().IsUnspecified() {
		return nil
	}
	host := s
	if i := strings.LastIndexByte(s, ':'); i >= 0 && strings.Count(s, ":") == 1 {
		if n, err := strconv.ParseUint(s[i+1:], 10, 16); err != nil || n == 0 {
			return Errorf(CodeInvalid, "address %q has no usable port: write it as 10.77.0.22:5080", s)
		}
		host = s[:i]
	}
	if _, err := domainName("address", host); err != nil {
		return Errorf(CodeInvalid, "address %q is neither host nor host:port: write it as 10.77.0.22:5080", s)
	}
	return nil
}

// source returns the canonical form of a network or single address.
func source(s string) (string, error) {
	if a, err := netip.ParseAddr(s); err == nil && a.Zone() == "" {
		a = a.Unmap()
		return netip.PrefixFrom(a, a.BitLen()).String(), nil
	}
	p, err := netip.ParsePrefix(s)
	if err != nil {
		return "", Errorf(CodeInvalid, "source %q is not a network: write it as 10.77.0.0/24", s)
	}
	if p.Bits() == 0 {
		return "", Errorf(CodeInvalid, "source %s would trust everybody: name the networks of the gateway", s)
	}
	return p.Masked().String(), nil
}

// oneLine says whether s is valid UTF-8 without control characters.
func oneLine(s string) bool {
	return utf8.ValidString(s) && !strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r == 0x7f })
}

func isLetter(c byte) bool { return c|0x20 >= 'a' && c|0x20 <= 'z' }
func isDigit(c byte) bool  { return c >= '0' && c <= '9' }
