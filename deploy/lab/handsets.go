package lab

import (
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"

	"holdline/deploy/lab/netlab"
	"holdline/deploy/lab/phone"
)

// firstPort is the UDP port of the first phone; each has one of its own.
const firstPort = 20001

// handsets are the phones and the gateway.
type handsets struct {
	phones  []*phone.Phone
	gateway *phone.Phone
	stats   phone.Stats
}

func users(n int) []user {
	out := make([]user, n)
	for i := range out {
		out[i] = user{fmt.Sprintf("u%03d", i+1), fmt.Sprintf("secret-%03d", i+1)}
	}
	return out
}

// newHandsets makes a phone for each user, spread over the VIPs, and the gateway.
func newHandsets(box *netlab.Box, users []user, vips []netip.Addr, o Options, roots *x509.CertPool) (*handsets, error) {
	h := &handsets{}
	hosts := phoneHosts()
	for i, u := range users {
		transport := o.transportOf(i)
		addr := netip.AddrPortFrom(hosts[i%len(hosts)], uint16(firstPort+i))
		proxy := netip.AddrPortFrom(vips[i%len(vips)], port(transport))
		if transport != TransportUDP {
			streams := phone.NewStreams(strings.ToUpper(transport), addr, dialer(box, addr.Addr(), transport, roots))
			h.phones = append(h.phones, phone.NewPhone(phone.NewEndpoint(streams, &h.stats), u.name, domain, u.password, proxy))
			continue
		}
		p, err := h.phone(box, u, addr, proxy)
		if err != nil {
			h.close()
			return nil, err
		}
		h.phones = append(h.phones, p)
	}
	var err error
	if h.gateway, err = h.phone(box, user{name: "gw"}, gatewayAddr, netip.AddrPortFrom(vips[0], sipPort)); err != nil {
		h.close()
		return nil, err
	}
	return h, nil
}

func (h *handsets) phone(box *netlab.Box, u user, addr, proxy netip.AddrPort) (*phone.Phone, error) {
	conn, err := listen(box, addr)
	if err != nil {
		return nil, err
	}
	return phone.NewPhone(phone.NewEndpoint(conn, &h.stats), u.name, domain, u.password, proxy), nil
}

// listen binds a UDP socket inside a box. The buffer holds what comes in while this process is not run for a moment.
func listen(box *netlab.Box, addr netip.AddrPort) (*net.UDPConn, error) {
	var conn *net.UDPConn
	err := box.Do(func() (err error) {
		conn, err = net.ListenUDP("udp4", net.UDPAddrFromAddrPort(addr))
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("bind %v in %s: %w", addr, box.Name, err)
	}
	if err := conn.SetReadBuffer(1 << 20); err != nil {
		conn.Close()
		return nil, fmt.Errorf("set the receive buffer of %v: %w", addr, err)
	}
	return conn, nil
}

func (h *handsets) close() error {
	var errs []error
	for _, p := range h.phones {
		errs = append(errs, p.Close())
	}
	if h.gateway != nil {
		errs = append(errs, h.gateway.Close())
	}
	return errors.Join(errs...)
}
