package api

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// Client calls the API of the daemon behind a Unix socket. It implements Backend: what the daemon's Backend returns is what
// the Client's method returns, Errors included. Safe for concurrent use.
type Client struct {
	socket string
	http   *http.Client
}

var _ Backend = (*Client)(nil)

// NewClient returns a client of the daemon on the socket; it connects when it is used.
func NewClient(socket string) *Client {
	d := &net.Dialer{Timeout: 5 * time.Second}
	return &Client{socket: socket, http: &http.Client{Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return d.DialContext(ctx, "unix", socket)
		},
		DisableCompression: true,
		MaxIdleConns:       1,
	}}}
}

// Close drops idle connections.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// patience is how much longer than the server's own limit a client waits: then the daemon hangs.
const patience = 5 * time.Second

// maxError bounds what is read of an error answer.
const maxError = 64 << 10

// call is one exchange.
type call struct {
	method, path string
	query        url.Values
	in, out      any           // JSON bodies; nil: none; an io.Reader is sent as it is
	timeout      time.Duration // the server's; 0: quick
}

func (c *Client) do(ctx context.Context, x call) error {
	if x.timeout == 0 {
		x.timeout = quick
	}
	ctx, cancel := context.WithTimeout(ctx, x.timeout+patience)
	defer cancel()
	res, err := c.send(ctx, x)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if x.out == nil {
		return nil
	}
	if err := json.NewDecoder(res.Body).Decode(x.out); err != nil {
		return c.explain(ctx, x, fmt.Errorf("reading the answer: %w", err))
	}
	return nil
}

// send returns a good answer, whose body the caller closes, or an error.
func (c *Client) send(ctx context.Context, x call) (*http.Response, error) {
	for part := range strings.SplitSeq(x.path[1:], "/") {
		if part == "" || part == "." || part == ".." { // would name another operation
			return nil, Errorf(CodeInvalid, "%q is not a name: give that of something that exists", part)
		}
	}
	var in io.Reader
	kind := "application/json"
	if r, ok := x.in.(io.Reader); ok {
		in, kind = io.NopCloser(r), "application/octet-stream" // the caller closes it
	} else if x.in != nil {
		b, err := json.Marshal(x.in)
		if err != nil {
			return nil, Errorf(CodeInvalid, "writing the request: %w", err)
		}
		in = bytes.NewReader(b)
	}
	u := "http://holdline" + x.path
	if len(x.query) > 0 {
		u += "?" + x.query.Encode()
	}
	r, err := http.NewRequestWithContext(ctx, x.method, u, in)
	if err != nil {
		return nil, Errorf(CodeInvalid, "writing the request: %w", err)
	}
	if in != nil {
		r.Header.Set("Content-Type", kind)
	}
	res, err := c.http.Do(r)
	if err != nil {
		return nil, c.explain(ctx, x, err)
	}
	if res.StatusCode < 300 {
		return res, nil
	}
	defer res.Body.Close()
	return nil, readError(res)
}

// readError takes the Error out of an answer, or makes one of an answer that is none.
func readError(res *http.Response) error {
	b, err := io.ReadAll(io.LimitReader(res.Body, maxError))
	var e Error
	if err == nil && json.Unmarshal(b, &e) == nil && e.Message != "" {
		e.Status = res.StatusCode
		return &e
	}
	text := string(bytes.Join(bytes.Fields(b), []byte(" ")))
	code := CodeInternal
	switch res.StatusCode {
	case http.StatusServiceUnavailable:
		code = CodeUnavailable
	case http.StatusNotFound:
		text = "the daemon does not know this operation: its version differs from this command's, see `holdline version`"
	}
	return &Error{Status: res.StatusCode, Code: code, Message: text}
}

// explain turns an error of the transport into one line that says what to do.
func (c *Client) explain(ctx context.Context, x call, err error) error {
	var ne net.Error
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ECONNREFUSED):
		return Errorf(CodeUnavailable, "no holdline daemon answers on %s: start it with `systemctl start holdline` or `holdline serve`; if it ends again, `journalctl -u holdline` says why", c.socket)
	case errors.Is(err, fs.ErrPermission):
		return Errorf(CodeRefused, "permission denied on %s: run this as root or as a member of the socket's group", c.socket)
	case context.Cause(ctx) == context.Canceled:
		return Errorf(CodeUnavailable, "interrupted: see `holdline status` for whether it took effect")
	case errors.Is(err, context.DeadlineExceeded), errors.As(err, &ne) && ne.Timeout():
		return Errorf(CodeUnavailable, "the holdline daemon on %s gives no answer for %s: see its log, `journalctl -u holdline`", c.socket, x.timeout+patience)
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		return Errorf(CodeUnavailable, "the holdline daemon on %s broke off its answer: see its log, `journalctl -u holdline`", c.socket)
	}
	return Errorf(CodeInternal, "talking to the holdline daemon on %s: %w", c.socket, err)
}

func seg(s string) string { return url.PathEscape(s) }

func get[T any](ctx context.Context, c *Client, path string, q url.Values) (v T, err error) {
	err = c.do(ctx, call{method: http.MethodGet, path: path, query: q, out: &v})
	return v, err
}

func post[T any](ctx context.Context, c *Client, path string, in any, timeout time.Duration) (v T, err error) {
	err = c.do(ctx, call{method: http.MethodPost, path: path, in: in, out: &v, timeout: timeout})
	return v, err
}

// filter builds a query of what is set.
func filter(limit int, pairs ...string) url.Values {
	q := url.Values{}
	for i := 0; i < len(pairs); i += 2 {
		if pairs[i+1] != "" {
			q.Set(pairs[i], pairs[i+1])
		}
	}
	if limit > 0 {
		q.Set("limit", strconv.Itoa(limit))
	}
	return q
}
