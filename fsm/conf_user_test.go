package fsm

import (
	"bytes"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"unsafe"

	"google.golang.org/protobuf/proto"
	"pgregory.net/rapid"

	"holdline/fsm/pb"
)

func newUser(aor string, aliases ...string) *pb.Command {
	return cmd(&pb.PutUser{CreateOnly: true, User: &pb.User{Aor: aor, Ha1Md5: make([]byte, 16), Aliases: aliases}})
}

func addAliases(aor string, aliases ...string) *pb.Command {
	return cmd(&pb.ChangeUser{Aor: aor, AddAliases: aliases})
}

func removeAliases(aor string, aliases ...string) *pb.Command {
	return cmd(&pb.ChangeUser{Aor: aor, RemoveAliases: aliases})
}

// withUser is a cluster with two domains of that name and user 101, who has two aliases.
func withUser(t tester) *replica {
	r := newReplica(t)
	r.must(
		cmd(&pb.PutDomain{Domain: &pb.Domain{Name: "example.com", Aliases: []string{"10.77.0.101"}}}), cmd(&pb.PutDomain{Domain: &pb.Domain{Name: "example.org"}}),
		newUser("101@example.com", "+4930123456", "alice"), newUser("102@example.com"),
	)
	return r
}

// TestUserAliases: a user is found by each of his names in his domain, as the row is that he has now, and by none that was taken from him.
func TestUserAliases(t *testing.T) {
	r := withUser(t)
	whose := func(aor string) string {
		if u := r.Config().UserNamed(aor); u != nil {
			return u.AoR
		}
		return ""
	}
	check := func(say string, want ...string) {
		t.Helper()
		u := r.Config().User("101@example.com")
		if !slices.Equal(u.Aliases(), want) {
			t.Errorf("%s: %q, want %q", say, u.Aliases(), want)
		}
		for _, a := range append(want, "101") {
			if r.Config().UserNamed(a+"@example.com") != u || !u.Named(a+"@example.com") {
				t.Errorf("%s: not found by %s", say, a)
			}
		}
		for _, a := range []string{"ALICE@example.com", "+4930123456@example.org", "4930123456@example.com", "102@example.com"} {
			if whose(a) == u.AoR || u.Named(a) {
				t.Errorf("%s: found by %s", say, a)
			}
		}
		checkDerived(t, r.Machine)
	}
	check("new", "+4930123456", "alice")
	r.must(cmd(&pb.PutUser{User: &pb.User{Aor: "101@Example.com", Ha1Md5: []byte("0123456789abcdef")}}))
	if r.Config().UserNamed("alice@example.com").MD5[0] != '0' {
		t.Error("by his alias he has the old password")
	}
	check("another password", "+4930123456", "alice")
	r.must(cmd(&pb.ChangeUser{Aor: "101@EXAMPLE.com", RemoveAliases: []string{"alice"}, AddAliases: []string{"030123456", "alice"}}))
	check("changed", "+4930123456", "030123456", "alice")
	r.must(removeAliases("101@example.com", "+4930123456", "alice"))
	check("fewer", "030123456")
	if whose("alice@example.com") != "" {
		t.Error("he is found by what he is called no more")
	}
	r.must(addAliases("102@example.com", "alice"), newUser("alice@example.org", "101"))
	if whose("alice@example.com") != "102@example.com" || whose("101@example.org") != "alice@example.org" {
		t.Error("the name is not another's")
	}
	if got := r.must(cmd(&pb.ChangeUser{Aor: "102@example.com"})); !got.Existing {
		t.Error("nothing is changed, and that is not said")
	}
	r.must(cmd(&pb.RemoveUser{Aor: "102@example.com"}), newUser("alice@example.com"))
	checkDerived(t, r.Machine)
}

// TestUserAliasesRefused: no name is two users', and who has it is said. Nothing is changed then.
func TestUserAliasesRefused(t *testing.T) {
	r := withUser(t)
	before := r.bytes()
	for _, x := range []struct {
		c    *pb.Command
		code pb.Code
		want string
	}{
		{addAliases("102@example.com", "x", "alice"), pb.Code_EXISTS, "alice@example.com is an alias of user 101@example.com already"},
		{addAliases("102@example.com", "101"), pb.Code_EXISTS, "101@example.com is a user himself"},
		{addAliases("102@example.com", "102"), pb.Code_EXISTS, "102 is the name of 102@example.com itself"},
		{addAliases("101@example.com", "alice"), pb.Code_EXISTS, "alice is an alias of 101@example.com already"},
		{addAliases("102@example.com", "x", "x"), pb.Code_EXISTS, "x is an alias of 102@example.com already"},
		{newUser("alice@example.com"), pb.Code_EXISTS, "alice@example.com is an alias of user 101@example.com: take it from him first with `holdline user alias remove`"},
		{newUser("103@example.com", "alice"), pb.Code_EXISTS, "alice@example.com is an alias of user 101@example.com already"},
		{newUser("103@example.com", "103"), pb.Code_EXISTS, "103 is the name of 103@example.com itself"},
		{newUser("101@example.com", "x"), pb.Code_EXISTS, "user 101@example.com exists already"},
		{cmd(&pb.PutUser{User: &pb.User{Aor: "101@example.com", Ha1Md5: make([]byte, 16), Aliases: []string{"x"}}}), pb.Code_REJECTED, "user 101@example.com exists already: his aliases are changed with `holdline user alias add 101@example.com`"},
		{removeAliases("101@example.com", "alice", "bob"), pb.Code_NOT_FOUND, "bob is not an alias of 101@example.com"},
		{removeAliases("101@example.com", "alice", "alice"), pb.Code_NOT_FOUND, "alice is not an alias of 101@example.com"},
		{addAliases("103@example.com", "x"), pb.Code_NOT_FOUND, "user 103@example.com does not exist"},
		{addAliases("alice@example.com", "x"), pb.Code_NOT_FOUND, "alice@example.com is an alias: name the user himself, 101@example.com"},
		{cmd(&pb.RemoveUser{Aor: "alice@example.com"}), pb.Code_NOT_FOUND, "alice@example.com is an alias: name the user himself, 101@example.com"},
		{addAliases("101@example.com", "a@b"), pb.Code_REJECTED, `"a@b" is not an alias: the part of an address before the @ is`},
		{addAliases("101@example.com", ""), pb.Code_REJECTED, `"" is not an alias: the part of an address before the @ is`},
		{addAliases("101@example.com", "a b"), pb.Code_REJECTED, `"a b" is not an alias: the part of an address before the @ is`},
	} {
		r.refused(x.c, x.code, x.want)
	}
	var many []string
	for i := range MaxUserAliases + 1 {
		many = append(many, fmt.Sprint("n", i))
	}
	r.refused(newUser("103@example.com", many...), pb.Code_LIMIT, "user 103@example.com: at most 32 aliases")
	if got := r.do(addAliases("101@example.com", strings.Repeat("9", 510))); got.Code != pb.Code_REJECTED {
		t.Errorf("an alias of 510 digits: %v", got)
	}
	checkDerived(t, r.Machine)
	after := newReplica(t)
	if err := after.Restore(strings.NewReader(string(before))); err != nil || r.Config().Version != after.Config().Version || r.Config().UserCount() != 2 {
		t.Errorf("what was refused has changed something: %v", err)
	}
	r.must(newUser("103@example.com", many[1:]...))
}

// TestUserIdentity: gateways are told a user's name, or the alias of his that was chosen for it, which cannot be taken from him then.
func TestUserIdentity(t *testing.T) {
	r := withUser(t)
	told := func(want string) {
		t.Helper()
		if got := r.Config().User("101@example.com").Identity(); got != want+"@example.com" || r.Config().UserNamed("alice@example.com").Identity() != got {
			t.Errorf("gateways are told %s, want %s", got, want)
		}
	}
	be := func(who string) *pb.Command { return cmd(&pb.ChangeUser{Aor: "101@example.com", Identity: &who}) }
	told("101")
	r.must(be("+4930123456"))
	told("+4930123456")
	if got := r.must(be("+4930123456")); !got.Existing {
		t.Error("nothing is changed, and that is not said")
	}
	r.must(addAliases("101@example.com", "x"), cmd(&pb.PutUser{User: &pb.User{Aor: "101@example.com", Ha1Md5: []byte("0123456789abcdef")}}))
	told("+4930123456")
	r.refused(be("102"), pb.Code_REJECTED, "102 is neither the name nor an alias of 101@example.com: gateways are told one of those")
	r.refused(removeAliases("101@example.com", "+4930123456"), pb.Code_REJECTED,
		"+4930123456 is what gateways are told of 101@example.com: give him another identity first, with `holdline user set 101@example.com`")
	told("+4930123456")
	late := newReplica(t)
	if err := late.Restore(strings.NewReader(string(r.bytes()))); err != nil {
		t.Fatal(err)
	}
	if u := late.Config().UserNamed("x@example.com"); u == nil || u.Identity() != "+4930123456@example.com" || !slices.Equal(u.Aliases(), []string{"+4930123456", "alice", "x"}) {
		t.Errorf("out of a snapshot comes %+v", u)
	}
	r.must(cmd(&pb.ChangeUser{Aor: "101@example.com", RemoveAliases: []string{"+4930123456"}, Identity: proto.String("alice")}))
	told("alice")
	r.must(be("101"))
	told("101")
	r.must(be("alice"), be(""))
	told("101")
	r.must(cmd(&pb.PutUser{CreateOnly: true, User: &pb.User{Aor: "104@example.com", Ha1Md5: make([]byte, 16), Aliases: []string{"4"}, Identity: "4"}}))
	if got := r.Config().User("104@example.com").Identity(); got != "4@example.com" {
		t.Errorf("of a new user gateways are told %s", got)
	}
	checkDerived(t, r.Machine)
}

// TestNamesOfTwo: a snapshot in which a name is two users' is damaged.
func TestNamesOfTwo(t *testing.T) {
	for say, users := range map[string][]*pb.User{
		"alias and alias":       {{Aor: "a@x", Aliases: []string{"c"}}, {Aor: "b@x", Aliases: []string{"c"}}},
		"alias and name after":  {{Aor: "a@x", Aliases: []string{"b"}}, {Aor: "b@x"}},
		"alias and name before": {{Aor: "a@x"}, {Aor: "b@x", Aliases: []string{"a"}}},
		"its own name":          {{Aor: "a@x", Aliases: []string{"a"}}},
		"identity of nobody":    {{Aor: "a@x", Identity: "c"}},
	} {
		in := &restorer{st: newState(), last: kindUser}
		for _, u := range users {
			b, err := proto.Marshal(u)
			if err != nil {
				t.Fatal(err)
			}
			if err = in.record(kindUser, b); u == users[len(users)-1] && err == nil || u != users[len(users)-1] && err != nil {
				t.Errorf("%s: %s: %v", say, u.Aor, err)
			}
		}
	}
}

// TestUserSize: a million users who have no alias take no more memory than before there were any: the allocator's classes are 64, 80 and 96 bytes.
func TestUserSize(t *testing.T) {
	if n := unsafe.Sizeof(User{}); n > 80 {
		t.Errorf("a user takes %d bytes", n)
	}
}

// namesIn is who is found by which name.
func namesIn(c *Config) map[string]string {
	out := map[string]string{}
	c.Users(func(u *User) bool {
		for _, a := range append(u.aliases(), u.AoR) {
			if found := c.UserNamed(a); found != nil {
				out[a] = found.AoR
			}
		}
		return true
	})
	return out
}

// TestUsersOfManyNames: users come, go and change their names, over few names, so that they meet. Each is found by his own after each step; a view that
// was taken in between stays as it was, and a snapshot gives the same users.
func TestUsersOfManyNames(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		r := withUser(t)
		old := r.Config()
		was := namesIn(old)
		changed := 0
		for range rapid.IntRange(5, 40).Draw(t, "steps") {
			aor := rapid.SampledFrom([]string{"101", "102", "user0", "user1", "+491"}).Draw(t, "user") + "@example.com"
			c := cmd(&pb.RemoveUser{Aor: aor})
			if rapid.IntRange(0, 5).Draw(t, "what") > 0 {
				c = drawUser(t, aor)
			}
			if r.do(c).Code == pb.Code_OK {
				changed++
			}
			checkDerived(t, r.Machine)
			if changed == 3 {
				old, was = r.Config(), namesIn(r.Config())
			}
		}
		if now := namesIn(old); !maps.Equal(now, was) {
			t.Errorf("a view has changed: %v, was %v", now, was)
		}
		late := New()
		if err := late.Restore(bytes.NewReader(r.bytes())); err != nil {
			t.Fatal(err)
		}
		checkDerived(t, late)
		if a, b := namesIn(late.Config()), namesIn(r.Config()); !maps.Equal(a, b) || !bytes.Equal(snapshotBytes(t, late), r.bytes()) {
			t.Errorf("out of a snapshot come %v, there were %v", a, b)
		}
	})
}
