package api

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func rawTo(h http.Handler, method, path, body string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, path, strings.NewReader(body))
	if body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

// Every operation reaches the Backend with the arguments that the client was given.
func TestOperationsArriveWhole(t *testing.T) {
	rec := &recorder{at: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)}
	c, _ := serve(t, rec)
	ctx := t.Context()
	group := GroupSpec{Name: "outside", HomeNode: "n1", VIPs: []VIP{{Prefix: "10.77.0.101/24", Advertise: "203.0.113.9"}, {Prefix: "2001:db8::5/64"}}}
	member := Member{Name: "gw1", Address: "10.77.0.22:5080", Sources: []string{"10.0.0.0/8"}, Weight: 3, MaxCalls: 9, Transport: "tcp", Group: "vip1"}
	user := UserRequest{AoR: "a/b?c@example.com", Password: "p ä'\""}
	for _, x := range []struct {
		op   string
		args []any
		call func() error
	}{
		{"Init", []any{InitRequest{Name: "n1", Listen: "10.77.0.11:7700", Groups: []GroupSpec{group}}}, func() error {
			_, err := c.Init(ctx, InitRequest{Name: "n1", Listen: "10.77.0.11", Groups: []GroupSpec{group}})
			return err
		}},
		{"Join", []any{JoinRequest{Token: "t", Name: "n2", Listen: "[2001:db8::1]:7700"}}, func() error {
			_, err := c.Join(ctx, JoinRequest{Token: " t\n", Name: "n2", Listen: "2001:db8::1"})
			return err
		}},
		{"CreateToken", []any{TokenRequest{ValidSeconds: 60}}, func() error { _, err := c.CreateToken(ctx, TokenRequest{ValidSeconds: 60}); return err }},
		{"RemoveNode", []any{"n 3/x", RemoveNodeRequest{Force: true}}, func() error { return c.RemoveNode(ctx, "n 3/x", RemoveNodeRequest{Force: true}) }},
		{"SetDraining", []any{"", true}, func() error { return c.SetDraining(ctx, "", true) }},
		{"SetDraining", []any{"n1", false}, func() error { return c.SetDraining(ctx, "n1", false) }},
		{"FinishUpgrade", nil, func() error { _, err := c.FinishUpgrade(ctx); return err }},
		{"Leave", []any{LeaveRequest{Force: true}}, func() error { _, err := c.Leave(ctx, LeaveRequest{Force: true}); return err }},
		{"AddVIP", []any{group}, func() error { _, err := c.AddVIP(ctx, group); return err }},
		{"RemoveVIP", []any{"10.77.0.101/24"}, func() error { return c.RemoveVIP(ctx, "10.77.0.101/24") }},
		{"MoveVIP", []any{"2001:db8::5", MoveRequest{To: "n2"}}, func() error { _, err := c.MoveVIP(ctx, "2001:db8::5", MoveRequest{To: "n2"}); return err }},
		{"AddDomain", []any{Domain{Name: "example.com", Aliases: []string{"10.77.0.101"}}}, func() error { return c.AddDomain(ctx, Domain{Name: "Example.COM", Aliases: []string{"10.77.0.101"}}) }},
		{"RemoveDomain", []any{"example.com"}, func() error { return c.RemoveDomain(ctx, "example.com.") }},
		{"AddAlias", []any{"example.com", "2001:db8::5"}, func() error { return c.AddAlias(ctx, "example.com", "2001:db8::5") }},
		{"RemoveAlias", []any{"example.com", "sip.example.com"}, func() error { return c.RemoveAlias(ctx, "example.com", "sip.example.com") }},
		{"ListUsers", []any{UserFilter{Domain: "example.com", Limit: 3}}, func() error { _, err := c.ListUsers(ctx, UserFilter{Domain: "example.com", Limit: 3}); return err }},
		{"AddUser", []any{user}, func() error { return c.AddUser(ctx, user) }},
		{"SetPassword", []any{user}, func() error { return c.SetPassword(ctx, user) }},
		{"AddUser", []any{UserRequest{AoR: "a@b.c", Password: "x", Aliases: []string{"+4930123456"}, Identity: "+4930123456", MaxCalls: 5}}, func() error {
			return c.AddUser(ctx, UserRequest{AoR: "a@B.c", Password: "x", Aliases: []string{"+4930123456"}, Identity: "+4930123456", MaxCalls: 5})
		}},
		{"ChangeUser", []any{"a/b?c@example.com", UserChange{AddAliases: []string{"+49", "x"}, RemoveAliases: []string{"y"}, Identity: new(string)}}, func() error {
			return c.ChangeUser(ctx, "a/b?c@EXAMPLE.com", UserChange{AddAliases: []string{"+49", "x"}, RemoveAliases: []string{"y"}, Identity: new(string)})
		}},
		{"ChangeUser", []any{"a@example.com", UserChange{MaxCalls: new(uint32)}}, func() error { return c.ChangeUser(ctx, "a@example.com", UserChange{MaxCalls: new(uint32)}) }},
		{"RemoveUser", []any{"a/b?c@example.com"}, func() error { return c.RemoveUser(ctx, "a/b?c@example.com") }},
		{"AddPool", []any{Pool{Name: "carriers", Algorithm: RoundRobin}}, func() error { return c.AddPool(ctx, Pool{Name: "carriers"}) }},
		{"RemovePool", []any{"carriers"}, func() error { return c.RemovePool(ctx, "carriers") }},
		{"AddMember", []any{"carriers", member}, func() error { return c.AddMember(ctx, "carriers", member) }},
		{"SetMember", []any{"carriers", "gw1", MemberChange{Sources: &[]string{"10.77.0.0/28"}, Disabled: new(bool)}}, func() error {
			return c.SetMember(ctx, "carriers", "gw1", MemberChange{Sources: &[]string{"10.77.0.9/28"}, Disabled: new(bool)})
		}},
		{"RemoveMember", []any{"carriers", "gw1"}, func() error { return c.RemoveMember(ctx, "carriers", "gw1") }},
		{"AddRoute", []any{Route{Domain: "example.com", Pool: "carriers", Strip: 2}}, func() error { return c.AddRoute(ctx, Route{Domain: "example.com", Pool: "carriers", Strip: 2}) }},
		{"RemoveRoute", []any{"example.com", ""}, func() error { return c.RemoveRoute(ctx, "example.com", "") }},
		{"RemoveRoute", []any{"example.com", "+49"}, func() error { return c.RemoveRoute(ctx, "example.com", "+49") }},
		{"ListCalls", []any{CallFilter{Limit: 1}}, func() error { _, err := c.ListCalls(ctx, CallFilter{Limit: 1}); return err }},
		{"EndCall", []any{uint64(1 << 63)}, func() error { return c.EndCall(ctx, 1<<63) }},
		{"CountCalls", nil, func() error { _, err := c.CountCalls(ctx); return err }},
		{"ListCDRs", []any{CDRFilter{Since: 7, Consumer: "billing", Latest: true, Limit: 3, WaitS: 2}}, func() error {
			_, err := c.ListCDRs(ctx, CDRFilter{Since: 7, Consumer: "billing", Latest: true, Limit: 3, WaitS: 2})
			return err
		}},
		{"AcknowledgeCDRs", []any{"billing", uint64(9)}, func() error { return c.AcknowledgeCDRs(ctx, "billing", 9) }},
		{"RemoveCDRConsumer", []any{"billing"}, func() error { return c.RemoveCDRConsumer(ctx, "billing") }},
		{"ListRegistrations", []any{RegistrationFilter{AoR: "a@b.c", Limit: 2}}, func() error {
			_, err := c.ListRegistrations(ctx, RegistrationFilter{AoR: "sip:a@B.c", Limit: 2})
			return err
		}},
		{"ListRefused", []any{RefusalFilter{AoR: "a@b.c", From: "10.77.0.31/32", CallID: "x y@z", Limit: 2}}, func() error {
			_, err := c.ListRefused(ctx, RefusalFilter{AoR: "sip:a@B.c", From: "10.77.0.31", CallID: "x y@z", Limit: 2})
			return err
		}},
		{"ListRefused", []any{RefusalFilter{From: "2001:db8::/32"}}, func() error {
			_, err := c.ListRefused(ctx, RefusalFilter{From: "2001:db8::7/32"})
			return err
		}},
		{"Recover", []any{RecoverRequest{Off: []string{"n2", "n3"}}}, func() error { return c.Recover(ctx, RecoverRequest{Off: []string{"n2", "n3"}}) }},
		{"Restore", []any{"snapshot", RestoreRequest{Force: true}}, func() error {
			_, err := c.Restore(ctx, strings.NewReader("snapshot"), RestoreRequest{Force: true})
			return err
		}},
		{"SetSetting", []any{"lease.profile", "standard"}, func() error { return c.SetSetting(ctx, "lease.profile", "standard") }},
	} {
		rec.op, rec.args = "", nil
		if err := x.call(); err != nil {
			t.Errorf("%s: %v", x.op, err)
		}
		if rec.op != x.op || !reflect.DeepEqual(rec.args, x.args) {
			t.Errorf("want %s%+v\n got %s%+v", x.op, x.args, rec.op, rec.args)
		}
	}
}

// What the Backend answers is what the client returns.
func TestAnswersArriveWhole(t *testing.T) {
	rec := &recorder{at: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)}
	c, _ := serve(t, rec)
	ctx := t.Context()
	st, err := c.Status(ctx)
	want, _ := rec.Status(ctx)
	if err != nil || !reflect.DeepEqual(st, want) {
		t.Errorf("status: %v\nwant %+v\n got %+v", err, want, st)
	}
	var b bytes.Buffer
	if err := c.Backup(ctx, &b); err != nil || b.String() != "snapshot" {
		t.Errorf("backup: %q, %v", b.String(), err)
	}
	if w := raw(rec, "GET", "/v1/domains", ""); w.Body.String() != "[]\n" {
		t.Errorf("an empty list is %q", w.Body)
	}
	if w := raw(rec, "GET", "/livez", ""); w.Code != 200 || w.Body.String() != "ok\n" {
		t.Errorf("livez: %d %q", w.Code, w.Body)
	}
}

func TestErrorsKeepCodeAndMessage(t *testing.T) {
	inner := Errorf(CodeNotFound, "domain nope.example does not exist: see `holdline domain list`")
	for _, x := range []struct {
		err  error
		code Code
		msg  string
	}{
		{inner, CodeNotFound, inner.Message},
		{fmt.Errorf("adding the route: %w", inner), CodeNotFound, "adding the route: " + inner.Message},
		{errors.New("disk on fire"), CodeInternal, "disk on fire"},
	} {
		c, _ := serve(t, &recorder{err: x.err})
		err := c.RemoveDomain(t.Context(), "nope.example")
		if CodeOf(err) != x.code || err.Error() != x.msg {
			t.Errorf("want %s %q, got %s %q", x.code, x.msg, CodeOf(err), err)
		}
		if err := c.Backup(t.Context(), io.Discard); CodeOf(err) != x.code {
			t.Errorf("backup: want %s, got %v", x.code, err)
		}
		if err := c.Ready(t.Context()); CodeOf(err) != CodeUnavailable || err.Error() != x.msg {
			t.Errorf("ready: got %v", err)
		}
	}
}

// A backup that breaks off in the middle is an error at the client.
func TestBackupBrokenOff(t *testing.T) {
	c, _ := serve(t, &recorder{op: "broken", err: errors.New("disk")})
	if err := c.Backup(t.Context(), io.Discard); err == nil || !strings.Contains(err.Error(), "broke off") {
		t.Errorf("got %v", err)
	}
}

// What is wrong with a request is one line, and the Backend never sees it, whoever sends it.
func TestBadRequestsStopHere(t *testing.T) {
	for _, x := range []struct{ method, path, body, want string }{
		{"POST", "/v1/init", `{"name":"1","listen":"10.0.0.1"}`, "node name"},
		{"POST", "/v1/init", `{"name":"n1","listen":"0.0.0.0"}`, "cannot be reached"},
		{"POST", "/v1/init", `{"name":"n1"}`, "required property listen"},
		{"POST", "/v1/init", `{"name":"n1","listen":"10.0.0.1","extra":1}`, "unexpected property"},
		{"POST", "/v1/init", `{`, "unexpected end"},
		{"POST", "/v1/domains", `{"name":"exa mple"}`, "neither a host name"},
		{"DELETE", "/v1/users/alice", "", "has no domain"},
		{"PUT", "/v1/users", `{"aor":"a@b.c","password":"x","aliases":["y"]}`, "no other names"},
		{"PUT", "/v1/users", `{"aor":"a@b.c","password":"x","max_calls":5}`, "no limit of calls"},
		{"GET", "/v1/calls?limt=3", "", "unknown query"},
		{"POST", "/v1/pools", `{"name":"p","algorithm":"best"}`, "algorithm"},
	} {
		rec := &recorder{}
		w := raw(rec, x.method, x.path, x.body)
		if w.Code < 400 || w.Code >= 500 || rec.op != "" {
			t.Errorf("%s %s: status %d, backend saw %q", x.method, x.path, w.Code, rec.op)
		}
		err := readError(w.Result())
		if CodeOf(err) != CodeInvalid || !strings.Contains(err.Error(), x.want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s %s %s: %s %q", x.method, x.path, x.body, CodeOf(err), err)
		}
	}
}

// A name that a path cannot carry does not turn into another operation.
func TestNamesThatPathsCannotCarry(t *testing.T) {
	rec := &recorder{}
	c, _ := serve(t, rec)
	for _, name := range []string{"", ".", ".."} {
		if err := c.RemovePool(t.Context(), name); CodeOf(err) != CodeInvalid {
			t.Errorf("%q: %v", name, err)
		}
		if err := c.RemoveMember(t.Context(), "carriers", name); CodeOf(err) != CodeInvalid {
			t.Errorf("%q: %v", name, err)
		}
	}
	if rec.op != "" {
		t.Errorf("the backend was asked to %s", rec.op)
	}
}

func TestProbesAndMetrics(t *testing.T) {
	metrics := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "holdline_up 1\n") })
	h := NewProbes(&recorder{err: errors.New("no raft leader")}, metrics)
	for path, want := range map[string]string{"/livez": "200 ok\n", "/readyz": "503 no raft leader\n", "/metrics": "200 holdline_up 1\n", "/v1/status": "404 404 page not found\n", "/debug/pprof/heap": "404 404 page not found\n"} {
		w := rawTo(h, "GET", path, "")
		if got := fmt.Sprintf("%d %s", w.Code, w.Body); got != want {
			t.Errorf("%s: want %q, got %q", path, want, got)
		}
	}
}

func TestNoDaemon(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	want := "no holdline daemon answers on " + path + ": start it with `systemctl start holdline` or `holdline serve`; if it ends again, `journalctl -u holdline` says why"
	if _, err := NewClient(path).Status(t.Context()); err == nil || err.Error() != want {
		t.Errorf("no socket: %v", err)
	}
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	l.SetUnlinkOnClose(false)
	l.Close()
	if _, err := NewClient(path).Status(t.Context()); err == nil || err.Error() != want {
		t.Errorf("a socket that nobody serves: %v", err)
	}
}

func TestInterrupted(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	l, err := net.Listen("unix", path) // accepts, never answers
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	ctx, cancel := context.WithCancel(t.Context())
	c := NewClient(path)
	defer c.Close()
	time.AfterFunc(10*time.Millisecond, cancel)
	if _, err := c.Status(ctx); err == nil || !strings.HasPrefix(err.Error(), "interrupted") {
		t.Errorf("got %v", err)
	}
}

func TestListen(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "run", "s")
	l, err := Listen(path)
	if err != nil {
		t.Fatal(err)
	}
	if st, err := os.Stat(path); err != nil || st.Mode().Perm() != 0o660 {
		t.Errorf("mode %v, %v", st.Mode(), err)
	}
	if _, err := Listen(path); err == nil || !strings.Contains(err.Error(), "already answers") {
		t.Errorf("second daemon: %v", err)
	}
	l.(*net.UnixListener).SetUnlinkOnClose(false)
	l.Close() // as if killed
	if l, err = Listen(path); err != nil {
		t.Fatalf("after a kill: %v", err)
	}
	l.Close()
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Listen(file); err == nil || !strings.Contains(err.Error(), "not a socket") {
		t.Errorf("a file in the way: %v", err)
	}
	if _, err := Listen(filepath.Join(dir, strings.Repeat("x", 120))); err == nil || !strings.Contains(err.Error(), "shorter") {
		t.Errorf("a long path: %v", err)
	}
}
