package cluster

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"

	"holdline/cluster/api"
	"holdline/sipcore/proxy"
)

// TestAccounts: a gateway's password is sealed in the log and opened for the SIP core, and nobody is shown it; another cluster cannot open it.
func TestAccounts(t *testing.T) {
	l := newLab(t, 1)
	l.init()
	l.vip()
	n, ctx := l.nodes[0], t.Context()
	e := n.engine.Load()
	known := &accounts{machine: e.machine, key: e.clusterKey, logger: e.logger}
	ok := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	account := func(want proxy.Account) {
		t.Helper()
		if got, has := known.Account("carriers", "gw1"); got != want || has != (want.User != "") {
			t.Errorf("%+v, %v, want %+v", got, has, want)
		}
	}
	account(proxy.Account{})
	ok(n.AddPool(ctx, api.Pool{Name: "carriers"}))
	ok(n.AddMember(ctx, "carriers", api.Member{Name: "gw1", Address: "192.0.2.1", User: "49301", Password: "sesame1", Register: true}))
	account(proxy.Account{User: "49301", Password: "sesame1"})
	realm := "a realm"
	ok(n.SetMember(ctx, "carriers", "gw1", api.MemberChange{Realm: &realm}))
	account(proxy.Account{User: "49301", Password: "sesame1", Realm: "a realm"})
	realm = ""
	ok(n.SetMember(ctx, "carriers", "gw1", api.MemberChange{Realm: &realm}))
	pools, err := n.ListPools(ctx)
	ok(err)
	if m := pools[0].Members[0]; m.User != "49301" || !m.Register || m.Group != "vip1" {
		t.Errorf("it is registered by the only VIP group that there is: %+v", m)
	}
	if text, _ := json.Marshal(pools); bytes.Contains(text, []byte("sesame")) {
		t.Errorf("shown: %s", text)
	}

	// What is not given stays; another user may have the same password; without a user there is nothing.
	weight, user, none, secret := uint32(3), "49302", "", "sesame2"
	ok(n.SetMember(ctx, "carriers", "gw1", api.MemberChange{Weight: &weight}))
	account(proxy.Account{User: "49301", Password: "sesame1"})
	ok(n.SetMember(ctx, "carriers", "gw1", api.MemberChange{User: &user}))
	account(proxy.Account{User: "49302", Password: "sesame1"})
	ok(n.SetMember(ctx, "carriers", "gw1", api.MemberChange{Password: &secret}))
	account(proxy.Account{User: "49302", Password: "sesame2"})

	// Calls of a registered carrier come in at one place, which is named when there are several.
	_, err = n.AddVIP(ctx, api.GroupSpec{Name: "vip2", VIPs: []api.VIP{{Prefix: "192.0.2.201/24"}, {Prefix: "10.77.0.105/24"}}})
	ok(err)
	refused := func(err error, what string) {
		t.Helper()
		if api.CodeOf(err) != api.CodeInvalid || !strings.Contains(err.Error(), what) || strings.Contains(err.Error(), "sesame") {
			t.Errorf("%v, want %s", err, what)
		}
	}
	refused(n.SetMember(ctx, "carriers", "gw1", api.MemberChange{Group: &none}), "a VIP group is needed, which its calls come in at")
	several, address := "vip2", "192.0.2.201"
	refused(n.SetMember(ctx, "carriers", "gw1", api.MemberChange{Group: &several}), "name it with --vip, one of 192.0.2.201, 10.77.0.105")
	ok(n.SetMember(ctx, "carriers", "gw1", api.MemberChange{Group: &address}))
	refused(n.AddMember(ctx, "carriers", api.Member{Name: "gw2", Address: "192.0.2.2", User: "u", Password: "sesame", Register: true}), "a VIP group is needed")
	ok(n.AddMember(ctx, "carriers", api.Member{Name: "gw2", Address: "192.0.2.2"}))
	refused(n.SetMember(ctx, "carriers", "gw2", api.MemberChange{User: &user}), "user 49302 of member gw2 has no password")

	var file bytes.Buffer
	ok(n.Backup(ctx, &file))
	if bytes.Contains(file.Bytes(), []byte("sesame")) {
		t.Error("the password is in the backup")
	}
	ok(n.SetMember(ctx, "carriers", "gw1", api.MemberChange{User: &none}))
	account(proxy.Account{})
	restoredAccount(t, file.Bytes(), n, 0)
	account(proxy.Account{User: "49302", Password: "sesame2"})

	// In another cluster the password is lost, and no VIP of this one is there.
	other := newLab(t, 1)
	other.init()
	restoredAccount(t, file.Bytes(), other.nodes[0], 4)
	e = other.nodes[0].engine.Load()
	m := memberRow(e.machine.Config(), "carriers", "gw1")
	if m.GetUser() != "49302" || len(m.GetSealedPassword()) != 0 {
		t.Errorf("restored elsewhere: %v", m)
	}
	ok(other.nodes[0].SetMember(ctx, "carriers", "gw1", api.MemberChange{Weight: &weight}))
	ok(other.nodes[0].SetMember(ctx, "carriers", "gw1", api.MemberChange{Password: &secret}))
	known = &accounts{machine: e.machine, key: e.clusterKey, logger: e.logger}
	account(proxy.Account{User: "49302", Password: "sesame2"})
}

// restoredAccount restores a backup, of which so many notes are made.
func restoredAccount(t *testing.T, file []byte, n *Node, notes int) {
	t.Helper()
	ans, err := n.Restore(t.Context(), bytes.NewReader(file), api.RestoreRequest{Force: true})
	if err != nil {
		t.Fatal(err)
	}
	if len(ans.Notes) != notes || strings.Contains(strings.Join(ans.Notes, ""), "sesame") {
		t.Errorf("notes: %q", ans.Notes)
	}
}
