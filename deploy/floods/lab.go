package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"holdline/cluster/api"
	"holdline/deploy/lab/netlab"
)

const (
	nodeAddr     = "10.77.0.11"
	vipAddr      = "10.77.0.101"
	gatewayAddr  = "10.77.0.22"
	callerAddr   = "10.77.0.23" // of those who flood with calls
	politeAddr   = "10.77.0.24"
	phoneAddr    = "10.77.0.25"
	attackerAddr = "10.77.0.26"
	metricsAddr  = nodeAddr + ":9090"
	domain       = "flood.example"
	password     = "flood-secret"
	sourcesNet   = "10.128.0.0/9" // of the flood from many sources
)

// lab is one node and its peers, in namespaces.
type lab struct {
	net    *netlab.Network
	node   *netlab.Box
	peers  *netlab.Box
	dir    string
	client *api.Client
	pid    int
	ended  chan struct{}
}

func (l *lab) vip(port int) *net.UDPAddr { return &net.UDPAddr{IP: net.ParseIP(vipAddr), Port: port} }

// udp opens a socket of the peers.
func (l *lab) udp(addr string, port int) (conn *net.UDPConn, err error) {
	err = l.peers.Do(func() (err error) {
		conn, err = net.ListenUDP("udp4", &net.UDPAddr{IP: net.ParseIP(addr), Port: port})
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("open a socket on %s: %w", addr, err)
	}
	raw, err := conn.SyscallConn()
	if err == nil {
		cerr := raw.Control(func(fd uintptr) {
			err = errors.Join(unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, 8<<20),
				unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_TIMESTAMPNS, 1))
		})
		err = errors.Join(err, cerr)
	}
	if err != nil {
		_ = conn.Close()
		return nil, fmt.Errorf("open a socket on %s: %w", addr, err)
	}
	return conn, nil
}

// newLab makes the namespaces and starts the node on one of them.
func newLab(ctx context.Context, binary, dir string, memory int64) (*lab, error) {
	network, err := netlab.New()
	if err != nil {
		return nil, err
	}
	l := &lab{net: network, dir: dir}
	prefix := func(a string) netip.Prefix { return netip.PrefixFrom(netip.MustParseAddr(a), 24) }
	if l.node, err = network.AddBox("node", 11, prefix(nodeAddr)); err == nil {
		l.peers, err = network.AddBox("peers", 20, prefix(gatewayAddr), prefix(callerAddr), prefix(politeAddr), prefix(phoneAddr), prefix(attackerAddr))
	}
	if err == nil {
		err = l.routeBack()
	}
	if err == nil {
		err = l.start(ctx, binary, memory)
	}
	if err != nil {
		network.Close()
		return nil, err
	}
	return l, nil
}

// routeBack lets what the node answers to the many sources come back.
func (l *lab) routeBack() error {
	_, dst, err := net.ParseCIDR(sourcesNet)
	if err != nil {
		return err
	}
	if err := l.node.Links().RouteAdd(&netlink.Route{Dst: dst, Gw: net.ParseIP(attackerAddr)}); err != nil {
		return fmt.Errorf("add a route to the flood's sources: %w", err)
	}
	return nil
}

// start starts the node. It is told how much memory it has, in bytes; what it keeps beyond shows as resident memory.
func (l *lab) start(ctx context.Context, binary string, memory int64) error {
	log, err := os.Create(filepath.Join(l.dir, "log"))
	if err != nil {
		return err
	}
	defer log.Close()
	socket := filepath.Join(l.dir, "holdline.sock")
	cmd := exec.Command(binary, "serve", "--data-dir", filepath.Join(l.dir, "data"), "--socket", socket, "--metrics", metricsAddr)
	ours, peers := split()
	cmd.Env = append(os.Environ(), fmt.Sprintf("GOMAXPROCS=%d", len(ours)), fmt.Sprintf("GOMEMLIMIT=%d", memory))
	cmd.Stdout, cmd.Stderr = log, log
	if err := l.node.Start(cmd); err != nil {
		return fmt.Errorf("start %s: %w; build it with make build", binary, err)
	}
	l.pid, l.ended = cmd.Process.Pid, make(chan struct{})
	if err := errors.Join(pin(l.pid, ours), pin(os.Getpid(), peers)); err != nil {
		return err
	}
	go func() { _ = cmd.Wait(); close(l.ended) }()
	l.client = api.NewClient(socket)
	return until(ctx, 20*time.Second, func() error { _, err := l.client.Version(ctx); return err })
}

// configure makes the node a cluster with a domain, a gateway, trusted callers and users.
func (l *lab) configure(ctx context.Context, users int) error {
	c := l.client
	init := api.InitRequest{Name: "n1", Listen: nodeAddr, Groups: []api.GroupSpec{{VIPs: []api.VIP{{Prefix: vipAddr + "/24"}}}}}
	steps := []func() error{
		func() error { _, err := c.Init(ctx, init); return err },
		func() error { return c.AddDomain(ctx, api.Domain{Name: domain, Aliases: []string{vipAddr}}) },
		func() error { return c.AddPool(ctx, api.Pool{Name: "gateways"}) },
		func() error {
			return c.AddMember(ctx, "gateways", api.Member{Name: "gw1", Address: gatewayAddr + ":5060"})
		},
		func() error { return c.AddPool(ctx, api.Pool{Name: "callers"}) },
		func() error {
			return c.AddMember(ctx, "callers", api.Member{Name: "flood", Address: callerAddr, Sources: []string{callerAddr + "/32"}})
		},
		func() error {
			return c.AddMember(ctx, "callers", api.Member{Name: "polite", Address: politeAddr, Sources: []string{politeAddr + "/32"}})
		},
		func() error { return c.AddRoute(ctx, api.Route{Domain: domain, Pool: "gateways"}) },
	}
	for i := range users {
		steps = append(steps, func() error {
			return c.AddUser(ctx, api.UserRequest{AoR: userName(i) + "@" + domain, Password: password})
		})
	}
	for _, step := range steps {
		if err := step(); err != nil {
			return fmt.Errorf("configure the node, its log is in %s: %w", l.dir, err)
		}
	}
	return nil
}

func userName(i int) string { return fmt.Sprintf("u%05d", i) }

// alive tells whether serve still runs.
func (l *lab) alive() error {
	select {
	case <-l.ended:
		return fmt.Errorf("holdline serve has ended; its log is in %s", l.dir)
	default:
		return nil
	}
}

// rss is the resident memory of serve, in bytes.
func (l *lab) rss() (int64, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", l.pid))
	if err != nil {
		return 0, fmt.Errorf("read the memory of serve: %w", err)
	}
	for line := range strings.Lines(string(b)) {
		if rest, ok := strings.CutPrefix(line, "VmRSS:"); ok {
			kb, err := strconv.ParseInt(strings.Fields(rest)[0], 10, 64)
			return kb << 10, err
		}
	}
	return 0, errors.New("read the memory of serve: no VmRSS")
}

// metrics reads those of the node's metrics that have no labels.
func (l *lab) metrics(ctx context.Context) (map[string]float64, error) {
	from := netip.AddrPortFrom(netip.MustParseAddr(politeAddr), 0)
	client := http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, addr string) (net.Conn, error) {
			return l.peers.DialTCP(ctx, from, netip.MustParseAddrPort(addr))
		},
	}}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+metricsAddr+"/metrics", nil)
	if err != nil {
		return nil, err
	}
	res, err := client.Do(req)
	if err != nil {
		return nil, fmt.Errorf("read metrics: %w", err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		return nil, fmt.Errorf("read metrics: %w", err)
	}
	out := make(map[string]float64)
	for line := range strings.Lines(string(b)) {
		f := strings.Fields(line)
		if len(f) != 2 || f[0][0] == '#' {
			continue
		}
		if v, err := strconv.ParseFloat(f[1], 64); err == nil {
			out[f[0]] = v
		}
	}
	return out, nil
}

// until repeats fn until it succeeds; the last error is returned when patience is at its end.
func until(ctx context.Context, patience time.Duration, fn func() error) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for {
		err := fn()
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(50 * time.Millisecond):
		}
	}
}
