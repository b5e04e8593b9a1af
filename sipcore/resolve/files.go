package resolve

import (
	"net/netip"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/miekg/dns"
)

// recheck is how often a file is looked at for changes.
const recheck = 5 * time.Second

// watched is a file that is read again when it has changed. One that cannot be read is empty.
type watched struct {
	path string
	now  func() time.Time

	mu      sync.Mutex
	checked time.Time
	changed time.Time
	value   any
}

// read returns what parse made of the file when it was last read.
func (w *watched) read(parse func([]byte) any) any {
	w.mu.Lock()
	defer w.mu.Unlock()
	now := w.now()
	if w.value != nil && now.Sub(w.checked) < recheck {
		return w.value
	}
	w.checked = now
	info, err := os.Stat(w.path)
	if err == nil && w.value != nil && info.ModTime().Equal(w.changed) {
		return w.value
	}
	var b []byte
	if err == nil {
		w.changed = info.ModTime()
		b, err = os.ReadFile(w.path)
	}
	if err != nil && w.value != nil {
		return w.value // as it was: it is being replaced
	}
	w.value = parse(b)
	return w.value
}

// hostsFile is /etc/hosts.
type hostsFile struct{ file watched }

// find answers for a name that is in the file; SRV and NAPTR of such a name don't exist.
func (h *hostsFile) find(name string, kind uint16) *answer {
	all := h.file.read(parseHosts).(map[string][]netip.Addr)
	if i := strings.IndexByte(name, '.'); i > 0 && name[0] == '_' { // a service of a host that is in the file
		if _, rest, ok := strings.Cut(name[i+1:], "."); ok && all[rest] != nil {
			return &answer{}
		}
	}
	addrs := all[name]
	if addrs == nil {
		return nil
	}
	a := &answer{}
	for _, addr := range addrs {
		if kind == dns.TypeA && addr.Is4() || kind == dns.TypeAAAA && addr.Is6() {
			a.addrs = append(a.addrs, addr)
		}
	}
	return a
}

func parseHosts(b []byte) any {
	m := map[string][]netip.Addr{}
	for line := range strings.Lines(string(b)) {
		line, _, _ = strings.Cut(line, "#")
		f := strings.Fields(line)
		if len(f) < 2 {
			continue
		}
		addr, err := netip.ParseAddr(f[0])
		if err != nil {
			continue
		}
		for _, name := range f[1:] {
			name = dns.Fqdn(strings.ToLower(name))
			m[name] = append(m[name], addr.Unmap())
		}
	}
	for _, addrs := range m {
		slices.SortFunc(addrs, netip.Addr.Compare)
	}
	return m
}
