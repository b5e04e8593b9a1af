package domains

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"testing"

	"holdline/fsm/pb"
	"holdline/sipcore/wire"
)

// TestResponseVectors checks the examples of RFC 2617 §3.5 and RFC 7616 §3.9.1.
func TestResponseVectors(t *testing.T) {
	for _, v := range []struct {
		rfc                            string
		alg                            algorithm
		user, realm, password, method  string
		nonce, uri, nc, cnonce, expect string
	}{
		{
			"2617", algMD5, "Mufasa", "testrealm@host.com", "Circle Of Life", "GET",
			"dcd98b7102dd2f0e8b11d0f600bfb0c093", "/dir/index.html", "00000001", "0a4f113b", "6629fae49393a05397450978507c4ef1",
		},
		{
			"7616", algMD5, "Mufasa", "http-auth@example.org", "Circle of Life", "GET",
			"7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v", "/dir/index.html", "00000001",
			"f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ", "8ca523f5e9506fed4657c9700eebdbec",
		},
		{
			"7616", algSHA256, "Mufasa", "http-auth@example.org", "Circle of Life", "GET",
			"7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v", "/dir/index.html", "00000001",
			"f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ", "753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1",
		},
	} {
		m, s := HA1(v.user, v.realm, v.password)
		ha1 := m[:]
		if v.alg == algSHA256 {
			ha1 = s[:]
		}
		d := &wire.Digest{Nonce: []byte(v.nonce), URI: []byte(v.uri), NC: []byte(v.nc), CNonce: []byte(v.cnonce), QOP: []byte("auth")}
		if got := string(v.alg.response(nil, nil, ha1, []byte(v.method), d)); got != v.expect {
			t.Errorf("RFC %s: %s, want %s", v.rfc, got, v.expect)
		}
	}
}

func TestResponseWithoutQOP(t *testing.T) { // RFC 2069 §2.4 as corrected by its erratum 749
	ha1, _ := HA1("Mufasa", "testrealm@host.com", "CircleOfLife")
	d := &wire.Digest{Nonce: []byte("dcd98b7102dd2f0e8b11d0f600bfb0c093"), URI: []byte("/dir/index.html")}
	if got := string(algMD5.response(nil, nil, ha1[:], []byte("GET"), d)); got != "1949323746fe6a43ef61f9606e7febea" {
		t.Error(got)
	}
}

func TestHMAC(t *testing.T) {
	for _, key := range []string{"", "k", string(make([]byte, 64)), string(make([]byte, 100))} {
		for _, text := range []string{"", "text", string(make([]byte, 600))} {
			h := hmac.New(sha256.New, []byte(key))
			h.Write([]byte(text))
			got := hmacSHA256([]byte(key), []byte(text))
			if want := h.Sum(nil); string(got[:]) != string(want) {
				t.Errorf("key of %d, text of %d: %s, want %s", len(key), len(text), hex.EncodeToString(got[:]), hex.EncodeToString(want))
			}
		}
	}
}

func TestNonce(t *testing.T) {
	one, two, three := &pb.PutKey{Id: 1, Secret: []byte("one")}, &pb.PutKey{Id: 2, Secret: []byte("two")}, &pb.PutKey{Id: 257, Secret: []byte("three")}
	const life = 300_000
	nonce := appendNonce(nil, one, 1_000_000, "example.com")
	flipped := append([]byte(nil), nonce...)
	flipped[5] ^= 1
	for _, c := range []struct {
		say   string
		nonce []byte
		keys  []*pb.PutKey
		now   int64
		realm string
		want  nonceState
	}{
		{"fresh", nonce, []*pb.PutKey{one}, 1_000_000, "example.com", nonceGood},
		{"at the end of its life", nonce, []*pb.PutKey{one}, 1_300_000, "example.com", nonceGood},
		{"after it", nonce, []*pb.PutKey{one}, 1_300_001, "example.com", nonceStale},
		{"a node whose time lags", nonce, []*pb.PutKey{one}, 999_000, "example.com", nonceGood},
		{"the key before", nonce, []*pb.PutKey{two, one}, 1_000_000, "example.com", nonceGood},
		{"a key long gone", nonce, []*pb.PutKey{two}, 1_000_000, "example.com", nonceForeign},
		{"a key with the same low byte", nonce, []*pb.PutKey{three}, 1_000_000, "example.com", nonceForeign},
		{"another realm", nonce, []*pb.PutKey{one}, 1_000_000, "example.org", nonceForeign},
		{"tampered with", flipped, []*pb.PutKey{one}, 1_000_000, "example.com", nonceForeign},
		{"cut off", nonce[:20], []*pb.PutKey{one}, 1_000_000, "example.com", nonceForeign},
		{"none", nil, []*pb.PutKey{one}, 1_000_000, "example.com", nonceForeign},
	} {
		if got := checkNonce(c.nonce, c.keys, c.now, life, c.realm); got != c.want {
			t.Errorf("%s: %d, want %d", c.say, got, c.want)
		}
	}
}
