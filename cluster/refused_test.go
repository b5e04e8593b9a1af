package cluster

import (
	"net/netip"
	"testing"

	"holdline/cluster/api"
	"holdline/sipcore"
	"holdline/sipcore/proxy"
)

// TestRefusalsAskedFor: by the user in any of its places, under any name of the domain; by where it came from; by its Call-ID.
func TestRefusalsAskedFor(t *testing.T) {
	l := newLab(t, 1)
	l.init()
	if err := l.node(0).AddDomain(t.Context(), api.Domain{Name: "example.com", Aliases: []string{"10.77.0.101"}}); err != nil {
		t.Fatal(err)
	}
	if err := l.node(0).AddUser(t.Context(), api.UserRequest{AoR: "bob@example.com", Password: "x", Aliases: []string{"+49", "bobby"}}); err != nil {
		t.Fatal(err)
	}
	if r, err := l.node(0).ListRefused(t.Context(), api.RefusalFilter{}); err != nil || r.Total != 0 || r.Refused == nil {
		t.Errorf("%+v, %v", r, err)
	}
	cfg := l.node(0).engine.Load().machine.Config()
	x := sipcore.Refusal{Refusal: proxy.Refusal{
		Source: netip.MustParseAddrPort("10.77.0.31:5060"), From: "sip:al%69ce@10.77.0.101", To: "sip:bob@EXAMPLE.com:5060", URI: "sip:carol@far.example;x=y", CallID: "c1",
	}}
	for f, want := range map[api.RefusalFilter]bool{
		{}: true, {AoR: "alice@example.com"}: true, {AoR: "bob@example.com"}: true, {AoR: "alice@10.77.0.101"}: true, {AoR: "carol@far.example"}: true, {AoR: "+49@10.77.0.101"}: true,
		{AoR: "carol@example.com"}: false, {AoR: "Alice@example.com"}: false, {From: "10.77.0.31"}: true, {From: "10.77.0.0/24"}: true, {From: "10.77.0.32"}: false,
		{CallID: "c1"}: true, {CallID: "c"}: false, {AoR: "bob@example.com", CallID: "c2"}: false,
	} {
		r, err := refusedOf(cfg, f, []sipcore.Refusal{x}, 5)
		if err != nil || (len(r.Refused) == 1) != want || r.Total != len(r.Refused) || r.LeftOut != 5 {
			t.Errorf("%+v: %+v, %v", f, r, err)
		}
	}
	y := sipcore.Refusal{Refusal: proxy.Refusal{URI: "sip:%2B49@10.77.0.101"}}
	if r, err := refusedOf(cfg, api.RefusalFilter{AoR: "bob@example.com"}, []sipcore.Refusal{y}, 0); err != nil || len(r.Refused) != 1 {
		t.Errorf("what names a user by his alias: %+v, %v", r, err)
	}
	var many []sipcore.Refusal
	for i := range 5 {
		x.Status = 400 + i
		many = append(many, x)
	}
	r, err := refusedOf(cfg, api.RefusalFilter{Limit: 2}, many, 0)
	if err != nil || r.Total != 5 || len(r.Refused) != 2 || r.Refused[0].Status != 403 || r.Refused[1].Status != 404 {
		t.Errorf("the last two of five: %+v, %v", r, err)
	}
}
