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

// ParseContact takes one Contact value apart, as Values returns them.
func ParseContact(b []byte) (Contact, error) {
	c := Contact{Expires: -1, Q: -1}
	if string(trim(b)) == "*" {
		c.Star = true
		return c, nil
	}
	a, err := ParseNameAddr(b)
	if err != nil {
		return c, err
	}
	c.NameAddr = a
	it := SplitParams(a.Params)
	for {
		name, v, ok := it.Next()
		if !ok {
			return c, nil
		}
		c.set(name, v)
	}
}

func (c *Contact) set(name, v []byte) {
	switch {
	case equalFold(name, "expires"):
		if n, ok := number(v, 1<<32-1); ok && c.Expires < 0 {
			c.Expires = int64(n)
		}
	case equalFold(name, "q"):
		if q, ok := parseQ(v); ok && c.Q < 0 {
			c.Q = q
		}
	case equalFold(name, "reg-id"):
		if n, ok := number(v, 1<<31-1); ok && c.RegID == 0 { // RFC 5626 §4.2: 1…2³¹−1
			c.RegID = uint32(n)
		}
	case equalFold(name, "+sip.instance"):
		if n := len(v); c.Instance == nil && n > 4 && v[0] == '"' && v[1] == '<' && v[n-2] == '>' && v[n-1] == '"' {
			c.Instance = v[2 : n-2]
		}
	}
}

// parseQ reads a qvalue, 0 to 1 with up to three decimals (RFC 3261 §25.1), in thousandths.
func parseQ(b []byte) (int16, bool) {
	if len(b) == 0 || len(b) > 5 || b[0] > '1' || b[0] < '0' && b[0] != '.' {
		return 0, false
	}
	q, i := int16(0), 0
	if b[0] != '.' {
		q, i = int16(b[0]-'0')*1000, 1
	}
	if i < len(b) && b[i] != '.' {
		return 0, false
	}
	for w := int16(100); i+1 < len(b); w /= 10 {
		i++
		if !isDigit(b[i]) || w == 0 {
			return 0, false
		}
		q += w * int16(b[i]-'0')
	}
	return q, q <= 1000
}
