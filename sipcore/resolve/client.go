package resolve

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"

	"github.com/miekg/dns"
)

const (
	serverTime = time.Second // for one server to answer
	rounds     = 2           // through the servers
	udpSize    = 1232        // that is never fragmented
	maxAliases = 8
)

// errNoTime says that no server had the time to answer, so that nothing is known of the name.
var errNoTime = errors.New("no time to ask the name servers")

// client asks the servers of resolv.conf.
type client struct {
	conf watched
	port string
}

// servers reads the servers' addresses.
func (c *client) servers() []string {
	v := c.conf.read(func(b []byte) any {
		cfg, err := dns.ClientConfigFromReader(strings.NewReader(string(b)))
		if err != nil || len(cfg.Servers) == 0 {
			return []string{"127.0.0.1"}
		}
		return cfg.Servers
	})
	return v.([]string)
}

// exchange asks one question: of one server after the other, over UDP, then over TCP if the answer is cut off. That
// a name has nothing of this kind is an answer. A server that ctx gave less time than it may take does not count as silent.
func (c *client) exchange(ctx context.Context, name string, kind uint16) (*answer, error) {
	m := new(dns.Msg)
	m.SetQuestion(name, kind)
	m.SetEdns0(udpSize, false)
	last := errNoTime
	for range rounds {
		for _, server := range c.servers() {
			if ctx.Err() != nil {
				return nil, last
			}
			in, err := ask(ctx, m, net.JoinHostPort(server, c.port))
			if err != nil {
				if ctx.Err() == nil {
					last = fmt.Errorf("name server %s: %w", server, err)
				}
				continue
			}
			switch in.Rcode {
			case dns.RcodeSuccess, dns.RcodeNameError:
				return read(in, name, kind), nil
			}
			last = fmt.Errorf("name server %s answers %s", server, dns.RcodeToString[in.Rcode])
		}
	}
	return nil, last
}

func ask(ctx context.Context, m *dns.Msg, server string) (*dns.Msg, error) {
	udp := dns.Client{Timeout: serverTime, UDPSize: udpSize}
	in, _, err := udp.ExchangeContext(ctx, m, server)
	if err == nil && in.Truncated {
		tcp := dns.Client{Net: "tcp", Timeout: serverTime}
		in, _, err = tcp.ExchangeContext(ctx, m, server)
	}
	if err != nil {
		return nil, err
	}
	return in, nil
}
