package lab

import (
	"encoding/json"
	"net"
	"testing"
	"time"

	"holdline/cluster/api"
	"holdline/deploy/lab/phone"
)

// TestGatewaysSeen: each node says of a gateway that it is up, down, and up again, and nobody has called it.
func TestGatewaysSeen(t *testing.T) {
	if testing.Short() {
		t.Skip("starts a cluster")
	}
	c, _ := startCluster(t)
	if err := c.provision(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	if err := c.set(t.Context(), "proxy.gateway-probe", "1"); err != nil {
		t.Fatal(err)
	}
	serve := func() *phone.Endpoint {
		var conn *net.UDPConn
		if err := c.phones.Do(func() (err error) {
			conn, err = net.ListenUDP("udp4", net.UDPAddrFromAddrPort(gatewayAddr))
			return err
		}); err != nil {
			t.Fatal(err)
		}
		e := phone.NewEndpoint(conn, &phone.Stats{})
		e.Handle(func(s *phone.Server) { s.Respond(200, "OK") })
		return e
	}
	all := func(state string) {
		t.Helper()
		for _, n := range c.nodes {
			for end, got := time.Now().Add(20*time.Second), ""; got != state; time.Sleep(50 * time.Millisecond) {
				if time.Now().After(end) {
					t.Fatalf("%s says %q, not %q", n.Name, got, state)
				}
				out, err := n.CLI(t.Context(), "", "pool", "member", "list", "--json")
				if err != nil {
					t.Fatal(err)
				}
				var pools []api.Pool
				if err := json.Unmarshal([]byte(out), &pools); err != nil {
					t.Fatal(err)
				}
				got = pools[0].Members[0].State
			}
		}
	}
	gw := serve()
	all(api.MemberUp)
	_ = gw.Close()
	all(api.MemberDown)
	gw = serve()
	all(api.MemberUp)
	_ = gw.Close()
}
