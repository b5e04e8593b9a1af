package cluster

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"maps"
	"math/big"
	"strings"
	"testing"
	"time"

	"holdline/cluster/api"
	"holdline/domains"
	"holdline/fsm"
	"holdline/fsm/pb"
)

// backup makes a cluster with users of two domains, a pool and a route, and returns its backup.
func backup(t *testing.T) (file []byte, nonceKey string) {
	t.Helper()
	l := newLab(t, 1)
	l.init()
	l.vip()
	n, ctx := l.nodes[0], t.Context()
	for _, err := range []error{
		n.AddDomain(ctx, api.Domain{Name: "example.com", Aliases: []string{"10.77.0.101"}}),
		n.AddDomain(ctx, api.Domain{Name: "other.example"}),
		n.PutCertificate(ctx, "example.com", certificate(t, "example.com", 24*time.Hour)),
		n.AddUser(ctx, api.UserRequest{AoR: "alice@example.com", Password: "wonderland", Aliases: []string{"+4930123456", "bob"}, Identity: "+4930123456", MaxCalls: 7}),
		n.AddUser(ctx, api.UserRequest{AoR: "carol@example.com", Password: "x"}),
		n.AddPool(ctx, api.Pool{Name: "carriers", Algorithm: "round-robin"}),
		n.AddMember(ctx, "carriers", api.Member{Name: "gw1", Address: "192.0.2.1:5060", Transport: "udp"}),
		n.AddRoute(ctx, api.Route{Domain: "example.com", Prefix: "+49", Pool: "carriers"}),
		n.SetSetting(ctx, "register.max-expires", "600"),
		register(n, "alice@example.com"),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	var b bytes.Buffer
	if err := n.Backup(ctx, &b); err != nil {
		t.Fatal(err)
	}
	return b.Bytes(), string(n.engine.Load().machine.Config().Keys("nonce")[0].Secret)
}

// vip makes the group that registrations of these tests come in on.
func (l *lab) vip() {
	l.t.Helper()
	if _, err := l.nodes[0].AddVIP(l.t.Context(), api.GroupSpec{Name: "vip1", VIPs: []api.VIP{{Prefix: "192.0.2.200/24"}}}); err != nil {
		l.t.Fatal(err)
	}
}

// register writes a binding as the registrar does.
func register(n *Node, aor string) error {
	e := n.engine.Load()
	r, err := e.submitter.SubmitWait(e.ctx, registerCommand(aor, 1))
	if err == nil && r.Code != pb.Code_OK {
		err = fmt.Errorf("register: %s", r.Error)
	}
	return err
}

func registerCommand(aor string, cseq uint32) *pb.Command {
	remote := []byte{192, 0, 2, 9, 0xc4, 0x13} // netip.AddrPort.MarshalBinary is little endian: 192.0.2.9:5060
	return &pb.Command{Op: &pb.Command_Register{Register: &pb.Register{
		Aor: aor, CallId: "c-" + aor, Cseq: cseq, Txn: []byte(aor + "-txn"), Group: 1,
		Changes: []*pb.BindingChange{{ExpiresS: 3600, Binding: &pb.Binding{Contact: "sip:x@192.0.2.9", CallId: "c-" + aor, Cseq: cseq, Flow: &pb.Flow{Group: 1, Remote: remote}}}},
	}}}
}

func restored(t *testing.T, n *Node) {
	t.Helper()
	cfg := n.engine.Load().machine.Config()
	weak, strong := domains.HA1("alice", "example.com", "wonderland")
	switch u := cfg.User("alice@example.com"); {
	case u == nil || u.MD5 != weak || u.SHA256 != strong:
		t.Errorf("alice cannot register: %+v", u)
	case u.Identity() != "+4930123456@example.com" || cfg.UserNamed("bob@example.com") != u || len(u.Aliases()) != 2:
		t.Errorf("her aliases are missing: %q", u.Aliases())
	case u.MaxCalls != 7 || cfg.User("carol@example.com").MaxCalls != 0:
		t.Errorf("alice may make %d calls, carol %d", u.MaxCalls, cfg.User("carol@example.com").MaxCalls)
	case cfg.Domain("10.77.0.101") == nil || !hasDomain(cfg, "other.example"):
		t.Error("domains or aliases are missing")
	case cfg.Route("example.com", "+4930") == nil || len(cfg.Pool("carriers").Members) != 1:
		t.Error("pool or route is missing")
	case cfg.Setting("register.max-expires", "") != "600":
		t.Error("the setting is missing")
	}
}

// All three boxes are lost; the backup goes onto the first new one, before and after the others join.
func TestRestoreIntoNewCluster(t *testing.T) {
	file, oldNonce := backup(t)
	l := newLab(t, 3)
	token := l.init()
	l.vip()
	ans, err := l.nodes[0].Restore(t.Context(), bytes.NewReader(file), api.RestoreRequest{})
	if err != nil {
		t.Fatal(err)
	}
	if ans.Domains != 2 || ans.Users != 2 || ans.Pools != 1 || ans.Routes != 1 || ans.Settings != 1 || ans.Certificates != 0 {
		t.Errorf("answer %+v", ans)
	}
	if len(ans.Notes) != 1 || !strings.HasPrefix(ans.Notes[0], "no certificate for example.com: ") {
		t.Errorf("what is said of the certificate, whose key is lost with the old cluster: %q", ans.Notes)
	}
	restored(t, l.nodes[0])
	e := l.nodes[0].engine.Load()
	if string(e.machine.Config().Keys("nonce")[0].Secret) == oldNonce {
		t.Error("the nonce key of the old cluster came back")
	}
	if c := e.machine.Counts(); c.Bindings != 0 {
		t.Errorf("%d registrations of the old cluster came back", c.Bindings)
	}
	if err := register(l.nodes[0], "alice@example.com"); err != nil {
		t.Error(err)
	}
	l.join(1, token) // the token made before still holds
	l.join(2, l.token())
	l.highlyAvailable()
	for i := range l.nodes {
		restored(t, l.nodes[i])
	}
}

// On a running cluster of three: refused without --force; with it whole, on every node, and what is in both stays registered.
func TestRestoreIntoRunningCluster(t *testing.T) {
	file, _ := backup(t)
	l := newLab(t, 3).formed()
	l.vip()
	leader := l.leader()
	n, ctx := l.nodes[leader], t.Context()
	for _, err := range []error{
		n.AddDomain(ctx, api.Domain{Name: "example.com"}),
		n.AddDomain(ctx, api.Domain{Name: "mine.example", Aliases: []string{"other.example"}}),
		n.AddUser(ctx, api.UserRequest{AoR: "alice@example.com", Password: "x", Aliases: []string{"al"}, Identity: "al"}),
		n.AddUser(ctx, api.UserRequest{AoR: "bob@example.com", Password: "x", Aliases: []string{"+4930123456"}}), // both are alice's in the backup
		n.AddUser(ctx, api.UserRequest{AoR: "carol@example.com", Password: "x", MaxCalls: 3}),                    // none of her own in the backup
		n.AddUser(ctx, api.UserRequest{AoR: "bob@mine.example", Password: "x"}),
		register(n, "alice@example.com"), register(n, "bob@mine.example"),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	before := n.engine.Load().machine.Config()
	restore := func(i int, file []byte, force bool) error {
		_, err := l.nodes[i].Restore(ctx, bytes.NewReader(file), api.RestoreRequest{Force: force})
		return err
	}
	for what, err := range map[string]error{
		"--force":        restore(leader, file, false),
		"no backup":      restore(leader, []byte("#!/bin/sh\n"), true),
		"not a whole":    restore(leader, file[:len(file)-1], true),
		"raft leader":    restore((leader+1)%3, file, true),
		"this is no bac": restore(leader, nil, true),
	} {
		if err == nil || !strings.Contains(err.Error(), what) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: %v", what, err)
		}
	}
	if n.engine.Load().machine.Config() != before {
		t.Error("a refused restore changed something")
	}
	if err := restore(leader, file, true); err != nil {
		t.Fatal(err)
	}
	for i := range l.nodes {
		l.until("restored", func() bool { return l.hasDomain(i, "10.77.0.101") })
		restored(t, l.nodes[i])
		m := l.nodes[i].engine.Load().machine
		if len(m.Bindings("alice@example.com", nil)) != 1 || len(m.Bindings("bob@mine.example", nil)) != 0 || m.Config().User("bob@mine.example") != nil {
			t.Error("registrations are not those of the users in both")
		}
	}
	for i := range l.nodes { // every node's session goes on
		l.addDomain(i, fmt.Sprintf("after%d.example", i))
		if err := l.nodes[i].engine.Load().ReadIndex(ctx); err != nil {
			t.Error(err)
		}
	}
	l.kill(leader)
	l.restart(leader)
	l.highlyAvailable()
	l.until("it survives a restart", func() bool { return l.hasDomain(leader, "after2.example") && l.hasDomain(leader, "10.77.0.101") })
}

// On the cluster that the backup is of, certificates come back, but none takes the place of one that is valid for longer.
func TestRestoreCertificates(t *testing.T) {
	l := newLab(t, 1)
	l.init()
	n, ctx := l.nodes[0], t.Context()
	put := func(domain string, valid time.Duration) api.CertificateRequest {
		t.Helper()
		c := certificate(t, domain, valid)
		if err := n.PutCertificate(ctx, domain, c); err != nil {
			t.Fatal(err)
		}
		return c
	}
	names := []string{"lost.example", "older.example", "renewed.example"}
	want := map[string]string{}
	for i, name := range names {
		l.addDomain(0, name)
		want[name] = put(name, time.Duration(i+1)*time.Hour).Chain
	}
	var file bytes.Buffer
	if err := n.Backup(ctx, &file); err != nil {
		t.Fatal(err)
	}
	if err := n.RemoveCertificate(ctx, "lost.example"); err != nil {
		t.Fatal(err)
	}
	put("older.example", time.Minute)
	want["renewed.example"] = put("renewed.example", 24*time.Hour).Chain
	ans, err := n.Restore(ctx, &file, api.RestoreRequest{Force: true})
	if err != nil {
		t.Fatal(err)
	}
	if ans.Certificates != 2 || len(ans.Notes) != 1 || !strings.HasPrefix(ans.Notes[0], "the certificate of renewed.example stays") {
		t.Errorf("answer %+v", ans)
	}
	got := map[string]string{}
	e := n.engine.Load()
	e.machine.Config().Certificates(func(row *pb.Certificate) bool {
		if _, err := e.openCertificate(row); err != nil {
			t.Error(err)
		}
		got[row.Domain] = string(row.Chain)
		return true
	})
	if !maps.Equal(got, want) {
		t.Errorf("certificates %v, want %v", got, want)
	}
}

// certificate makes one for a domain, signed by itself.
func certificate(t *testing.T, domain string, valid time.Duration) api.CertificateRequest {
	t.Helper()
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tmpl := &x509.Certificate{SerialNumber: big.NewInt(1), DNSNames: []string{domain}, NotAfter: time.Now().Add(valid)}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, public, private)
	if err != nil {
		t.Fatal(err)
	}
	key, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	encode := func(kind string, b []byte) string {
		return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: b}))
	}
	return api.CertificateRequest{Chain: encode("CERTIFICATE", der), Key: encode("PRIVATE KEY", key)}
}

// A member that was called through a VIP group finds the group of the same name or address.
func TestSameGroup(t *testing.T) {
	m := fsm.New()
	w := &rewrite{machine: m}
	w.apply(
		&pb.Command{Op: &pb.Command_PutGroup{PutGroup: &pb.PutGroup{Group: &pb.Group{Name: "a", Vips: []*pb.Vip{{Prefix: "192.0.2.1/24"}}}}}},
		&pb.Command{Op: &pb.Command_PutGroup{PutGroup: &pb.PutGroup{Group: &pb.Group{Name: "b", Vips: []*pb.Vip{{Prefix: "192.0.2.2/24"}}}}}},
	)
	if w.refused != nil {
		t.Fatal(w.refused)
	}
	for _, x := range []struct {
		was  *pb.Group
		want uint32
	}{
		{&pb.Group{Name: "b"}, 2},
		{&pb.Group{Name: "x", Vips: []*pb.Vip{{Prefix: "192.0.2.1/26"}}}, 1},
		{&pb.Group{Name: "x", Vips: []*pb.Vip{{Prefix: "192.0.2.7/26"}}}, 0},
		{nil, 0},
	} {
		if got := sameGroup(m.Config(), x.was); got != x.want {
			t.Errorf("%v: %d", x.was, got)
		}
	}
}
