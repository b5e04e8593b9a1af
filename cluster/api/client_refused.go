package api

import "context"

// ListRefused implements Backend.
func (c *Client) ListRefused(ctx context.Context, f RefusalFilter) (Refused, error) {
	return get[Refused](ctx, c, "/v1/refused", filter(f.Limit, "aor", f.AoR, "from", f.From, "call_id", f.CallID))
}
