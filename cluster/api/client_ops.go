package api

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
)

// Version implements Backend.
func (c *Client) Version(ctx context.Context) (Version, error) {
	return get[Version](ctx, c, "/v1/version", nil)
}

// Init implements Backend.
func (c *Client) Init(ctx context.Context, r InitRequest) (InitAnswer, error) {
	return post[InitAnswer](ctx, c, "/v1/init", r, initTime)
}

// Join implements Backend.
func (c *Client) Join(ctx context.Context, r JoinRequest) (JoinAnswer, error) {
	return post[JoinAnswer](ctx, c, "/v1/join", r, joinTime)
}

// CreateToken implements Backend.
func (c *Client) CreateToken(ctx context.Context, r TokenRequest) (Token, error) {
	return post[Token](ctx, c, "/v1/tokens", r, 0)
}

// Status implements Backend.
func (c *Client) Status(ctx context.Context) (Status, error) {
	return get[Status](ctx, c, "/v1/status", nil)
}

// Doctor implements Backend.
func (c *Client) Doctor(ctx context.Context) (v []Check, err error) {
	err = c.do(ctx, call{method: http.MethodGet, path: "/v1/doctor", out: &v, timeout: doctorTime})
	return v, err
}

// ListNodes implements Backend.
func (c *Client) ListNodes(ctx context.Context) ([]Node, error) {
	return get[[]Node](ctx, c, "/v1/nodes", nil)
}

// RemoveNode implements Backend.
func (c *Client) RemoveNode(ctx context.Context, node string, r RemoveNodeRequest) error {
	q := url.Values{}
	if r.Force {
		q.Set("force", "true")
	}
	return c.do(ctx, call{method: http.MethodDelete, path: "/v1/nodes/" + seg(node), query: q, timeout: moveTime})
}

// Recover implements Backend.
func (c *Client) Recover(ctx context.Context, r RecoverRequest) error {
	return c.do(ctx, call{method: http.MethodPost, path: "/v1/recover", in: r, timeout: initTime})
}

// FinishUpgrade implements Backend.
func (c *Client) FinishUpgrade(ctx context.Context) (Upgrade, error) {
	return post[Upgrade](ctx, c, "/v1/upgrade/finish", nil, 0)
}

// SetDraining implements Backend.
func (c *Client) SetDraining(ctx context.Context, node string, draining bool) error {
	if node == "" {
		node = self
	}
	return c.do(ctx, call{method: http.MethodPut, path: "/v1/nodes/" + seg(node) + "/draining", in: DrainRequest{Draining: draining}, timeout: moveTime})
}

// Leave implements Backend.
func (c *Client) Leave(ctx context.Context, r LeaveRequest) (LeaveAnswer, error) {
	return post[LeaveAnswer](ctx, c, "/v1/leave", r, joinTime)
}

// ListVIPs implements Backend.
func (c *Client) ListVIPs(ctx context.Context) ([]Group, error) {
	return get[[]Group](ctx, c, "/v1/vips", nil)
}

// AddVIP implements Backend.
func (c *Client) AddVIP(ctx context.Context, r GroupSpec) (Group, error) {
	return post[Group](ctx, c, "/v1/vips", r, moveTime)
}

// RemoveVIP implements Backend.
func (c *Client) RemoveVIP(ctx context.Context, group string) error {
	return c.do(ctx, call{method: http.MethodDelete, path: "/v1/vips/" + seg(group), timeout: moveTime})
}

// MoveVIP implements Backend.
func (c *Client) MoveVIP(ctx context.Context, group string, r MoveRequest) (Group, error) {
	return post[Group](ctx, c, "/v1/vips/"+seg(group)+"/move", r, moveTime)
}

// ListDomains implements Backend.
func (c *Client) ListDomains(ctx context.Context) ([]Domain, error) {
	return get[[]Domain](ctx, c, "/v1/domains", nil)
}

// AddDomain implements Backend.
func (c *Client) AddDomain(ctx context.Context, d Domain) error {
	return c.do(ctx, call{method: http.MethodPost, path: "/v1/domains", in: d})
}

// RemoveDomain implements Backend.
func (c *Client) RemoveDomain(ctx context.Context, name string) error {
	return c.do(ctx, call{method: http.MethodDelete, path: "/v1/domains/" + seg(name)})
}

// AddAlias implements Backend.
func (c *Client) AddAlias(ctx context.Context, domain, alias string) error {
	return c.do(ctx, call{method: http.MethodPut, path: "/v1/domains/" + seg(domain) + "/aliases/" + seg(alias)})
}

// RemoveAlias implements Backend.
func (c *Client) RemoveAlias(ctx context.Context, domain, alias string) error {
	return c.do(ctx, call{method: http.MethodDelete, path: "/v1/domains/" + seg(domain) + "/aliases/" + seg(alias)})
}

// ListUsers implements Backend.
func (c *Client) ListUsers(ctx context.Context, f UserFilter) ([]User, error) {
	return get[[]User](ctx, c, "/v1/users", filter(f.Limit, "domain", f.Domain))
}

// AddUser implements Backend.
func (c *Client) AddUser(ctx context.Context, r UserRequest) error {
	return c.do(ctx, call{method: http.MethodPost, path: "/v1/users", in: r})
}

// SetPassword implements Backend.
func (c *Client) SetPassword(ctx context.Context, r UserRequest) error {
	return c.do(ctx, call{method: http.MethodPut, path: "/v1/users", in: r})
}

// ChangeUser implements Backend.
func (c *Client) ChangeUser(ctx context.Context, aor string, change UserChange) error {
	return c.do(ctx, call{method: http.MethodPatch, path: "/v1/users/" + seg(aor), in: change})
}

// RemoveUser implements Backend.
func (c *Client) RemoveUser(ctx context.Context, aor string) error {
	return c.do(ctx, call{method: http.MethodDelete, path: "/v1/users/" + seg(aor)})
}

// ListPools implements Backend.
func (c *Client) ListPools(ctx context.Context) ([]Pool, error) {
	return get[[]Pool](ctx, c, "/v1/pools", nil)
}

// AddPool implements Backend.
func (c *Client) AddPool(ctx context.Context, p Pool) error {
	return c.do(ctx, call{method: http.MethodPost, path: "/v1/pools", in: p})
}

// RemovePool implements Backend.
func (c *Client) RemovePool(ctx context.Context, name string) error {
	return c.do(ctx, call{method: http.MethodDelete, path: "/v1/pools/" + seg(name)})
}

// AddMember implements Backend.
func (c *Client) AddMember(ctx context.Context, pool string, m Member) error {
	return c.do(ctx, call{method: http.MethodPost, path: "/v1/pools/" + seg(pool) + "/members", in: m})
}

// SetMember implements Backend.
func (c *Client) SetMember(ctx context.Context, pool, member string, change MemberChange) error {
	return c.do(ctx, call{method: http.MethodPatch, path: "/v1/pools/" + seg(pool) + "/members/" + seg(member), in: change})
}

// RemoveMember implements Backend.
func (c *Client) RemoveMember(ctx context.Context, pool, member string) error {
	return c.do(ctx, call{method: http.MethodDelete, path: "/v1/pools/" + seg(pool) + "/members/" + seg(member)})
}

// ListRoutes implements Backend.
func (c *Client) ListRoutes(ctx context.Context) ([]Route, error) {
	return get[[]Route](ctx, c, "/v1/routes", nil)
}

// AddRoute implements Backend.
func (c *Client) AddRoute(ctx context.Context, r Route) error {
	return c.do(ctx, call{method: http.MethodPost, path: "/v1/routes", in: r})
}

// RemoveRoute implements Backend.
func (c *Client) RemoveRoute(ctx context.Context, domain, prefix string) error {
	return c.do(ctx, call{method: http.MethodDelete, path: "/v1/routes", query: filter(0, "domain", domain, "prefix", prefix)})
}

// ListCalls implements Backend.
func (c *Client) ListCalls(ctx context.Context, f CallFilter) (Calls, error) {
	return get[Calls](ctx, c, "/v1/calls", filter(f.Limit, "domain", f.Domain))
}

// EndCall implements Backend.
func (c *Client) EndCall(ctx context.Context, number uint64) error {
	return c.do(ctx, call{method: http.MethodDelete, path: "/v1/calls/" + strconv.FormatUint(number, 10)})
}

// ListRegistrations implements Backend.
func (c *Client) ListRegistrations(ctx context.Context, f RegistrationFilter) (Registrations, error) {
	return get[Registrations](ctx, c, "/v1/registrations", filter(f.Limit, "aor", f.AoR, "domain", f.Domain))
}

// ListSettings implements Backend.
func (c *Client) ListSettings(ctx context.Context) ([]Setting, error) {
	return get[[]Setting](ctx, c, "/v1/settings", nil)
}

// SetSetting implements Backend.
func (c *Client) SetSetting(ctx context.Context, name, value string) error {
	in := struct {
		Value string `json:"value"`
	}{value}
	return c.do(ctx, call{method: http.MethodPut, path: "/v1/settings/" + seg(name), in: in})
}

// Backup implements Backend. A snapshot that broke off is an error, whatever was written.
func (c *Client) Backup(ctx context.Context, w io.Writer) error {
	ctx, cancel := context.WithTimeout(ctx, backupTime+patience)
	defer cancel()
	x := call{method: http.MethodGet, path: "/v1/backup", timeout: backupTime}
	res, err := c.send(ctx, x)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	r := &sourceErr{r: res.Body}
	if _, err := io.Copy(w, r); err != nil {
		if r.err != nil {
			return c.explain(ctx, x, err)
		}
		return fmt.Errorf("writing the backup: %w", err)
	}
	return nil
}

// Restore implements Backend.
func (c *Client) Restore(ctx context.Context, r io.Reader, q RestoreRequest) (v RestoreAnswer, err error) {
	x := call{method: http.MethodPost, path: "/v1/restore", in: r, out: &v, timeout: backupTime}
	if q.Force {
		x.query = url.Values{"force": {"true"}}
	}
	err = c.do(ctx, x)
	return v, err
}

// sourceErr tells errors of reading from errors of writing.
type sourceErr struct {
	r   io.Reader
	err error
}

func (s *sourceErr) Read(p []byte) (int, error) {
	n, err := s.r.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		s.err = err
	}
	return n, err
}

// Live implements Backend.
func (c *Client) Live(ctx context.Context) error { return c.probe(ctx, "/livez") }

// Ready implements Backend.
func (c *Client) Ready(ctx context.Context) error { return c.probe(ctx, "/readyz") }

func (c *Client) probe(ctx context.Context, path string) error {
	err := c.do(ctx, call{method: http.MethodGet, path: path})
	var e *Error
	if errors.As(err, &e) {
		e.Message = strings.TrimSpace(e.Message)
	}
	return err
}
