// Package registrar answers REGISTER requests (RFC 3261 §10.3, RFC 3327, RFC 5626). It reads replicated state and makes the
// command that changes it; it keeps none itself and sends nothing.
package registrar

import (
	"errors"
	"math/rand/v2"
	"strconv"
	"time"

	"holdline/fsm"
	"holdline/fsm/pb"
	"holdline/sipcore/proxy"
	"holdline/sipcore/wire"
)

// State is what the registrar reads of the replicated state; fsm.Machine is one.
type State interface {
	Config() *fsm.Config
	Bindings(aor string, dst []fsm.Binding) []fsm.Binding
	Registered(aor, callID string, cseq uint32, txn []byte) bool
	Now() int64
}

// Auth tells who sent a request; domains.Auth is one.
type Auth interface {
	Check(m *wire.Msg, domain *pb.Domain, proxy bool) (user *fsm.User, challenges []wire.Field, wrong string, ok bool)
}

// Registrar is safe for concurrent use.
type Registrar struct {
	state State
	auth  Auth
}

var _ proxy.Registrar = (*Registrar)(nil)

// New makes one.
func New(state State, auth Auth) *Registrar { return &Registrar{state, auth} }

// refusal is a response that ends the matter, as an error within the package.
type refusal struct{ resp *wire.Response }

func (r *refusal) Error() string {
	return "register: " + strconv.Itoa(r.resp.Status) + " " + r.resp.Reason
}

func refuse(status int, reason string, fields ...wire.Field) error {
	return &refusal{&wire.Response{Status: status, Reason: reason, Fields: fields}}
}

// Register judges a REGISTER that came in for domain. Either cmd is to be committed and Answer makes the response from
// its result, or resp is the response. txnKey is the server transaction's key (RFC 3261 §17.2.3): the same REGISTER
// again is answered from state, before its credentials are looked at.
func (r *Registrar) Register(in *proxy.Inbound, domain *pb.Domain, txnKey []byte) (cmd *pb.Command, resp *wire.Response) {
	cmd, resp, err := r.register(in, domain, txnKey)
	var no *refusal
	if errors.As(err, &no) {
		return nil, no.resp
	}
	return cmd, resp
}

func (r *Registrar) register(in *proxy.Inbound, domain *pb.Domain, txnKey []byte) (*pb.Command, *wire.Response, error) {
	cfg := r.state.Config()
	m := in.Msg
	if err := checkRequire(m); err != nil {
		return nil, nil, err
	}
	aor, err := addressOfRecord(cfg, m, domain)
	if err != nil {
		return nil, nil, err
	}
	callID, err := text(m.Bytes(m.CallID), maxCallID, "Call-ID")
	if err != nil {
		return nil, nil, err
	}
	if resp := r.again(cfg, in, aor, callID, txnKey); resp != nil {
		return nil, resp, nil
	}
	who, challenges, wrong, ok := r.auth.Check(m, domain, false)
	switch {
	case !ok:
		return nil, nil, &refusal{&wire.Response{Status: 401, Fields: challenges, Note: wrong}}
	case !who.Named(aor): // RFC 3261 §10.3 step 4: users register themselves
		return nil, nil, refuse(403, "To Names Another User")
	case who.AoR != aor: // step 5: by an alias he registers under his name, beside what has registered under that
		aor = who.AoR
		if resp := r.again(cfg, in, aor, callID, txnKey); resp != nil {
			return nil, resp, nil
		}
	}
	req := &request{m: m, limits: limitsOf(cfg), outbound: outboundOf(m), cmd: &pb.Register{
		Aor: aor, CallId: callID, Cseq: m.CSeq, Txn: txnKey, Group: in.Home, Epoch: in.Epoch,
	}}
	req.cmd.MaxBindings = req.limits.bindings
	req.from = in.Flow
	if err := req.read(); err != nil {
		return nil, nil, err
	}
	if len(req.cmd.Changes) == 0 && !req.cmd.RemoveAll { // a query (§10.2.3)
		return nil, r.bindings(m, aor, r.state.Now()), nil
	}
	return &pb.Command{Op: &pb.Command_Register{Register: req.cmd}}, nil, nil
}

// again is the answer to a REGISTER that has been carried out, nil when it has not been.
func (r *Registrar) again(cfg *fsm.Config, in *proxy.Inbound, aor, callID string, txnKey []byte) *wire.Response {
	if !r.state.Registered(aor, callID, in.Msg.CSeq, txnKey) {
		return nil
	}
	resp := r.bindings(in.Msg, aor, r.state.Now())
	addOutbound(cfg, in, resp)
	return resp
}

// Answer makes the response to a REGISTER, of which in has message and flow, from the result of its command; err means that
// nothing could be committed. nil means that there is nothing to say: another node has taken the group over and answers the
// retransmission. A phone that is told so keeps its connection alive, and is heard of within the time returned; 0: not told.
func (r *Registrar) Answer(in *proxy.Inbound, res *pb.Result, err error) (*wire.Response, time.Duration) {
	if err != nil {
		return unavailable(), 0
	}
	if res.Code == pb.Code_OK {
		resp := r.bindings(in.Msg, res.Aor, res.TimeMs)
		return resp, addOutbound(r.state.Config(), in, resp)
	}
	return refused(res.Code), 0
}

// refused is the response to a REGISTER whose command changed nothing.
func refused(code pb.Code) *wire.Response {
	switch code {
	case pb.Code_STALE_EPOCH:
		return nil
	case pb.Code_STALE_ORDER: // RFC 3261 §10.3 step 7
		return &wire.Response{Status: 500, Reason: "CSeq Is Not Above The Last One's"}
	case pb.Code_LIMIT:
		return &wire.Response{Status: 403, Reason: "Too Many Contacts"}
	case pb.Code_NOT_FOUND:
		return &wire.Response{Status: 404}
	default:
		return &wire.Response{Status: 500}
	}
}

// Phones that were told 503 come back spread over this time: after an outage all of them would come at once.
const (
	retryFrom = 5 // seconds
	retryOver = 30
)

func unavailable() *wire.Response {
	after := strconv.Itoa(retryFrom + rand.IntN(retryOver))
	return &wire.Response{Status: 503, Note: "nothing can be committed: no raft leader", Fields: []wire.Field{{ID: wire.HdrRetryAfter, Value: []byte(after)}}}
}
