package api

import "testing"

// TestSubject: the log of operations says what each was about, and no secret.
func TestSubject(t *testing.T) {
	type password struct{ Body UserRequest }
	for want, in := range map[string]any{
		"example.com":       &request[Domain]{Body: Domain{Name: "example.com", Aliases: []string{"10.77.0.101"}}},
		"alice@example.com": &aorPath{AoR: "alice@example.com"},
		"bob@example.com":   &password{UserRequest{AoR: "bob@example.com", Password: "secret"}},
		"carriers gw1":      &memberChange{Pool: "carriers", Member: "gw1"},
		"carriers gw2":      &memberRequest{Pool: "carriers", Body: Member{Name: "gw2", User: "4930", Password: "secret"}},
		"example.com 00":    &request[Route]{Body: Route{Domain: "example.com", Prefix: "00", Pool: "abroad"}},
		"n2":                &request[JoinRequest]{Body: JoinRequest{Token: "secret", Name: "n2"}},
		"example.com 7":     &routeQuery{Domain: "example.com", Prefix: "7"},
		"17":                &callPath{Number: 17},
		"":                  &none{},
	} {
		if got := subject(in); got != want {
			t.Errorf("%+v: %q, not %q", in, got, want)
		}
	}
}
