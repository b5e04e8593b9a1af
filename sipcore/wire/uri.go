package wire

// Scheme of a URI.
type Scheme uint8

// Schemes with a meaning; any other is SchemeOther and is kept whole in URI.Opaque.
const (
	SchemeOther Scheme = iota
	SchemeSIP
	SchemeSIPS
	SchemeTel
)

// URI is a URI taken apart (RFC 3261 §19.1.1, RFC 3966). All parts are as written and lie in the bytes that were parsed.
type URI struct {
	Raw      []byte // the whole of it
	Name     []byte // scheme name
	User     []byte // user part; the number of a tel URI
	Password []byte
	Host     []byte // IPv6 with its brackets
	Params   []byte // from the first ';' on, without headers
	Headers  []byte // after '?'
	Opaque   []byte // all after the colon, for SchemeOther
	Port     uint16 // 0 when none is named
	Scheme   Scheme
	HasUser  bool // there is an '@'
}

// ParseURI takes a URI apart. The error is ErrURI; schemes other than sip, sips and tel are not looked into.
func ParseURI(b []byte) (URI, error) { return URI{}, ErrURI }

// Param finds a URI parameter by name (any letter case).
func (u *URI) Param(name string) (value []byte, ok bool) { return Param(u.Params, name) }

// EffectivePort is the port named, or the default of the scheme: 5061 for sips, else 5060.
func (u *URI) EffectivePort() uint16 { return 0 }

// AppendAoR appends the canonical address-of-record user@host (RFC 3261 §10.3 step 5): no scheme, port, password,
// parameters or headers, escapes in the user resolved, host in lower case. Without a user it is the host alone.
func (u *URI) AppendAoR(dst []byte) []byte { return dst }

// EqualURI compares two URIs by the rules of RFC 3261 §19.1.4 (SIP, SIPS), RFC 3966 §4 (tel), others byte for byte.
func EqualURI(a, b *URI) bool { return false }

// AppendUnescaped appends b with %HH escapes resolved; malformed escapes are kept.
func AppendUnescaped(dst, b []byte) []byte { return dst }
