package lab

import (
	"cmp"
	"context"
	"crypto/x509"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"holdline/deploy/lab/netlab"
	"holdline/deploy/lab/node"
)

// Addresses of the lab's network.
const (
	subnetBits = 24
	sipPort    = 5060
	domain     = "example.com"
)

func hostAddr(last int) netip.Addr { return netip.AddrFrom4([4]byte{10, 77, 0, byte(last)}) }

func prefixOf(a netip.Addr) netip.Prefix { return netip.PrefixFrom(a, subnetBits) }

var (
	probeAddr   = hostAddr(21)
	gatewayAddr = netip.AddrPortFrom(hostAddr(22), 5080)
)

// phoneHosts are the addresses that phones have, each with a port of its own.
func phoneHosts() []netip.Addr {
	var out []netip.Addr
	for last := 23; last <= 29; last++ {
		out = append(out, hostAddr(last))
	}
	return out
}

// cluster is the switch, the boxes on it, and the product on them.
type cluster struct {
	net    *netlab.Network
	phones *netlab.Box
	nodes  []*node.Node
	vips   []netip.Addr
	extra  *node.Node // a box that is no member; nil until a fault wants it

	binary, dir string
	note        func(format string, args ...any) // progress, for a person
}

// buildCluster makes the network and the boxes, without starting anything on them.
func buildCluster(o Options, dir string) (*cluster, error) {
	network, err := netlab.New()
	if err != nil {
		return nil, err
	}
	c := &cluster{net: network, binary: o.Binary, dir: dir, note: func(string, ...any) {}}
	for i := range o.Nodes {
		name, addr := fmt.Sprintf("n%d", i+1), hostAddr(11+i)
		box, err := network.AddBox(name, byte(11+i), prefixOf(addr))
		if err != nil {
			network.Close()
			return nil, err
		}
		n, err := node.New(box, name, addr, o.Binary, dir)
		if err != nil {
			network.Close()
			return nil, err
		}
		if o.ownDisks() {
			if err := n.OwnDisk(); err != nil {
				network.Close()
				return nil, err
			}
		}
		c.nodes = append(c.nodes, n)
		c.vips = append(c.vips, hostAddr(101+i))
	}
	addrs := []netip.Prefix{prefixOf(probeAddr), prefixOf(gatewayAddr.Addr())}
	for _, a := range phoneHosts() {
		addrs = append(addrs, prefixOf(a))
	}
	if c.phones, err = network.AddBox("phones", 20, addrs...); err != nil {
		network.Close()
		return nil, err
	}
	return c, nil
}

// form starts serve on every box and makes one cluster of them, with the commands that an operator types.
func (c *cluster) form(ctx context.Context) error {
	if err := c.each(func(n *node.Node) error { return n.Start(ctx) }); err != nil {
		return err
	}
	first := c.nodes[0]
	args := []string{"init", "--name", first.Name, "--listen", first.Addr.String()}
	for _, v := range c.vips {
		args = append(args, "--vip", prefixOf(v).String())
	}
	if _, err := first.CLI(ctx, "", args...); err != nil {
		return err
	}
	for _, n := range c.nodes[1:] {
		if err := c.join(ctx, first, n); err != nil {
			return err
		}
	}
	return nil
}

// join makes a node a member, with a token from one that is.
func (c *cluster) join(ctx context.Context, member, n *node.Node) error {
	out, err := member.CLI(ctx, "", "token", "create")
	if err != nil {
		return err
	}
	token, err := tokenIn(out)
	if err != nil {
		return err
	}
	_, err = n.CLI(ctx, "", "join", token, "--name", n.Name, "--listen", n.Addr.String())
	return err
}

// tokenIn finds the token in the line that token create prints for the operator of the next box.
func tokenIn(out string) (string, error) {
	words := strings.Fields(out)
	if i := slices.Index(words, "join"); i >= 0 && i+1 < len(words) {
		return words[i+1], nil
	}
	if len(words) == 1 {
		return words[0], nil
	}
	return "", fmt.Errorf("token create: no join line in %q", out)
}

// provision adds domain, gateway and users, and returns when all nodes know them. Users are added by two at a time: each is a command of its own.
func (c *cluster) provision(ctx context.Context, users []user) error {
	args := []string{"domain", "add", domain}
	for _, v := range c.vips {
		args = append(args, "--alias", v.String())
	}
	for _, args := range [][]string{
		args,
		{"pool", "add", "carriers"},
		{"pool", "member", "add", "carriers", "gw1", "--address", gatewayAddr.String()},
		{"route", "add", domain, "--prefix", "", "--pool", "carriers"},
	} {
		if _, err := c.nodes[0].CLI(ctx, "", args...); err != nil {
			return err
		}
	}
	work := make(chan user)
	errs := make(chan error, len(c.nodes))
	var all sync.WaitGroup
	for _, n := range c.nodes {
		all.Go(func() {
			var err error
			for u := range work {
				if err == nil {
					_, err = n.CLI(ctx, u.password+"\n", "user", "add", u.name+"@"+domain, "--password-stdin")
				}
			}
			errs <- err
		})
	}
	for _, u := range users {
		work <- u
	}
	close(work)
	all.Wait()
	close(errs)
	for err := range errs {
		if err != nil {
			return err
		}
	}
	return c.know(ctx, users)
}

// know returns when every node knows the users: a follower may hear of the last one 50 ms later, and phones are with any of them.
func (c *cluster) know(ctx context.Context, users []user) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	return c.each(func(n *node.Node) error {
		return n.Await(ctx, func(ctx context.Context) error {
			out, err := n.CLI(ctx, "", "user", "list", "--json")
			for _, u := range users {
				if err == nil && !strings.Contains(out, `"`+u.name+"@"+domain+`"`) {
					err = fmt.Errorf("%s does not know user %s yet", n.Name, u.name)
				}
			}
			return err
		})
	})
}

// secure gives the domain a certificate and returns who trusts it.
func (c *cluster) secure(ctx context.Context, dir string) (*x509.CertPool, error) {
	cert, key, roots, err := makeCertificate(dir)
	if err != nil {
		return nil, err
	}
	_, err = c.nodes[0].CLI(ctx, "", "certificate", "add", domain, "--cert", cert, "--key", key)
	return roots, err
}

// set changes a setting and returns when every node goes by it: a follower may hear of it 50 ms later, and phones are with any of them.
func (c *cluster) set(ctx context.Context, name, value string) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	if _, err := c.nodes[0].CLI(ctx, "", "setting", "set", name, value); err != nil {
		return err
	}
	return c.each(func(n *node.Node) error {
		return n.Await(ctx, func(ctx context.Context) error {
			out, err := n.CLI(ctx, "", "setting", "get", name)
			if err == nil && strings.TrimSpace(out) != value {
				err = fmt.Errorf("setting %s is %q on %s, not %q yet", name, strings.TrimSpace(out), n.Name, value)
			}
			return err
		})
	})
}

// user is a name and password of the domain.
type user struct{ name, password string }

// awaitHA returns when each of the given nodes calls the cluster highly available.
func (c *cluster) awaitHA(ctx context.Context, nodes []*node.Node) error {
	return eachOf(nodes, func(n *node.Node) error {
		return n.Await(ctx, func(ctx context.Context) error {
			s, err := n.Status(ctx)
			if err != nil {
				return err
			}
			return s.Available(len(c.nodes), len(c.vips))
		})
	})
}

// atRest is what the first node says once it calls the cluster highly available. It has been waited for before a fault, but a machine that stands still for
// 60 ms takes every VIP's lease from under all nodes at once, and a fault must not fall into the moment after that: nobody would be there for it.
func (c *cluster) atRest(ctx context.Context) (s node.Status, err error) {
	err = c.nodes[0].Await(ctx, func(ctx context.Context) (err error) {
		if s, err = c.nodes[0].Status(ctx); err != nil {
			return err
		}
		return s.Available(len(c.nodes), len(c.vips))
	})
	return s, err
}

func (c *cluster) each(do func(*node.Node) error) error { return eachOf(c.nodes, do) }

// eachOf runs do for all nodes at once and returns the first error: the others mostly say the same.
func eachOf(nodes []*node.Node, do func(*node.Node) error) error {
	errs := make([]error, len(nodes))
	var all sync.WaitGroup
	for i, n := range nodes {
		all.Go(func() { errs[i] = do(n) })
	}
	all.Wait()
	return cmp.Or(errs...)
}

func (c *cluster) node(name string) *node.Node {
	for _, n := range c.nodes {
		if n.Name == name {
			return n
		}
	}
	return nil
}

func (c *cluster) others(than *node.Node) []*node.Node {
	return slices.DeleteFunc(slices.Clone(c.nodes), func(n *node.Node) bool { return n == than })
}

// boxes are the nodes, and the one that is no member.
func (c *cluster) boxes() []*node.Node {
	if c.extra == nil {
		return c.nodes
	}
	return append(slices.Clone(c.nodes), c.extra)
}

// boxAt names the box behind a port of the switch.
func (c *cluster) boxAt(port int) string {
	for _, n := range c.boxes() {
		if n.Box.Port() == port {
			return n.Name
		}
	}
	return "phones"
}

func (c *cluster) ports() []int {
	ports := []int{c.phones.Port()}
	for _, n := range c.boxes() {
		ports = append(ports, n.Box.Port())
	}
	return ports
}

// close ends the product on every box and removes the network.
func (c *cluster) close() error {
	err := eachOf(c.boxes(), func(n *node.Node) error { return n.Stop(3 * time.Second) })
	c.net.Close()
	return err
}
