package sipcore

import (
	"net/netip"
	"sync"
	"time"
)

const (
	nameTTL  = int64(30 * time.Second)
	maxNames = 10_000
)

// nameCache remembers looked-up hosts for a while.
type nameCache struct {
	mu sync.RWMutex
	m  map[string]cachedName
}

type cachedName struct {
	addr netip.Addr
	till int64
}

func (n *nameCache) get(host string, now int64) (netip.Addr, bool) {
	n.mu.RLock()
	defer n.mu.RUnlock()
	e, ok := n.m[host]
	return e.addr, ok && now < e.till
}

func (n *nameCache) put(host string, a netip.Addr, now int64) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.m == nil || len(n.m) >= maxNames {
		n.m = make(map[string]cachedName)
	}
	n.m[host] = cachedName{a, now + nameTTL}
}
