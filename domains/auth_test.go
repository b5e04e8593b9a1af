package domains

import (
	"fmt"
	"strings"
	"testing"

	"github.com/icholy/digest"
	"google.golang.org/protobuf/proto"

	"holdline/fsm"
	"holdline/fsm/pb"
	"holdline/sipcore/wire"
)

const uri = "sip:example.com"

// machine is a state machine with a domain, a user that has both hashes, one that has MD5 only, and a nonce key. It offers SHA-256 and MD5.
type machine struct {
	*fsm.Machine
	t     testing.TB
	index uint64
	time  int64
}

func newMachine(t testing.TB) *machine {
	m := &machine{Machine: fsm.New(), t: t, time: 1_000_000}
	a5, a256 := HA1("alice", "example.com", "secret")
	b5, _ := HA1("bob", "example.com", "hidden")
	m.do(
		&pb.Command{Op: &pb.Command_PutDomain{PutDomain: &pb.PutDomain{Domain: &pb.Domain{Name: "example.com"}}}},
		&pb.Command{Op: &pb.Command_PutUser{PutUser: &pb.PutUser{User: &pb.User{Aor: "alice@example.com", Ha1Md5: a5[:], Ha1Sha256: a256[:]}}}},
		&pb.Command{Op: &pb.Command_PutUser{PutUser: &pb.PutUser{User: &pb.User{Aor: "bob@example.com", Ha1Md5: b5[:], Aliases: []string{"+49"}}}}},
		key(1),
		setting("auth.algorithms", "sha-256,md5"),
	)
	return m
}

func key(id uint32) *pb.Command {
	return &pb.Command{Op: &pb.Command_PutKey{PutKey: &pb.PutKey{Purpose: KeyPurpose, Id: id, Secret: fmt.Appendf(nil, "key number %d", id)}}}
}

func setting(name, value string) *pb.Command {
	return &pb.Command{Op: &pb.Command_PutSetting{PutSetting: &pb.PutSetting{Name: name, Value: value}}}
}

// do applies commands, or only lets FSM time come up to m.time.
func (m *machine) do(cs ...*pb.Command) {
	m.t.Helper()
	b, err := proto.Marshal(&pb.Entry{TimeMs: m.time, Batches: []*pb.Batch{{Commands: cs}}})
	if err != nil {
		m.t.Fatal(err)
	}
	m.index++
	for _, r := range m.Apply(m.index, b) {
		if r.Code != pb.Code_OK {
			m.t.Fatal(r)
		}
	}
}

func message(t testing.TB, headers ...string) *wire.Msg {
	t.Helper()
	text := "REGISTER " + uri + " SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK1\r\nFrom: <sip:alice@example.com>;tag=1\r\n" +
		"To: <sip:alice@example.com>\r\nCall-ID: c\r\nCSeq: 1 REGISTER\r\n"
	for _, h := range headers {
		text += h + "\r\n"
	}
	m := new(wire.Msg)
	if err := m.Scan([]byte(text + "Content-Length: 0\r\n\r\n")); err != nil {
		t.Fatalf("%v in\n%s", err, text)
	}
	return m
}

// answer makes the Authorization that another implementation of digest makes of a challenge.
func answer(t testing.TB, challenge wire.Field, user, password string) string {
	t.Helper()
	c, err := digest.ParseChallenge(string(challenge.Value))
	if err != nil {
		t.Fatalf("%v in %s", err, challenge.Value)
	}
	cred, err := digest.Digest(c, digest.Options{Method: "REGISTER", URI: uri, Username: user, Password: password, Count: 1})
	if err != nil {
		t.Fatal(err)
	}
	return cred.String()
}

func TestChallengeAndAnswer(t *testing.T) {
	m := newMachine(t)
	a := NewAuth(m)
	d := m.Config().Domain("example.com")
	_, challenges, wrong, ok := a.Check(message(t), d, false)
	if ok || wrong != "" || len(challenges) != 2 || !strings.Contains(string(challenges[0].Value), "algorithm=SHA-256") || !strings.Contains(string(challenges[1].Value), "algorithm=MD5") {
		t.Fatalf("%v %s", ok, challenges)
	}
	if challenges[0].ID != wire.HdrWWWAuthenticate {
		t.Error("401 wants WWW-Authenticate")
	}
	for _, c := range []struct {
		say            string
		challenge      int
		user, password string
		want, wrong    string
	}{
		{"SHA-256", 0, "alice", "secret", "alice@example.com", ""},
		{"MD5", 1, "alice", "secret", "alice@example.com", ""},
		{"wrong password", 0, "alice", "Secret", "", "wrong password"},
		{"unknown user", 0, "carol", "secret", "", "unknown user"},
		{"unknown user, MD5", 1, "carol", "secret", "", "unknown user"},
		{"MD5 of a user who has no other", 1, "bob", "hidden", "bob@example.com", ""},
		{"his alias", 1, "+49", "hidden", "", "username is an alias of a user: his name belongs there"},
		{"SHA-256 of that user", 0, "bob", "hidden", "", "no password for this algorithm"},
	} {
		msg := message(t, "Authorization: "+answer(t, challenges[c.challenge], c.user, c.password))
		user, again, wrong, ok := a.Check(msg, d, false)
		aor := ""
		if user != nil {
			aor = user.AoR
		}
		if aor != c.want || ok != (c.want != "") || !ok && len(again) != 2 || wrong != c.wrong {
			t.Errorf("%s: %q %v %q", c.say, aor, ok, wrong)
		}
		if strings.Contains(fmt.Sprintf("%s", again), "stale=true") {
			t.Errorf("%s: not stale", c.say)
		}
		if _, _, _, ok := a.Check(msg, d, true); ok {
			t.Errorf("%s: Authorization is not Proxy-Authorization", c.say)
		}
	}
	_, proxyChallenges, _, _ := a.Check(message(t), d, true)
	msg := message(t, "Proxy-Authorization: "+answer(t, proxyChallenges[0], "alice", "secret"))
	if u, _, _, ok := a.Check(msg, d, true); !ok || u.AoR != "alice@example.com" || proxyChallenges[0].ID != wire.HdrProxyAuthenticate {
		t.Error("proxy authentication")
	}
}

func TestStale(t *testing.T) {
	m := newMachine(t)
	a := NewAuth(m)
	d := m.Config().Domain("example.com")
	_, challenges, _, _ := a.Check(message(t), d, false)
	good := message(t, "Authorization: "+answer(t, challenges[0], "alice", "secret"))
	wrong := message(t, "Authorization: "+answer(t, challenges[0], "alice", "guess"))
	stale := func(msg *wire.Msg) bool {
		_, c, wrong, ok := a.Check(msg, d, false)
		return !ok && (wrong == "") == (msg == good) && strings.HasSuffix(string(c[0].Value), ", stale=true")
	}
	m.time += 300_001
	m.do()
	if !stale(good) || stale(wrong) {
		t.Error("an old nonce with the right password is stale, with a wrong one it isn't")
	}
	m.do(setting("auth.nonce-life", "400"))
	if _, _, _, ok := a.Check(good, d, false); !ok {
		t.Error("its life is a setting")
	}
	m.do(key(2))
	if _, _, _, ok := a.Check(good, d, false); !ok {
		t.Error("the key before is good")
	}
	m.do(key(3))
	if !stale(good) {
		t.Error("two keys later it is stale")
	}
}

func TestCredentialsOfOthers(t *testing.T) {
	m := newMachine(t)
	a := NewAuth(m)
	d := m.Config().Domain("example.com")
	_, challenges, _, _ := a.Check(message(t), d, false)
	mine := answer(t, challenges[0], "alice", "secret")
	elsewhere := strings.Replace(mine, `realm="example.com"`, `realm="example.org"`, 1)
	if _, _, wrong, ok := a.Check(message(t, "Authorization: "+elsewhere), d, false); ok || wrong != "" {
		t.Error("another realm")
	}
	if _, _, _, ok := a.Check(message(t, "Authorization: "+elsewhere, "Authorization: Basic abc", "Authorization: "+mine), d, false); !ok {
		t.Error("ours among others")
	}
	var many []string
	for range maxCredentials {
		many = append(many, "Authorization: "+elsewhere)
	}
	if _, _, _, ok := a.Check(message(t, append(many, "Authorization: "+mine)...), d, false); ok {
		t.Error("looked at without bound")
	}
	if _, _, wrong, ok := a.Check(message(t, "Authorization: "+strings.Replace(mine, "algorithm=SHA-256", "algorithm=SHA-512-256", 1)), d, false); ok || wrong != "algorithm not offered" {
		t.Error("an algorithm not offered")
	}
}

func TestOldPhonesWithoutQOP(t *testing.T) {
	m := newMachine(t)
	a := NewAuth(m)
	d := m.Config().Domain("example.com")
	nonce := appendNonce(nil, m.Config().Keys(KeyPurpose)[0], m.Now(), "example.com")
	ha1, ha256 := HA1("alice", "example.com", "secret")
	cred := &wire.Digest{Nonce: nonce, URI: []byte(uri)}
	line := func(alg string, response []byte) *wire.Msg {
		return message(t, fmt.Sprintf(`Authorization: Digest username="alice",realm="example.com",nonce="%s",uri="%s",response="%s"%s`, nonce, uri, response, alg))
	}
	if _, _, _, ok := a.Check(line("", algMD5.response(nil, nil, ha1[:], []byte("REGISTER"), cred)), d, false); !ok {
		t.Error("MD5 without qop is taken")
	}
	if _, _, _, ok := a.Check(line(",algorithm=SHA-256", algSHA256.response(nil, nil, ha256[:], []byte("REGISTER"), cred)), d, false); ok {
		t.Error("SHA-256 has always had qop")
	}
}

func TestOfferedAlgorithms(t *testing.T) {
	m := newMachine(t)
	a := NewAuth(m)
	for setTo, want := range map[string]string{"": "MD5", "md5": "MD5", "sha-256": "SHA-256", "md5,sha-256": "MD5 SHA-256", "sha-256,md5": "SHA-256 MD5"} {
		m.do(setting("auth.algorithms", setTo))
		var got []string
		for _, f := range a.Challenges(m.Config(), m.Now(), "example.com", false, false) {
			c, err := digest.ParseChallenge(string(f.Value))
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, c.Algorithm)
		}
		if strings.Join(got, " ") != want {
			t.Errorf("%s: %v", setTo, got)
		}
		d := m.Config().Domain("example.com")
		for _, alg := range []string{"MD5", "SHA-256"} { // whatever the challenge said by the time the phone read it
			c := wire.Field{Value: a.AppendChallenge(nil, m.Config(), m.Now(), "example.com", alg, false)}
			_, _, _, ok := a.Check(message(t, "Authorization: "+answer(t, c, "alice", "secret")), d, false)
			if ok != strings.Contains(want, alg) {
				t.Errorf("%s: %s is taken: %v", setTo, alg, ok)
			}
		}
	}
}

// TestOurs: credentials for a nonce that this cluster made are told from others, whatever their age and whoever's they are.
func TestOurs(t *testing.T) {
	m := newMachine(t)
	a := NewAuth(m)
	mine := answer(t, a.Challenges(m.Config(), m.Now(), "example.com", true, false)[0], "alice", "wrong")
	m.time += 1000 * 3600
	m.do()
	for _, c := range []struct {
		say, credentials string
		want             bool
	}{
		{"ours, old", mine, true},
		{"another realm", strings.Replace(mine, `realm="example.com"`, `realm="example.org"`, 1), false},
		{"another's nonce", strings.Replace(mine, `nonce="`, `nonce="A`, 1), false},
		{"no digest", "Basic abc", false},
		{"nothing", "", false},
	} {
		if a.Ours([]byte(c.credentials)) != c.want {
			t.Errorf("%s: %v", c.say, !c.want)
		}
	}
}

// FuzzAuthorization feeds whatever a stranger may write as credentials; nothing but the right response gets in.
func FuzzAuthorization(f *testing.F) {
	m := newMachine(f)
	a := NewAuth(m)
	d := m.Config().Domain("example.com")
	_, challenges, _, _ := a.Check(message(f), d, false)
	for _, c := range challenges {
		f.Add(answer(f, c, "alice", "wrong"))
	}
	f.Add(`Digest username="\"", realm="example.com", nonce=,uri=,response=`)
	f.Add("Digest")
	f.Add(`Digest username="alice",username="bob"`)
	f.Fuzz(func(t *testing.T, value string) {
		text := "REGISTER sip:example.com SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK1\r\nFrom: <sip:a@b>;tag=1\r\nTo: <sip:a@b>\r\nCall-ID: c\r\nCSeq: 1 REGISTER\r\nAuthorization: " + value + "\r\n\r\n"
		var msg wire.Msg
		if msg.Scan([]byte(text)) != nil {
			return
		}
		if user, challenges, _, ok := a.Check(&msg, d, false); ok || user != nil || len(challenges) != 2 {
			t.Fatalf("%v got in with %q", user, value)
		}
	})
}

func BenchmarkCheck(b *testing.B) {
	m := newMachine(b)
	a := NewAuth(m)
	d := m.Config().Domain("example.com")
	_, challenges, _, _ := a.Check(message(b), d, false)
	for i, name := range []string{"SHA-256", "MD5"} {
		msg := message(b, "Authorization: "+answer(b, challenges[i], "alice", "secret"))
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, _, _, ok := a.Check(msg, d, false); !ok {
					b.Fatal("refused")
				}
			}
		})
	}
	b.Run("challenge", func(b *testing.B) {
		b.ReportAllocs()
		msg := message(b)
		for b.Loop() {
			a.Check(msg, d, false)
		}
	})
}
