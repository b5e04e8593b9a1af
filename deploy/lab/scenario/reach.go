package scenario

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"sync"
	"time"

	"github.com/emiago/sipgo/sip"

	"holdline/deploy/lab/phone"
)

// Unreachable sends OPTIONS to every given phone, through the VIPs in turn, and returns why which ones gave no 200. A phone that can be
// reached is registered in deed, not only in a listing.
func Unreachable(ctx context.Context, from *phone.Phone, phones []*phone.Phone, vips []netip.AddrPort, patience time.Duration) map[*phone.Phone]error {
	out := map[*phone.Phone]error{}
	var mu sync.Mutex
	var all sync.WaitGroup
	room := make(chan struct{}, 20) // at once
	for i, p := range phones {
		room <- struct{}{}
		all.Go(func() {
			defer func() { <-room }()
			if err := reach(ctx, from, p, vips[i%len(vips)], patience); err != nil {
				mu.Lock()
				defer mu.Unlock()
				out[p] = err
			}
		})
	}
	all.Wait()
	return out
}

func reach(ctx context.Context, from, to *phone.Phone, vip netip.AddrPort, patience time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	c, res, err := from.RequestVia(ctx, from.NewRequest(sip.OPTIONS, to.User), vip)
	if err == nil && res.StatusCode < 200 {
		res, err = c.Final(ctx)
	}
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		return fmt.Errorf("no answer to OPTIONS through %v", vip.Addr())
	case err != nil:
		return fmt.Errorf("OPTIONS through %v: %w", vip.Addr(), err)
	case res.StatusCode != 200:
		return fmt.Errorf("OPTIONS through %v: %d %s", vip.Addr(), res.StatusCode, res.Reason)
	}
	return nil
}
