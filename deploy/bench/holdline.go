package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"holdline/cluster/api"
	"holdline/deploy/lab/netlab"
)

// holdline is one node or a cluster of three, each node a real `holdline serve` with its guard.
type holdline struct {
	name   string
	binary string
	boxes  []*netlab.Box
	addrs  []string // of the nodes
	vips   []string // one group for each node
	dir    string
	users  int
	later  bool // calls are recorded after the fact

	clients []*api.Client
	sockets []string
}

func (h *holdline) Name() string         { return h.name }
func (h *holdline) Boxes() []*netlab.Box { return h.boxes }
func (h *holdline) Target() string       { return h.vips[0] + ":5060" }

// Start starts the nodes, joins them, and configures the domain, the gateway and the caller's trust.
func (h *holdline) Start(ctx context.Context, probe *netlab.Box) error {
	for i := range h.boxes {
		if err := h.serve(ctx, i); err != nil {
			return err
		}
	}
	init := api.InitRequest{Name: "n1", Listen: h.addrs[0]}
	for _, v := range h.vips {
		init.Groups = append(init.Groups, api.GroupSpec{VIPs: []api.VIP{{Prefix: v + "/24"}}})
	}
	first := h.clients[0]
	if _, err := first.Init(ctx, init); err != nil {
		return fmt.Errorf("init: %w", err)
	}
	for i, c := range h.clients[1:] {
		token, err := first.CreateToken(ctx, api.TokenRequest{})
		if err != nil {
			return fmt.Errorf("token: %w", err)
		}
		if _, err := c.Join(ctx, api.JoinRequest{Token: token.Token, Name: fmt.Sprintf("n%d", i+2), Listen: h.addrs[i+1]}); err != nil {
			return fmt.Errorf("join: %w", err)
		}
	}
	if err := h.configure(ctx, first); err != nil {
		return err
	}
	for _, v := range h.vips {
		if err := waitForOptions(ctx, probe, v+":5060", 15*time.Second); err != nil {
			return fmt.Errorf("%s does not answer, logs are in %s: %w", v, h.dir, err)
		}
	}
	return nil
}

// serve starts node i.
func (h *holdline) serve(ctx context.Context, i int) error {
	dir := filepath.Join(h.dir, fmt.Sprintf("%s-%d", h.name, i))
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	log, err := os.OpenFile(filepath.Join(dir, "log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	defer log.Close()
	socket := filepath.Join(dir, "holdline.sock")
	cmd := exec.CommandContext(ctx, h.binary, "serve", "--data-dir", filepath.Join(dir, "data"), "--socket", socket)
	cmd.Env = append(os.Environ(), "GODEBUG=") // as installed
	cmd.Stdout, cmd.Stderr = log, log
	if err := h.boxes[i].Start(cmd); err != nil {
		return fmt.Errorf("start %s: %w; build it with make build", h.binary, err)
	}
	go func() { _ = cmd.Wait() }()
	c := api.NewClient(socket)
	h.sockets = append(h.sockets, socket)
	h.clients = append(h.clients, c)
	if err := until(ctx, 2*time.Minute, func() error { _, err := c.Version(ctx); return err }); err != nil {
		return fmt.Errorf("holdline serve did not come up, its log is in %s: %w", dir, err)
	}
	return nil
}

func (h *holdline) configure(ctx context.Context, c *api.Client) error {
	steps := []func() error{
		func() error { return c.AddDomain(ctx, api.Domain{Name: benchDomain, Aliases: h.vips}) },
		func() error { return c.AddPool(ctx, api.Pool{Name: "gateways"}) },
		func() error {
			return c.AddMember(ctx, "gateways", api.Member{Name: "gw1", Address: gatewayAddr + ":5060"})
		},
		func() error { return c.AddPool(ctx, api.Pool{Name: "callers"}) },
		func() error {
			return c.AddMember(ctx, "callers", api.Member{Name: "c1", Address: callerAddr + ":6000", Sources: []string{callerAddr + "/32"}})
		},
		func() error { return c.AddRoute(ctx, api.Route{Domain: benchDomain, Pool: "gateways"}) },
	}
	for _, step := range steps {
		if err := step(); err != nil {
			return fmt.Errorf("configure %s: %w", h.name, err)
		}
	}
	// sipp's gateway takes an OPTIONS for a call gone wrong, and Kamailio asks nobody here either. An older binary knows no such setting.
	if err := c.SetSetting(ctx, "proxy.gateway-probe", "0"); err != nil && api.CodeOf(err) != api.CodeNotFound {
		return fmt.Errorf("configure %s: %w", h.name, err)
	}
	if h.later {
		if err := c.SetSetting(ctx, "call.commit", "after"); err != nil {
			return fmt.Errorf("configure %s: %w", h.name, err)
		}
	}
	for i := range h.users {
		aor := fmt.Sprintf("%s@%s", benchUser(i), benchDomain)
		if err := c.AddUser(ctx, api.UserRequest{AoR: aor, Password: benchPassword}); err != nil {
			return fmt.Errorf("configure %s: %w", h.name, err)
		}
	}
	return nil
}

// liveHeap collects the garbage of every node and sums what is left on their heaps, in bytes.
func (h *holdline) liveHeap(ctx context.Context) (int64, error) {
	for _, socket := range h.sockets {
		if _, err := h.read(ctx, socket, "/debug/pprof/heap?gc=1"); err != nil {
			return 0, err
		}
	}
	sum, err := h.metric(ctx, "go_memstats_heap_alloc_bytes")
	return int64(sum), err
}

// metric is the sum of one metric over all nodes.
func (h *holdline) metric(ctx context.Context, name string) (sum float64, err error) {
	for _, socket := range h.sockets {
		text, err := h.read(ctx, socket, "/metrics")
		if err != nil {
			return 0, err
		}
		_, after, ok := strings.Cut(text, "\n"+name+" ")
		if !ok {
			return 0, fmt.Errorf("the metrics of %s have no %s", h.name, name)
		}
		line, _, _ := strings.Cut(after, "\n")
		v, err := strconv.ParseFloat(line, 64)
		if err != nil {
			return 0, fmt.Errorf("metrics of %s: %s: %w", h.name, name, err)
		}
		sum += v
	}
	return sum, nil
}

// read gets what a node's admin socket tells under a path.
func (h *holdline) read(ctx context.Context, socket, path string) (string, error) {
	c := http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", socket)
	}}}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://holdline"+path, nil)
	if err != nil {
		return "", err
	}
	a, err := c.Do(req)
	if err != nil {
		return "", fmt.Errorf("ask %s: %w", h.name, err)
	}
	defer a.Body.Close()
	b, err := io.ReadAll(a.Body)
	if err == nil && a.StatusCode != http.StatusOK {
		err = fmt.Errorf("ask %s for %s: %s", h.name, path, a.Status)
	}
	return string(b), err
}
