package api

import (
	"slices"
	"time"
)

// Domain is a SIP domain that the cluster serves.
type Domain struct {
	Name    string   `json:"name" example:"example.com"`
	Aliases []string `json:"aliases,omitempty" doc:"other names and addresses that mean the same domain" example:"[\"10.77.0.101\"]"`
}

// User is someone who may register and call. Secrets are never shown.
type User struct {
	AoR        string   `json:"aor" example:"alice@example.com"`
	Registered int      `json:"registered" doc:"contacts registered now"`
	Aliases    []string `json:"aliases,omitempty" doc:"other names in the same domain: the parts before the @" example:"[\"+4930123456\"]"`
	Identity   string   `json:"identity,omitempty" doc:"the alias that gateways are told in P-Asserted-Identity; absent: the user's name" example:"+4930123456"`
	Calls      int      `json:"calls,omitempty" doc:"calls that he makes now, those that his phones have sent on among them; calls to him are not"`
	MaxCalls   uint32   `json:"max_calls,omitempty" doc:"calls that he may make at once, over the whole cluster; absent: as many as the setting call.max-per-user says"`
}

// UserFilter narrows ListUsers.
type UserFilter struct {
	Domain string
	Limit  int // 0 = all
}

// UserRequest adds a user, or sets his password. Only digests of it are stored.
type UserRequest struct {
	AoR      string `json:"aor" example:"alice@example.com"`
	Password string `json:"password" doc:"in clear; only its digests with user and domain are stored"`

	Aliases  []string `json:"aliases,omitempty" doc:"of a new user: other names in the same domain, the parts before the @" example:"[\"+4930123456\"]"`
	Identity string   `json:"identity,omitempty" doc:"of a new user: the alias that gateways are told in P-Asserted-Identity; absent: his name" example:"+4930123456"`
	MaxCalls uint32   `json:"max_calls,omitempty" doc:"of a new user: calls that he may make at once, over the whole cluster; absent: as many as the setting call.max-per-user says" maximum:"100000"`
}

// UserChange is what of a user is to be another: what is absent stays. Aliases are removed before others are added.
type UserChange struct {
	AddAliases    []string `json:"add_aliases,omitempty" doc:"other names in the same domain, the parts before the @" example:"[\"+4930123456\"]"`
	RemoveAliases []string `json:"remove_aliases,omitempty"`
	Identity      *string  `json:"identity,omitempty" doc:"the alias that gateways are told in P-Asserted-Identity; empty: the user's name"`
	MaxCalls      *uint32  `json:"max_calls,omitempty" doc:"calls that he may make at once, over the whole cluster; 0: as many as the setting call.max-per-user says" maximum:"100000"`
}

// Pool algorithms.
const (
	RoundRobin = "round-robin"
	LeastCalls = "least-calls"
	Weighted   = "weighted"
	Hash       = "hash"
)

// Pool is a set of gateways.
type Pool struct {
	Name      string   `json:"name" example:"carriers"`
	Algorithm string   `json:"algorithm,omitempty" doc:"how a member is chosen; default round-robin" enum:"round-robin,least-calls,weighted,hash"`
	Members   []Member `json:"members,omitempty"`
}

// Member is one gateway of a pool.
type Member struct {
	Name      string   `json:"name" example:"gw1"`
	Address   string   `json:"address" doc:"IP address or host name, with or without port (5060)" example:"10.77.0.22:5080"`
	Sources   []string `json:"sources,omitempty" doc:"networks its requests come from, trusted without digest; default: its own address" example:"[\"10.77.0.22/32\"]"`
	Weight    uint32   `json:"weight,omitempty" doc:"share of calls with the weighted algorithm; default 1"`
	MaxCalls  uint32   `json:"max_calls,omitempty" doc:"exact limit over the whole cluster; 0 = none"`
	Transport string   `json:"transport,omitempty" doc:"default udp" enum:"udp,tcp,tls"`
	Group     string   `json:"group,omitempty" doc:"VIP group it is called through (name or number), or one address of a group of several; default: the call's own group"`
	Calls     int      `json:"calls,omitempty" readOnly:"true" doc:"calls it carries now"`
	State     string   `json:"state,omitempty" readOnly:"true" doc:"as the node that is asked sees it; silent: it has answered no OPTIONS yet, and is called all the same; absent: not known, for no route leads there or the node owns no VIP to ask from" enum:"up,down,silent"`
	AnswerMs  float64  `json:"answer_ms,omitempty" readOnly:"true" doc:"ms in which it answered the last OPTIONS"`

	LargeOverTCP bool `json:"large_over_tcp,omitempty" doc:"requests of more than 1300 bytes go over TCP; with transport udp only"`
	Disabled     bool `json:"disabled,omitempty" doc:"it gets no new calls; those it has go on, and it may call"`

	User      string `json:"user,omitempty" doc:"as whom it knows us; default: it goes by our address" example:"4930123456"`
	Password  string `json:"password,omitempty" writeOnly:"true" doc:"of the user, in clear; it is stored sealed and never shown"`
	Realm     string `json:"realm,omitempty" doc:"the only one that the password is for; default: whichever the gateway asks with" example:"sip.carrier.example"`
	Register  bool   `json:"register,omitempty" doc:"we register with it as this user, by the one VIP that it is called through"`
	RegisterS uint32 `json:"register_s,omitempty" doc:"for as long as we ask, seconds; default 3600"`

	Registration *MemberRegistration `json:"registration,omitempty" readOnly:"true" doc:"how the registration stands; absent: there is to be none"`
}

// MemberRegistration is how our registration with a gateway stands.
type MemberRegistration struct {
	Registered bool      `json:"registered"`
	Until      time.Time `json:"until,omitzero" doc:"when it ends, unless it is refreshed before"`
	Problem    string    `json:"problem,omitempty" doc:"why the last REGISTER was of no use: what the gateway has answered, or that it was not answered" example:"403 Forbidden"`
	Node       string    `json:"node,omitempty" doc:"name of the node that keeps it, for it owns the VIP group; absent: none does" example:"n1"`
}

// MemberChange is what of a gateway is to be another: what is absent stays.
type MemberChange struct {
	Address      *string   `json:"address,omitempty" doc:"IP address or host name, with or without port (5060)"`
	Sources      *[]string `json:"sources,omitempty" doc:"all networks its requests come from; empty: its own address"`
	Weight       *uint32   `json:"weight,omitempty" doc:"share of calls with the weighted algorithm"`
	MaxCalls     *uint32   `json:"max_calls,omitempty" doc:"exact limit over the whole cluster; 0 = none"`
	Transport    *string   `json:"transport,omitempty" enum:"udp,tcp,tls"`
	LargeOverTCP *bool     `json:"large_over_tcp,omitempty" doc:"requests of more than 1300 bytes go over TCP"`
	Group        *string   `json:"group,omitempty" doc:"VIP group it is called through, or one address of a group of several; empty: the call's own group"`
	Disabled     *bool     `json:"disabled,omitempty" doc:"it gets no new calls; those it has go on, and it may call"`
	User         *string   `json:"user,omitempty" doc:"as whom it knows us; empty: no more, and neither password nor registration"`
	Password     *string   `json:"password,omitempty" doc:"of the user, in clear"`
	Realm        *string   `json:"realm,omitempty" doc:"the only one that the password is for; empty: whichever the gateway asks with"`
	Register     *bool     `json:"register,omitempty" doc:"whether we register with it"`
	RegisterS    *uint32   `json:"register_s,omitempty" doc:"for as long as we ask, seconds"`
}

// Apply makes the change.
func (c *MemberChange) Apply(m *Member) {
	set(&m.Address, c.Address)
	set(&m.Sources, c.Sources)
	set(&m.Weight, c.Weight)
	set(&m.MaxCalls, c.MaxCalls)
	set(&m.Transport, c.Transport)
	set(&m.LargeOverTCP, c.LargeOverTCP)
	set(&m.Group, c.Group)
	set(&m.Disabled, c.Disabled)
	set(&m.User, c.User)
	if m.User == "" { // nothing is left of the account but what this change gives
		m.Realm, m.Register, m.RegisterS = "", false, 0
	}
	set(&m.Password, c.Password)
	set(&m.Realm, c.Realm)
	if set(&m.Register, c.Register); !m.Register {
		m.RegisterS = 0
	}
	set(&m.RegisterS, c.RegisterS)
}

func set[T any](to, from *T) {
	if from != nil {
		*to = *from
	}
}

// InService reports whether a pool has a member that new calls may go to.
func (p *Pool) InService() bool {
	return slices.ContainsFunc(p.Members, func(m Member) bool { return !m.Disabled })
}

// States of members.
const (
	MemberUp   = "up"
	MemberDown = "down"
	// MemberSilent: it has answered no OPTIONS yet. It is called all the same, for some never do.
	MemberSilent = "silent"
)

// Route sends a domain's calls to a pool. The longest matching prefix of the dialled user part wins.
type Route struct {
	Domain string `json:"domain" example:"example.com"`
	Prefix string `json:"prefix" doc:"may be empty: matches all" example:"0049"`
	Pool   string `json:"pool" example:"carriers"`
	Strip  uint32 `json:"strip,omitempty" doc:"characters removed from the front of the user part" maximum:"64"`

	Prepend string `json:"prepend,omitempty" doc:"what is put before the user part then" maxLength:"32" example:"+49"`
}

// CallFilter narrows ListCalls.
type CallFilter struct {
	Domain string
	Limit  int // 0 = all
}

// Call is a call being set up or established.
type Call struct {
	Number   uint64    `json:"number" doc:"of this call in the cluster, never used again"`
	State    string    `json:"state" doc:"calling, ringing, answered, cancelling, or ending: an operator has it ended"`
	Domain   string    `json:"domain,omitempty"`
	CallID   string    `json:"call_id"`
	From     string    `json:"from"`
	To       string    `json:"to"`
	Home     string    `json:"home" doc:"name of the VIP group that it hangs off"`
	Pool     string    `json:"pool,omitempty"`
	Legs     []Leg     `json:"legs,omitempty"`
	Created  time.Time `json:"created"`
	Answered time.Time `json:"answered,omitzero"`
}

// Leg is one attempt to reach a phone or gateway.
type Leg struct {
	Target string `json:"target" doc:"Request-URI of its INVITE"`
	Remote string `json:"remote" doc:"address it was sent to"`
	State  string `json:"state"`
	Status uint32 `json:"status,omitempty" doc:"SIP status of its last response"`
	Member string `json:"member,omitempty" doc:"pool member"`
}

// Calls is a list with the number of all.
type Calls struct {
	Total int    `json:"total" doc:"all that match, also those beyond the limit"`
	Calls []Call `json:"calls"`
}

// RegistrationFilter narrows ListRegistrations.
type RegistrationFilter struct {
	AoR    string
	Domain string
	Limit  int // 0 = all
}

// Registration is one contact binding.
type Registration struct {
	AoR       string `json:"aor"`
	Contact   string `json:"contact"`
	Remote    string `json:"remote" doc:"address the phone is reached at"`
	Transport string `json:"transport"`
	Group     string `json:"group" doc:"VIP group that its flow belongs to"`
	ExpiresS  int64  `json:"expires_s" doc:"seconds left"`
	UserAgent string `json:"user_agent,omitempty"`
	Q         uint32 `json:"q,omitempty" doc:"preference, 0…1000"`
	Instance  string `json:"instance,omitempty"`
	RegID     uint32 `json:"reg_id,omitempty"`
}

// Registrations is a list with the number of all.
type Registrations struct {
	Total         int            `json:"total" doc:"all that match, also those beyond the limit"`
	Registrations []Registration `json:"registrations"`
}

// Setting is a replicated value that tunes the cluster.
type Setting struct {
	Name    string `json:"name" example:"lease.profile"`
	Value   string `json:"value" doc:"in force"`
	Default string `json:"default"`
	Meaning string `json:"meaning"`
}
