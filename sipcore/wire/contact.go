package wire

// Contact is one value of a Contact header (RFC 3261 §20.10, RFC 5626).
type Contact struct {
	NameAddr
	Star     bool   // Contact: *
	Instance []byte // +sip.instance without quotes and < >, nil when absent
	Expires  int64  // seconds, -1 when absent or malformed (RFC 3261 §10.3: the default then applies)
	Q        int16  // 0…1000, -1 when absent
	RegID    uint32 // reg-id, 0 when absent
}

// ParseContact takes one Contact value apart.
func ParseContact(b []byte) (Contact, error) { return Contact{}, ErrAddr }
