package api

import (
	"context"
	"net/http"
	"net/url"
	"strconv"
)

// CountCalls implements Backend.
func (c *Client) CountCalls(ctx context.Context) (CallCounts, error) {
	return get[CallCounts](ctx, c, "/v1/calls/counts", nil)
}

// ListCDRs implements Backend.
func (c *Client) ListCDRs(ctx context.Context, f CDRFilter) (CDRs, error) {
	q := url.Values{}
	number := func(name string, n uint64) {
		if n != 0 {
			q.Set(name, strconv.FormatUint(n, 10))
		}
	}
	number("since", f.Since)
	number("limit", uint64(max(f.Limit, 0)))
	number("wait", uint64(max(f.WaitS, 0)))
	if f.Latest {
		q.Set("latest", "true")
	}
	if f.Consumer != "" {
		q.Set("consumer", f.Consumer)
	}
	return get[CDRs](ctx, c, "/v1/cdrs", q)
}

// AcknowledgeCDRs implements Backend.
func (c *Client) AcknowledgeCDRs(ctx context.Context, consumer string, upTo uint64) error {
	in := struct {
		UpTo uint64 `json:"up_to"`
	}{upTo}
	return c.do(ctx, call{method: http.MethodPut, path: "/v1/cdr-consumers/" + seg(consumer), in: in})
}

// RemoveCDRConsumer implements Backend.
func (c *Client) RemoveCDRConsumer(ctx context.Context, consumer string) error {
	return c.do(ctx, call{method: http.MethodDelete, path: "/v1/cdr-consumers/" + seg(consumer)})
}
