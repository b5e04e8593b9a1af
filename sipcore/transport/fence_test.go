package transport

import (
	"log/slog"
	"net/netip"
	"testing"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
)

// TestFenceIsCounted sends from an address that the packet filter of a namespace refuses: the datagrams are counted as
// fenced, those to others still leave.
func TestFenceIsCounted(t *testing.T) {
	ownNetwork(t)
	refuse(t, netip.MustParseAddr("127.0.0.66"))

	u, err := NewUDP(Options{Readers: 1, Handler: echo, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	defer u.Close()
	if err := u.SetEndpoints([]Endpoint{{Group: 1, Local: netip.MustParseAddrPort("127.0.0.1:5060")}}); err != nil {
		t.Fatal(err)
	}
	c := phone(t, "127.0.0.1")
	out := u.NewSender()
	fenced := Flow{Group: 1, Port: 5060, Remote: netip.MustParseAddrPort("127.0.0.66:5060")}
	allowed := fenced
	allowed.Remote = phoneAddr(c)
	out.Send(fenced, []byte("1"))
	out.Send(allowed, []byte("2"))
	out.Send(fenced, []byte("3"))
	out.Send(allowed, []byte("4"))
	out.Flush()
	for _, want := range []string{"2", "4"} {
		if got, _ := receive(t, c); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
	if s := u.Stats(); s.SendFenced != 2 || s.Sent != 2 || s.SendErrors != 0 {
		t.Errorf("counted %+v", s)
	}
}

// refuse drops what this namespace sends to an address; sendmsg answers EPERM.
func refuse(t *testing.T, to netip.Addr) {
	t.Helper()
	c, err := nftables.New()
	if err != nil {
		t.Skipf("no nftables here: %v", err)
	}
	table := c.AddTable(&nftables.Table{Family: nftables.TableFamilyIPv4, Name: "fence"})
	chain := c.AddChain(&nftables.Chain{
		Name: "out", Table: table, Type: nftables.ChainTypeFilter,
		Hooknum: nftables.ChainHookOutput, Priority: nftables.ChainPriorityFilter,
	})
	c.AddRule(&nftables.Rule{Table: table, Chain: chain, Exprs: []expr.Any{
		&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseNetworkHeader, Offset: 16, Len: 4},
		&expr.Cmp{Register: 1, Op: expr.CmpOpEq, Data: to.AsSlice()},
		&expr.Verdict{Kind: expr.VerdictDrop},
	}})
	if err := c.Flush(); err != nil {
		t.Skipf("no nftables here: %v", err)
	}
}
