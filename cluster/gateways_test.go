package cluster

import (
	"fmt"
	"slices"
	"testing"

	"holdline/cluster/api"
	"holdline/fsm/pb"
)

func TestGatewayChecks(t *testing.T) {
	seen := func(name, state string) seenGateway {
		return seenGateway{&pb.Member{Pool: "carriers", Name: name, Address: "192.0.2.1:5060"}, state}
	}
	for _, c := range []struct {
		all  []seenGateway
		want []string
	}{
		{},
		{[]seenGateway{seen("gw1", api.MemberUp)}, []string{"ok gateways: 1 up"}},
		{[]seenGateway{seen("gw1", api.MemberDown)}, []string{"warn gateway carriers/gw1: 192.0.2.1:5060 is silent, closed, or answers 503 to this node: it is tried after the others of its pool"}},
		{[]seenGateway{seen("gw1", api.MemberUp), seen("gw2", api.MemberDown), seen("gw3", ""), seen("gw4", api.MemberSilent)}, []string{
			"warn gateway carriers/gw2: 192.0.2.1:5060 is silent, closed, or answers 503 to this node: it is tried after the others of its pool",
			"ok gateways: 1 up, 1 silent (off, or they answer no OPTIONS; they are called all the same), 1 not known (no route leads there, or this node owns no VIP to ask from)",
		}},
	} {
		var got []string
		for _, k := range gatewayChecks(c.all) {
			got = append(got, fmt.Sprintf("%s %s: %s", k.Result, k.Name, k.Detail))
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("%q\nwant %q", got, c.want)
		}
	}
}
