package cluster

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/raft"

	"holdline/cluster/api"
	"holdline/fsm/pb"
)

// A join that was granted, but did not start, is run again with another address: the log reaches the node there.
func TestJoinAgainElsewhere(t *testing.T) {
	l := newLab(t, 2)
	token := l.init()
	join := func(listen string) (api.JoinAnswer, error) {
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		return l.nodes[1].Join(ctx, api.JoinRequest{Token: token, Name: "n2", Listen: listen})
	}
	if err := os.WriteFile(filepath.Join(l.dirs[1], dirSnapshots), nil, 0o600); err != nil { // where a directory should be
		t.Fatal(err)
	}
	if _, err := join(l.addr(1)); err == nil || !strings.Contains(err.Error(), "it did not start") {
		t.Fatal(err)
	}
	e := l.nodes[0].engine.Load()
	server := func() raft.Server {
		n := e.machine.Config().NodeByName("n2")
		if srv := serverOf(e.raft.GetConfiguration().Configuration().Servers, n.GetUuid()); srv != nil {
			return *srv
		}
		return raft.Server{}
	}
	host := func(a raft.ServerAddress) string { return strings.Split(string(a), ":")[0] }
	l.until("raft knows it", func() bool { return host(server().Address) == l.addr(1) })
	if a, err := join(l.addr(2)); err != nil || !strings.Contains(a.Message, "waiting for a third") {
		t.Errorf("%+v, %v", a, err)
	}
	if srv := server(); host(srv.Address) != l.addr(2) || srv.Suffrage != raft.Nonvoter {
		t.Errorf("raft has it as %+v", srv)
	}
}

// Raft's configuration follows the table but for voters.
func TestReached(t *testing.T) {
	n := &pb.Node{Listen: "10.77.0.12:7700"}
	for _, x := range []struct {
		srv  *raft.Server
		want bool
	}{
		{nil, false},
		{&raft.Server{Suffrage: raft.Nonvoter, Address: "10.77.0.12:7700"}, true},
		{&raft.Server{Suffrage: raft.Nonvoter, Address: "10.77.0.22:7700"}, false},
		{&raft.Server{Suffrage: raft.Voter, Address: "10.77.0.22:7700"}, true},
	} {
		if got := reached(x.srv, n); got != x.want {
			t.Errorf("%+v: %v", x.srv, got)
		}
	}
}
