package lab

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/emiago/sipgo/sip"
	"github.com/icholy/digest"

	"holdline/cluster/api"
	"holdline/deploy/lab/node"
	"holdline/deploy/lab/phone"
)

// registrar is a carrier that knows its customer by a password and calls it where it has registered.
type registrar struct {
	*phone.Endpoint
	nonce string
	mu    sync.Mutex
	took  []registering // in order
}

type registering struct {
	at              time.Time
	contact, callID string
	expires         string
}

func (r *registrar) handle(s *phone.Server) {
	if s.Request.Method != sip.REGISTER {
		return // its OPTIONS go unanswered, as some carriers' do
	}
	cred, err := digest.ParseCredentials(s.Header("Authorization"))
	if err == nil {
		want, err := digest.Digest(&digest.Challenge{Realm: "carrier", Nonce: r.nonce}, digest.Options{Method: "REGISTER", URI: cred.URI, Username: "4930123456", Password: "sesame"})
		if err == nil && cred.Response == want.Response {
			r.take(s)
			return
		}
	}
	s.Respond(401, "Unauthorized", sip.NewHeader("WWW-Authenticate", `Digest realm="carrier", nonce="`+r.nonce+`"`))
}

func (r *registrar) take(s *phone.Server) {
	contact, expires, _ := strings.Cut(s.Header("Contact"), ";expires=")
	r.mu.Lock()
	r.took = append(r.took, registering{time.Now(), contact, s.Header("Call-ID"), expires})
	r.mu.Unlock()
	s.Respond(200, "OK", sip.NewHeader("Contact", contact+";expires=3600"))
}

// last is the latest registration, and how many there were.
func (r *registrar) last() (registering, int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.took) == 0 {
		return registering{}, 0
	}
	return r.took[len(r.took)-1], len(r.took)
}

// TestTrunkRegistered: the owner of the VIP registers with a carrier that asks for a password, each node says so, and when the owner's cable is pulled the next one
// registers the same Contact at once.
func TestTrunkRegistered(t *testing.T) {
	if testing.Short() {
		t.Skip("starts a cluster")
	}
	c, _ := startCluster(t)
	if err := c.provision(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	var conn *net.UDPConn
	if err := c.phones.Do(func() (err error) {
		conn, err = net.ListenUDP("udp4", net.UDPAddrFromAddrPort(gatewayAddr))
		return err
	}); err != nil {
		t.Fatal(err)
	}
	r := &registrar{Endpoint: phone.NewEndpoint(conn, &phone.Stats{}), nonce: "n1"}
	defer func() { _ = r.Close() }()
	r.Handle(r.handle)

	vip := c.vips[0]
	status, err := c.nodes[0].Status(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	owner := c.node(status.Owners()[vip])
	cli(t, c.nodes[1], "sesame\n", "pool", "member", "set", "carriers", "gw1", "--user", "4930123456", "--password-stdin", "--register", "--vip", vip.String())
	for _, n := range c.nodes {
		c.saysRegistered(t, n, owner.Name)
	}
	first, taken := r.last()
	if first.contact != "<sip:4930123456@"+vip.String()+":5060>" || first.expires != "3600" || taken != 1 {
		t.Errorf("%+v, %d times", first, taken)
	}

	pulled := time.Now()
	if err := owner.Box.Unplug(); err != nil {
		t.Fatal(err)
	}
	for _, n := 0, 0; n <= taken; time.Sleep(5 * time.Millisecond) {
		if _, n = r.last(); time.Since(pulled) > 10*time.Second {
			t.Fatal("nobody has registered since the cable was pulled")
		}
	}
	next, _ := r.last()
	t.Logf("registered by the next owner %v after the cable", next.at.Sub(pulled).Round(time.Millisecond))
	if next.contact != first.contact || next.callID == first.callID || next.at.Sub(pulled) > 2*time.Second {
		t.Errorf("%+v after %v, then %+v", first, next.at.Sub(pulled), next)
	}
	if err := owner.Box.Plug(); err != nil {
		t.Fatal(err)
	}
	if err := c.awaitHA(within(t, 30*time.Second), c.nodes); err != nil {
		t.Fatal(err)
	}
	if status, err = c.nodes[0].Status(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, n := range c.nodes {
		c.saysRegistered(t, n, status.Owners()[vip])
	}
	cli(t, c.nodes[0], "", "pool", "member", "set", "carriers", "gw1", "--register=false")
	for end := time.Now().Add(10 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		if last, _ := r.last(); last.expires == "0" {
			break
		} else if time.Now().After(end) {
			t.Fatalf("it is not unregistered: %+v", last)
		}
	}
}

func cli(t *testing.T, n *node.Node, in string, args ...string) string {
	t.Helper()
	out, err := n.CLI(t.Context(), in, args...)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// saysRegistered waits until a node says that the carrier's registration is kept by owner, and that it is up for that.
func (c *cluster) saysRegistered(t *testing.T, n *node.Node, owner string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	for said := ""; ; time.Sleep(20 * time.Millisecond) {
		var pools []api.Pool
		if err := json.Unmarshal([]byte(cli(t, n, "", "pool", "member", "list", "--json")), &pools); err != nil {
			t.Fatal(err)
		}
		m := pools[0].Members[0]
		if g := m.Registration; g != nil && g.Registered && g.Problem == "" && g.Node == owner && (n.Name != owner || m.State == api.MemberUp) {
			return
		}
		if said = fmt.Sprintf("%+v %+v", m, m.Registration); ctx.Err() != nil {
			t.Fatalf("%s says %s, not that %s is registered", n.Name, said, owner)
		}
	}
}
