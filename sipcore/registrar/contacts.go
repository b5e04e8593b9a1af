package registrar

import (
	"strconv"
	"strings"
	"unicode/utf8"

	"holdline/fsm"
	"holdline/fsm/pb"
	"holdline/sipcore/proxy"
	"holdline/sipcore/transport"
	"holdline/sipcore/wire"
)

// What is stored of a REGISTER is bounded, whatever it says.
const (
	maxUser      = 128
	maxCallID    = 256
	maxURI       = 512
	maxParams    = 512
	maxPath      = 8   // values
	maxPathValue = 512 // bytes each
	maxAgent     = 128
	maxChanges   = 64
)

// limits are what operators set; seconds.
type limits struct {
	min, max, def int64
	bindings      uint32
	anyPath       bool // Path is taken for phones that don't say that they know it
}

func limitsOf(cfg *fsm.Config) limits {
	l := limits{
		min: cfg.SettingInt("register.min-expires", 60),
		max: cfg.SettingInt("register.max-expires", 7200),
		def: cfg.SettingInt("register.default-expires", 3600),
	}
	l.max = min(max(l.max, 1), 1<<31)
	l.min = min(max(l.min, 0), l.max, 3600) // what asks for an hour is not refused (§10.3 step 7)
	l.def = min(max(l.def, l.min, 1), l.max)
	l.anyPath = cfg.Setting(SettingPath, "supported") == "any"
	l.bindings = uint32(min(max(cfg.SettingInt("register.max-bindings", 10), 1), fsm.MaxBindings))
	return l
}

// request is a REGISTER on its way into a command.
type request struct {
	m        *wire.Msg
	limits   limits
	outbound outbound
	cmd      *pb.Register
	from     transport.Flow // where it came from
	agent    string
	path     []string
}

// checkRequire refuses a request that needs an extension we don't have (RFC 3261 §8.2.2.3).
func checkRequire(m *wire.Msg) error {
	if !m.Has(wire.HdrRequire) {
		return nil
	}
	var missing []string
	it := m.Values(wire.HdrRequire)
	for {
		_, v, ok := it.Next()
		if !ok {
			break
		}
		if tag := m.Bytes(v); !wire.EqualFold(tag, "path") && !wire.EqualFold(tag, tagOutbound) {
			missing = append(missing, string(tag))
		}
	}
	if len(missing) == 0 {
		return nil
	}
	return refuse(420, "", wire.Field{ID: wire.HdrUnsupported, Value: []byte(strings.Join(missing, ", "))})
}

// addressOfRecord reads whose bindings are meant: To, which must lie in the domain asked (RFC 3261 §10.3 step 5).
func addressOfRecord(cfg *fsm.Config, m *wire.Msg, domain *pb.Domain) (string, error) {
	u, err := wire.ParseURI(m.Bytes(m.To.URI))
	switch {
	case err != nil:
		return "", refuse(400, "Bad URI In To")
	case u.Scheme != wire.SchemeSIP && u.Scheme != wire.SchemeSIPS:
		return "", refuse(400, "To Is Not A SIP URI")
	case len(u.User) == 0:
		return "", refuse(404, "To Names No User")
	}
	if d := cfg.Domain(fsm.CanonicalHost(string(u.Host))); d == nil || d.Name != domain.Name {
		return "", refuse(404, "To Names Another Domain")
	}
	user, err := text(wire.AppendUnescaped(nil, u.User), maxUser, "User In To")
	if err != nil { // a name that is well written (RFC 4475 §3.1.1.4), and nobody's
		return "", refuse(404, "To Names Nobody Here")
	}
	return user + "@" + domain.Name, nil
}

// read turns Contacts, Path and User-Agent into the command's changes (RFC 3261 §10.3 steps 6 and 7).
func (q *request) read() error {
	if err := q.readPath(); err != nil {
		return err
	}
	q.agent = agent(q.m.Value(wire.HdrUserAgent))
	star, others := false, 0
	it := q.m.Values(wire.HdrContact)
	for {
		_, v, ok := it.Next()
		if !ok {
			break
		}
		c, err := wire.ParseContact(q.m.Bytes(v))
		if err != nil {
			return refuse(400, "Bad Contact")
		}
		if c.Star {
			star = true
			continue
		}
		if others++; others > maxChanges {
			return refuse(403, "Too Many Contacts")
		}
		if err := q.contact(&c); err != nil {
			return err
		}
	}
	if !star {
		return q.outbound.checkFlows(q.cmd.Changes)
	}
	if others > 0 || q.m.Expires != 0 { // §10.2.2
		return refuse(400, "Contact * Needs Expires 0 And No Other Contact")
	}
	q.cmd.RemoveAll = true
	return nil
}

// contact adds the change that one Contact asks for.
func (q *request) contact(c *wire.Contact) error {
	u, err := wire.ParseURI(c.URI)
	if err != nil {
		return refuse(400, "Bad URI In Contact")
	}
	if u.Scheme != wire.SchemeSIP && u.Scheme != wire.SchemeSIPS {
		return refuse(400, "Contact Is Not A SIP URI")
	}
	expires, err := q.expires(c)
	if err != nil {
		return err
	}
	flow := q.from
	if at, elsewhere := proxy.Listens(q.m, flow, c.URI); elsewhere && len(q.path) == 0 {
		flow.Remote = at
	}
	b := &pb.Binding{Q: 1000, Flow: flow.PB(), Path: q.path, UserAgent: q.agent}
	if c.Q >= 0 {
		b.Q = uint32(c.Q)
	}
	if b.Contact, err = text(c.URI, maxURI, "Contact"); err != nil {
		return err
	}
	if b.Params, err = paramsText(c.Params); err != nil {
		return err
	}
	if b.Instance, err = text(c.Instance, maxParams, "Instance"); err != nil {
		return err
	}
	if b.RegId, err = q.outbound.regID(c); err != nil {
		return err
	}
	b.KeepsFlow = q.outbound.keepsFlow(b.RegId)
	q.cmd.Changes = append(q.cmd.Changes, &pb.BindingChange{Binding: b, ExpiresS: uint32(expires)})
	return nil
}

// expires is how long a contact is to be bound, in seconds: its own parameter, the header, the default (§10.3 step 7).
func (q *request) expires(c *wire.Contact) (int64, error) {
	want := c.Expires
	if want < 0 {
		want = q.m.Expires
	}
	if want < 0 {
		want = q.limits.def
	}
	if want > 0 && want < q.limits.min {
		return 0, refuse(423, "", wire.Field{ID: wire.HdrMinExpires, Value: strconv.AppendInt(nil, q.limits.min, 10)})
	}
	return min(want, q.limits.max), nil
}

// SettingPath says whose Path is taken (RFC 3327 §5.3 leaves it to local policy): "supported", of phones that say that they know the
// extension, who can then see where their calls will go; or "any".
const SettingPath = "register.path"

func knowsPath(m *wire.Msg) bool {
	return m.Lists(wire.HdrSupported, "path") || m.Lists(wire.HdrRequire, "path")
}

// readPath keeps the Path that requests to the bindings must take (RFC 3327 §5.3).
func (q *request) readPath() error {
	if !q.m.Has(wire.HdrPath) {
		return nil
	}
	if !q.limits.anyPath && !knowsPath(q.m) {
		return refuse(420, "", wire.Field{ID: wire.HdrUnsupported, Value: []byte("path")})
	}
	it := q.m.Values(wire.HdrPath)
	for {
		_, v, ok := it.Next()
		if !ok {
			return nil
		}
		if len(q.path) == maxPath {
			return refuse(400, "Too Many Path Values")
		}
		na, err := wire.ParseNameAddr(q.m.Bytes(v))
		if err != nil {
			return refuse(400, "Bad Path")
		}
		if _, err := wire.ParseURI(na.URI); err != nil {
			return refuse(400, "Bad Path")
		}
		s, err := text(q.m.Bytes(v), maxPathValue, "Path")
		if err != nil {
			return err
		}
		q.path = append(q.path, s)
	}
}

// paramsText writes Contact parameters as they are kept: without expires, which is a time of ours from here on.
func paramsText(params []byte) (string, error) {
	var room [maxParams]byte
	b := room[:0]
	it := wire.SplitParams(params)
	for {
		name, value, ok := it.Next()
		if !ok {
			return text(b, maxParams, "Contact Parameters")
		}
		if wire.EqualFold(name, "expires") {
			continue
		}
		b = append(b, ';')
		b = append(b, name...)
		if value != nil {
			b = append(b, '=')
			b = append(b, value...)
		}
	}
}

// text takes what a phone wrote into a string that can be stored, and written again in one line: folds become spaces.
func text(b []byte, limit int, what string) (string, error) {
	if len(b) > limit {
		return "", refuse(400, what+" Is Too Long")
	}
	if !utf8.Valid(b) {
		return "", refuse(400, what+" Is Not UTF-8")
	}
	folded := false
	for _, c := range b {
		switch {
		case c == '\r' || c == '\n' || c == '\t':
			folded = true
		case c < ' ' || c == 0x7f:
			return "", refuse(400, what+" Holds Control Characters")
		}
	}
	if folded {
		return strings.Join(strings.Fields(string(b)), " "), nil
	}
	return string(b), nil
}

// agent is the User-Agent as far as it is kept: it only informs people.
func agent(b []byte) string {
	s, err := text(b[:min(len(b), maxAgent)], maxAgent, "")
	if err != nil {
		return ""
	}
	return s
}
