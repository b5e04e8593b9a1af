package txn

import (
	"github.com/dchest/siphash"

	"holdline/sipcore/wire"
)

// Key names a server transaction: a keyed 128-bit digest of what RFC 3261 §17.2.3 compares (top branch,
// sent-by, method with ACK and CANCEL taken as the INVITE they belong to). The digest's key is the
// cluster's, so every node gives a retransmission the same Key, and nobody outside can make two
// transactions meet: comparing Keys in full is comparing transactions.
type Key struct{ Hi, Lo uint64 }

// Secret is a 128-bit SipHash key.
type Secret struct{ K0, K1 uint64 }

// Hash returns the key of the server transaction that m, a request, belongs to or starts, or that m, a response as the
// client gets it, answers. scratch is overwritten and returned grown, so that a caller can keep it.
func (s Secret) Hash(m *wire.Msg, scratch []byte) (Key, []byte) {
	b := append(scratch[:0], m.Bytes(m.Via1.Branch)...)
	return s.sum(m, &m.Via1, b)
}

// HashBelow returns the key of the server transaction that m answers, a response as a proxy gets it: with its own Via above that of the request. Of a client that knows no cookie
// (RFC 2543) it is another key, for a response has no Request-URI.
func (s Secret) HashBelow(m *wire.Msg, scratch []byte) (Key, []byte) {
	b := append(scratch[:0], m.Bytes(m.Via2.Branch)...)
	return s.sum(m, &m.Via2, b)
}

func (s Secret) sum(m *wire.Msg, via *wire.Via, b []byte) (Key, []byte) {
	b = append(b, 0)
	b = appendLower(b, m.Bytes(via.Host))
	b = append(b, ':', byte(via.Port>>8), byte(via.Port), 0)
	switch m.Method {
	case wire.Ack, wire.Cancel:
		b = append(b, byte(wire.Invite))
	case wire.MethodOther:
		b = append(b, m.Bytes(m.CSeqMethod)...)
	default:
		b = append(b, byte(m.Method))
	}
	if !HasCookie(m.Bytes(via.Branch)) {
		// RFC 2543 client: §17.2.3 compares Request-URI, From tag, Call-ID, CSeq number and the whole top Via.
		b = append(b, 0)
		b = append(b, m.Bytes(m.URI)...)
		b = append(b, 0)
		b = append(b, m.Bytes(m.From.Tag)...)
		b = append(b, 0, byte(m.CSeq>>24), byte(m.CSeq>>16), byte(m.CSeq>>8), byte(m.CSeq))
	}
	b = append(b, 0)
	b = append(b, m.Bytes(m.CallID)...)
	hi, lo := siphash.Hash128(s.K0, s.K1, b)
	return Key{hi, lo}, b
}

// HasCookie reports whether a branch is one of RFC 3261: it begins with z9hG4bK.
func HasCookie(branch []byte) bool {
	return len(branch) > 7 && string(branch[:7]) == "z9hG4bK"
}

func appendLower(dst, src []byte) []byte {
	for _, c := range src {
		if 'A' <= c && c <= 'Z' {
			c += 'a' - 'A'
		}
		dst = append(dst, c)
	}
	return dst
}
