package fsm

import (
	"net/netip"
	"strings"
)

// sameURI compares two contacts by RFC 3261 §19.1.4: scheme, host and parameter names without regard to case, user part
// exactly, default values not taken as equal to absence, parameters user, ttl, method, maddr and transport (the latter by
// common sense) in both or neither, other parameters equal where both have them. Escapes are compared as written.
func sameURI(a, b string) bool {
	if a == b {
		return true
	}
	if strings.ContainsAny(a, "?") || strings.ContainsAny(b, "?") {
		return false // headers in a contact: only the same text is the same
	}
	baseA, paramsA := cutParams(a)
	baseB, paramsB := cutParams(b)
	return sameBase(baseA, baseB) && sameParams(paramsA, paramsB) && sameParams(paramsB, paramsA)
}

// cutParams splits after the host: a ';' in the user part belongs to it.
func cutParams(s string) (base, params string) {
	at := strings.LastIndexByte(s, '@') + 1
	if i := strings.IndexByte(s[at:], ';'); i >= 0 {
		return s[:at+i], s[at+i+1:]
	}
	return s, ""
}

func sameBase(a, b string) bool {
	schemeA, restA, okA := strings.Cut(a, ":")
	schemeB, restB, okB := strings.Cut(b, ":")
	if !okA || !okB || lower(schemeA) != lower(schemeB) {
		return false
	}
	atA, atB := strings.LastIndexByte(restA, '@')+1, strings.LastIndexByte(restB, '@')+1
	return restA[:atA] == restB[:atB] && lower(restA[atA:]) == lower(restB[atB:])
}

// sameParams reports whether what a has doesn't contradict b.
func sameParams(a, b string) bool {
	for p := range strings.SplitSeq(a, ";") {
		name, value, _ := strings.Cut(p, "=")
		if name == "" {
			continue
		}
		other, found := uriParam(b, name)
		if found && lower(value) != lower(other) {
			return false
		}
		if !found {
			switch lower(name) {
			case "user", "ttl", "method", "maddr", "transport":
				return false
			}
		}
	}
	return true
}

func uriParam(params, name string) (value string, found bool) {
	for p := range strings.SplitSeq(params, ";") {
		n, v, _ := strings.Cut(p, "=")
		if lower(n) == lower(name) {
			return v, true
		}
	}
	return "", false
}

// namesAddr reports whether a contact over UDP literally has this address and port in it; no port is 5060 (RFC 3261 §19.1.2).
func namesAddr(contact string, a netip.AddrPort) bool {
	scheme, rest, _ := strings.Cut(contact, ":")
	if !strings.EqualFold(scheme, "sip") {
		return false
	}
	if _, host, found := strings.Cut(rest, "@"); found {
		rest = host
	}
	if i := strings.IndexAny(rest, ";?"); i >= 0 {
		rest = rest[:i]
	}
	named, err := netip.ParseAddrPort(rest)
	if err != nil {
		host, v6 := strings.CutPrefix(rest, "[")
		if v6 {
			host, v6 = strings.CutSuffix(host, "]")
		}
		addr, err := netip.ParseAddr(host)
		if err != nil || addr.Is6() != v6 { // IPv6 stands in brackets, nothing else does (§25.1)
			return false // a name
		}
		named = netip.AddrPortFrom(addr, 5060)
	}
	return named.Port() == a.Port() && named.Addr().Unmap() == a.Addr().Unmap()
}
