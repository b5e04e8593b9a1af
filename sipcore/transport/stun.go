package transport

import (
	"encoding/binary"
	"net/netip"
)

const (
	stunRequest  = 0x0001 // Binding request (RFC 5389 §3)
	stunSuccess  = 0x0101
	stunMappedAt = 0x0020 // XOR-MAPPED-ADDRESS (§15.2)
)

// AppendSTUN appends the answer to a STUN Binding request that came from remote: a success response with XOR-MAPPED-ADDRESS,
// all that a keep-alive on the SIP port needs (RFC 5626 §8). Nothing is appended to what is not a whole request. It does not
// allocate when dst has room for 44 bytes.
func AppendSTUN(dst, request []byte, remote netip.AddrPort) []byte {
	if len(request) < stunHeader || binary.BigEndian.Uint16(request) != stunRequest || string(request[4:8]) != stunCookie ||
		int(binary.BigEndian.Uint16(request[2:])) != len(request)-stunHeader || len(request)%4 != 0 {
		return dst
	}
	ip := remote.Addr().Unmap()
	size, family := 4, byte(1)
	if ip.Is6() {
		size, family = 16, 2
	}
	dst = binary.BigEndian.AppendUint16(dst, stunSuccess)
	dst = binary.BigEndian.AppendUint16(dst, uint16(4+4+size))
	key := request[4:stunHeader] // the cookie and the transaction
	dst = append(dst, key...)
	dst = binary.BigEndian.AppendUint16(dst, stunMappedAt)
	dst = binary.BigEndian.AppendUint16(dst, uint16(4+size))
	dst = append(dst, 0, family)
	dst = binary.BigEndian.AppendUint16(dst, remote.Port()^binary.BigEndian.Uint16(key))
	if ip.Is4() {
		a := ip.As4()
		return appendXOR(dst, a[:], key)
	}
	a := ip.As16()
	return appendXOR(dst, a[:], key)
}

func appendXOR(dst, addr, key []byte) []byte {
	for i, c := range addr {
		dst = append(dst, c^key[i])
	}
	return dst
}
