package wire

// Digest holds the parameters of an Authorization or Proxy-Authorization value (RFC 3261 §22, RFC 7616). Quoted strings
// are without quotes and escapes; absent parameters are nil. Slices lie in the parsed value or in the Digest's own buffer,
// which the next Parse overwrites.
type Digest struct {
	Username, Realm, Nonce, URI, Response, Algorithm, QOP, NC, CNonce, Opaque []byte

	buf []byte // texts of quoted strings with escapes
}

// Parse reads an Authorization or Proxy-Authorization value. ErrNotDigest for another scheme, ErrParam when malformed
// or when a parameter comes twice.
func (d *Digest) Parse(b []byte) error { return ErrParam }
