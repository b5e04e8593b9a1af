package wire

import (
	"bytes"
	"encoding/base64"
)

// Text that we make out of octets, and that peers carry back, is base64url without padding (RFC 4648 §5), but for one word: a peer that looks for its
// header field by name alone, as sipp does, takes "CSeq" in a Record-Route for it. That happened to one call in some 300 000. There the letter is a dot, which
// base64url has not.
var (
	cseqWord    = []byte("CSeq")
	cseqNotWord = []byte(".Seq")
)

// AppendBase64 appends the text of raw to dst.
func AppendBase64(dst, raw []byte) []byte {
	n := len(dst)
	dst = base64.RawURLEncoding.AppendEncode(dst, raw)
	for {
		i := bytes.Index(dst[n:], cseqWord)
		if i < 0 {
			return dst
		}
		dst[n+i] = cseqNotWord[0]
	}
}

// DecodeBase64 reads what AppendBase64 made into dst, and returns how many octets it is. The error is base64.CorruptInputError. It panics when dst has less room
// than base64.RawURLEncoding.DecodedLen of the text's length.
func DecodeBase64(dst, text []byte) (int, error) {
	if bytes.Contains(text, cseqNotWord) {
		text = bytes.ReplaceAll(text, cseqNotWord, cseqWord)
	}
	return base64.RawURLEncoding.Decode(dst, text)
}
