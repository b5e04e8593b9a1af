package api

import (
	"context"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"testing"
	"time"
)

// recorder is a Backend that notes what it was asked and answers what the test put in: the tests here are about what goes
// over the wire. The real Backend is tested behind the command line, in cmd/holdline.
type recorder struct {
	op   string
	args []any
	err  error
	at   time.Time
}

func (r *recorder) got(op string, args ...any) error {
	r.op, r.args = op, args
	return r.err
}

func (r *recorder) node() Node {
	return Node{Number: 1, UUID: "u", Name: "n1", Listen: "10.77.0.11:7700", State: NodeAlive, Self: true, LastHeard: r.at, Groups: []string{"vip1"}}
}

func (r *recorder) group() Group {
	return Group{Number: 1, Name: "vip1", VIPs: []VIP{{Prefix: "10.77.0.101/24"}}, Owner: "n1", Epoch: 7, Since: r.at}
}

func (r *recorder) Version(context.Context) (Version, error) {
	return Version{Version: "v1"}, r.got("Version")
}

func (r *recorder) Init(_ context.Context, q InitRequest) (InitAnswer, error) {
	return InitAnswer{Node: r.node(), Token: Token{Token: "t", Expires: r.at}}, r.got("Init", q)
}

func (r *recorder) Join(_ context.Context, q JoinRequest) (JoinAnswer, error) {
	return JoinAnswer{Node: r.node(), Voter: true}, r.got("Join", q)
}

func (r *recorder) CreateToken(_ context.Context, q TokenRequest) (Token, error) {
	return Token{Token: "t", Expires: r.at}, r.got("CreateToken", q)
}

func (r *recorder) Status(context.Context) (Status, error) {
	return Status{HA: HA{Level: HAYes, Survives: 1}, Time: r.at, Nodes: []Node{r.node()}, VIPs: []Group{r.group()}}, r.got("Status")
}

func (r *recorder) Doctor(context.Context) ([]Check, error) {
	return []Check{{Name: "fsync", Result: CheckOK}}, r.got("Doctor")
}

func (r *recorder) ListNodes(context.Context) ([]Node, error) {
	return []Node{r.node()}, r.got("ListNodes")
}

func (r *recorder) RemoveNode(_ context.Context, n string, q RemoveNodeRequest) error {
	return r.got("RemoveNode", n, q)
}

func (r *recorder) FinishUpgrade(context.Context) (Upgrade, error) {
	return Upgrade{Before: 1, FeatureLevel: 2}, r.got("FinishUpgrade")
}

func (r *recorder) SetDraining(_ context.Context, n string, d bool) error {
	return r.got("SetDraining", n, d)
}

func (r *recorder) Leave(_ context.Context, q LeaveRequest) (LeaveAnswer, error) {
	return LeaveAnswer{Notes: []string{"n"}}, r.got("Leave", q)
}

func (r *recorder) ListVIPs(context.Context) ([]Group, error) {
	return []Group{r.group()}, r.got("ListVIPs")
}

func (r *recorder) AddVIP(_ context.Context, q GroupSpec) (Group, error) {
	return r.group(), r.got("AddVIP", q)
}
func (r *recorder) RemoveVIP(_ context.Context, g string) error { return r.got("RemoveVIP", g) }
func (r *recorder) MoveVIP(_ context.Context, g string, q MoveRequest) (Group, error) {
	return r.group(), r.got("MoveVIP", g, q)
}

func (r *recorder) ListDomains(context.Context) ([]Domain, error) { return nil, r.got("ListDomains") }

func (r *recorder) AddDomain(_ context.Context, d Domain) error { return r.got("AddDomain", d) }

func (r *recorder) RemoveDomain(_ context.Context, n string) error { return r.got("RemoveDomain", n) }

func (r *recorder) AddAlias(_ context.Context, d, a string) error { return r.got("AddAlias", d, a) }

func (r *recorder) RemoveAlias(_ context.Context, d, a string) error {
	return r.got("RemoveAlias", d, a)
}
func (r *recorder) AddUser(_ context.Context, q UserRequest) error { return r.got("AddUser", q) }
func (r *recorder) ChangeUser(_ context.Context, a string, c UserChange) error {
	return r.got("ChangeUser", a, c)
}
func (r *recorder) RemoveUser(_ context.Context, a string) error { return r.got("RemoveUser", a) }
func (r *recorder) AddPool(_ context.Context, p Pool) error      { return r.got("AddPool", p) }
func (r *recorder) RemovePool(_ context.Context, n string) error { return r.got("RemovePool", n) }

func (r *recorder) AddRoute(_ context.Context, q Route) error { return r.got("AddRoute", q) }

func (r *recorder) RemoveRoute(_ context.Context, d, p string) error {
	return r.got("RemoveRoute", d, p)
}

func (r *recorder) EndCall(_ context.Context, n uint64) error { return r.got("EndCall", n) }

func (r *recorder) SetSetting(_ context.Context, n, v string) error { return r.got("SetSetting", n, v) }
func (r *recorder) Live(context.Context) error                      { return nil }
func (r *recorder) Ready(context.Context) error                     { return r.err }
func (r *recorder) ListPools(context.Context) ([]Pool, error)       { return nil, r.got("ListPools") }

func (r *recorder) ListRoutes(context.Context) ([]Route, error) { return nil, r.got("ListRoutes") }

func (r *recorder) ListSettings(context.Context) ([]Setting, error) {
	return nil, r.got("ListSettings")
}

func (r *recorder) SetPassword(_ context.Context, q UserRequest) error {
	return r.got("SetPassword", q)
}

func (r *recorder) ListUsers(_ context.Context, f UserFilter) ([]User, error) {
	return nil, r.got("ListUsers", f)
}

func (r *recorder) SetMember(_ context.Context, p, m string, c MemberChange) error {
	return r.got("SetMember", p, m, c)
}

func (r *recorder) AddMember(_ context.Context, p string, m Member) error {
	return r.got("AddMember", p, m)
}

func (r *recorder) RemoveMember(_ context.Context, p, m string) error {
	return r.got("RemoveMember", p, m)
}

func (r *recorder) CountCalls(context.Context) (CallCounts, error) {
	return CallCounts{Total: 1}, r.got("CountCalls")
}

func (r *recorder) ListCDRs(_ context.Context, f CDRFilter) (CDRs, error) {
	return CDRs{Last: 1, Next: 1, CDRs: []CDR{{Number: 1, Created: r.at}}}, r.got("ListCDRs", f)
}

func (r *recorder) AcknowledgeCDRs(_ context.Context, consumer string, upTo uint64) error {
	return r.got("AcknowledgeCDRs", consumer, upTo)
}

func (r *recorder) RemoveCDRConsumer(_ context.Context, consumer string) error {
	return r.got("RemoveCDRConsumer", consumer)
}

func (r *recorder) ListCalls(_ context.Context, f CallFilter) (Calls, error) {
	return Calls{Total: 5}, r.got("ListCalls", f)
}

func (r *recorder) ListRegistrations(_ context.Context, f RegistrationFilter) (Registrations, error) {
	return Registrations{Total: 6}, r.got("ListRegistrations", f)
}

func (r *recorder) ListRefused(_ context.Context, f RefusalFilter) (Refused, error) {
	return Refused{Total: 7}, r.got("ListRefused", f)
}

func (r *recorder) Backup(_ context.Context, w io.Writer) error {
	if r.op == "broken" {
		if _, err := w.Write(make([]byte, 100<<10)); err != nil {
			return err
		}
	} else if r.err == nil {
		if _, err := io.WriteString(w, "snapshot"); err != nil {
			return err
		}
	}
	return r.got("Backup")
}

func (r *recorder) Recover(_ context.Context, q RecoverRequest) error { return r.got("Recover", q) }

func (r *recorder) Restore(_ context.Context, in io.Reader, q RestoreRequest) (RestoreAnswer, error) {
	text, err := io.ReadAll(in)
	if err != nil {
		return RestoreAnswer{}, err
	}
	return RestoreAnswer{Users: 7}, r.got("Restore", string(text), q)
}

// serve puts the backend behind a real socket and returns a client of it and the socket's path.
func serve(t *testing.T, b Backend) (*Client, string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "s")
	l, err := Listen(path)
	if err != nil {
		t.Fatal(err)
	}
	log := slog.New(slog.DiscardHandler)
	metrics := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "holdline_up 1\n") })
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() {
		ended <- Serve(ctx, l, NewHandler(ServerOptions{Backend: b, Metrics: metrics, Logger: log}), log)
	}()
	c := NewClient(path)
	t.Cleanup(func() {
		c.Close()
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	return c, path
}

// raw sends a request to the handler as any HTTP client would.
func raw(b Backend, method, path, body string) *httptest.ResponseRecorder {
	h := NewHandler(ServerOptions{Backend: b, Logger: slog.New(slog.DiscardHandler)})
	return rawTo(h, method, path, body)
}
