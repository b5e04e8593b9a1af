package cluster

import (
	"context"
	"slices"
	"strconv"
	"strings"

	"holdline/cluster/api"
	"holdline/domains"
	"holdline/fsm"
	"holdline/sipcore"
	"holdline/sipcore/proxy"
	"holdline/sipcore/registrar"
	"holdline/vip"
)

// knownSetting is one that an operator may set: one of values, or a number from low to high.
type knownSetting struct {
	api.Setting
	values    []string
	low, high int64
	hosts     bool // patterns of host names instead
	digits    bool // telephone numbers instead
}

// Ports of WebSockets: those next to SIP and SIP over TLS, unless set otherwise.
const (
	settingWSPort   = "sip.ws-port"
	settingWSSPort  = "sip.wss-port"
	defaultWSPort   = 5062
	defaultWSSPort  = 5063
	hostPatternText = "abcdefghijklmnopqrstuvwxyz0123456789.-*:[] "
)

func choice(name, def, meaning string, values ...string) knownSetting {
	return knownSetting{Setting: api.Setting{Name: name, Default: def, Meaning: meaning}, values: values}
}

func number(name string, def, low, high int64, meaning string) knownSetting {
	return knownSetting{Setting: api.Setting{Name: name, Default: strconv.FormatInt(def, 10), Meaning: meaning}, low: low, high: high}
}

// knownSettings returns all of them by name. Defaults are those of the packages that read them.
func knownSettings() []knownSetting {
	return []knownSetting{
		choice("auth.algorithms", domains.DefaultAlgorithms, "digest algorithms offered to phones, in this order; md5 is what every phone knows, and many fail where sha-256 is offered at all, first, or last",
			"md5", "sha-256,md5", "md5,sha-256", "sha-256"),
		number("auth.nonce-life", 300, 10, 86400, "seconds for which a digest nonce may be used"),
		choice(settingLeaseProfile, string(vip.Fast), "lease timing of VIPs: fast (72 ms grants), or standard (300 ms) for networks with slow bonds or switches",
			string(vip.Fast), string(vip.Standard)),
		choice(settingTiming, "fast", "raft timeouts: fast (80/120 ms) finds a new leader soon, standard (150/300 ms) is for machines that pause", "fast", "standard"),
		choice(proxy.SettingCommit, proxy.CommitBefore, "when what happens to a call is committed: before it is answered for, so that it survives its node, or "+
			"after the fact: cheaper, but a node that fails takes what it did in the last seconds with it, and limits and gateways are judged by each node for itself",
			proxy.CommitBefore, proxy.CommitAfter),
		choice(proxy.SettingIdentity, proxy.IdentityAsserted, "who calls, as gateways and phones are told it (RFC 3325): asserted by this cluster, which tells gateways the user whose password was given "+
			"and takes off what phones claim; or relayed as the phones say it",
			proxy.IdentityAsserted, proxy.IdentityRelayed),
		choice(proxy.SettingRedirects, proxy.RedirectsFollow, "what becomes of a call that a phone sends on to somebody else (302): follow, for which that phone's user must be allowed to call there; "+
			"users: followed to users alone, not to gateways; or relay: the caller is told, and may go there himself",
			proxy.RedirectsFollow, proxy.RedirectsUsers, proxy.RedirectsRelay),
		choice(proxy.SettingStrangers, proxy.StrangersUsers, "whom those reach who are neither users nor trusted sources: users, as everybody on the Internet may be reached; or refuse: nobody, for clusters that "+
			"are spoken to by their own phones and gateways alone",
			proxy.StrangersUsers, proxy.StrangersRefuse),
		number("call.max-duration", 43200, 60, 86400*7, "seconds after which a call is ended, however often its session is refreshed"),
		number(fsm.SettingMaxPerUser, fsm.MaxPerUser, 0, api.MaxCallsOfUser, "calls that a user may make at once, over the whole cluster, those that his phones send on among them, unless he has a number of his own; more get 486, "+
			"but for emergency calls; 0: any number"),
		number(proxy.SettingSession, 0, 0, 86400, "seconds after which a call that nobody refreshes ends (session timer), asked for in every INVITE that asks for none or for more; 0: only what phones and gateways ask for"),
		number("call.min-session-expires", 90, 90, 86400, "seconds; a session timer that is shorter is answered 422, or lengthened for phones that know no session timers"),
		number(settingCDRFileSize, cdrFileMiB, 1, 4096, "MiB after which a node goes on with a new file of call detail records"),
		number(settingCDRFiles, cdrFiles, 0, 100_000, "files of call detail records a node keeps; 0: all"),
		number(fsm.SettingCDRMaxRows, fsm.CDRMaxRows, 1000, 1<<24, "call detail records the cluster keeps in memory for consumers and nodes that are behind"),
		number(fsm.SettingCDRRetention, fsm.CDRRetentionDays, 1, 3650, "days for which the cluster keeps call detail records that not all have taken"),
		choice(sipcore.SettingKeepalive, sipcore.KeepaliveDefault,
			"what phones on UDP behind NATs are sent to keep them reachable: options, which they answer; crlf, an empty datagram; or off",
			sipcore.KeepaliveOptions, sipcore.KeepaliveCRLF, sipcore.KeepaliveOff),
		number(sipcore.SettingKeepaliveInterval, sipcore.KeepaliveInterval, 5, 600, "seconds between two keep-alives to a phone; many NATs forget it after 30"),
		number("proxy.gateway-timeout", 4, 1, 32, "seconds a pool member, or one of several flows of a phone, may leave an INVITE without any response before the next one is tried"),
		number("proxy.gateway-down", 30, 0, 3600, "seconds for which a silent pool member is tried after all others"),
		number(proxy.SettingProbe, proxy.ProbeEvery, 0, 300, "seconds after which a pool member is asked with OPTIONS whether it is there; one that is down is asked each 5; 0: never"),
		number("register.default-expires", 3600, 1, 86400*365, "seconds granted to a REGISTER that asks for none"),
		number("register.flow-timer", 120, 0, 3600, "seconds within which a phone with RFC 5626 outbound pings over TCP or TLS, else its connection is closed; 0: it is not asked to"),
		number("register.max-bindings", 10, 1, fsm.MaxBindings, "contacts a user may have registered at a time"),
		number("register.max-expires", 7200, 1, 86400*365, "seconds granted at most"),
		number("register.min-expires", 60, 0, 3600, "a REGISTER for less is answered 423"),
		choice(registrar.SettingPath, "supported", "whose Path (RFC 3327) is taken: of phones that name it in Supported, others get 420; or any phone's", "supported", "any"),
		choice(sipcore.SettingVerifyTLS, "yes", "whether gateways that are called over TLS must show a certificate for their name that a known authority has signed", "yes", "no"),
		{Setting: api.Setting{Name: sipcore.SettingOrigins, Meaning: "hosts of the web pages that WebSockets may come from, such as *.example.com, with spaces between them; empty: any"}, hosts: true},
		{Setting: api.Setting{
			Name: sipcore.SettingEmergency, Default: sipcore.EmergencyNumbers,
			Meaning: "numbers of emergency calls, with spaces between them: such calls are not turned away when the cluster is overloaded, nor for call.max-per-user",
		}, digits: true},
		number(settingWSPort, defaultWSPort, 0, 65535, "port of SIP over WebSockets on every VIP; 0: none"),
		number(settingWSSPort, defaultWSSPort, 0, 65535, "port of SIP over secure WebSockets on every VIP; 0: none"),
	}
}

// check says what is wrong with a value.
func (s *knownSetting) check(value string) error {
	if len(s.values) > 0 {
		if !slices.Contains(s.values, value) {
			return api.Errorf(api.CodeInvalid, "setting %s takes %s", s.Name, strings.Join(s.values, " or "))
		}
		return nil
	}
	if s.hosts {
		if strings.Trim(value, hostPatternText) != "" {
			return api.Errorf(api.CodeInvalid, "setting %s takes host names in lower case, with * for any part, such as *.example.com", s.Name)
		}
		return nil
	}
	if s.digits {
		if strings.Trim(value, "+0123456789*# ") != "" {
			return api.Errorf(api.CodeInvalid, "setting %s takes telephone numbers, such as 112 911", s.Name)
		}
		return nil
	}
	if n, err := strconv.ParseInt(value, 10, 64); err != nil || n < s.low || n > s.high {
		return api.Errorf(api.CodeInvalid, "setting %s takes a number from %d to %d", s.Name, s.low, s.high)
	}
	return nil
}

// ListSettings implements api.Backend.
func (n *Node) ListSettings(context.Context) ([]api.Setting, error) {
	e, err := n.member()
	if err != nil {
		return nil, err
	}
	cfg := e.machine.Config()
	var out []api.Setting
	for _, s := range knownSettings() {
		s.Value = cfg.Setting(s.Name, s.Default)
		out = append(out, s.Setting)
	}
	return out, nil
}

// SetSetting implements api.Backend. An empty value goes back to the default.
func (n *Node) SetSetting(ctx context.Context, name, value string) error {
	for _, s := range knownSettings() {
		if s.Name != name {
			continue
		}
		if value != "" {
			if err := s.check(value); err != nil {
				return err
			}
		}
		return n.do(ctx, putSetting(name, value))
	}
	return api.Errorf(api.CodeNotFound, "there is no setting %s: see `holdline setting list`", name)
}
