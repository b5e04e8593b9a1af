package main

import (
	"context"
	"encoding/json"
	"log/slog"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"holdline/cluster/api"
)

// refuser stands for a node that has refused something.
type refuser struct {
	api.Backend
	asked api.RefusalFilter
}

func (r *refuser) ListRefused(_ context.Context, f api.RefusalFilter) (api.Refused, error) {
	r.asked = f
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	return api.Refused{Total: 3, LeftOut: 7, Refused: []api.Refusal{
		{Time: at, Source: "10.77.0.31:5060", Transport: "udp", Method: "INVITE", From: "sip:al@b.c", To: "sip:x@b.c", URI: "sip:bo@b.c", Status: 404, Reason: "Not Found"},
		{Time: at, Source: "10.77.0.32:5060", Transport: "tls", Method: "REGISTER", From: "sip:al@b.c", To: "sip:e\x1b@b.c", URI: "sip:b.c", Status: 401, Reason: "Unauthorized", Why: "wrong password"},
	}}, nil
}

func TestRefusedCommand(t *testing.T) {
	node := &refuser{}
	socket := filepath.Join(t.TempDir(), "s")
	l, err := api.Listen(socket)
	if err != nil {
		t.Fatal(err)
	}
	log := slog.New(slog.DiscardHandler)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- api.Serve(ctx, l, api.NewHandler(api.ServerOptions{Backend: node, Logger: log}), log) }()
	defer func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}()
	command := func(args ...string) (string, string, int) {
		var out, errs strings.Builder
		code := run(t.Context(), append([]string{"refused", "--socket", socket}, args...), nil, &out, &errs)
		return out.String(), errs.String(), code
	}
	out, errs, code := command("--aor", "alice@Example.com", "--from", "10.77.0.9/24", "--call-id", "c 1", "--limit", "2")
	if want := (api.RefusalFilter{AoR: "alice@example.com", From: "10.77.0.0/24", CallID: "c 1", Limit: 2}); node.asked != want || code != exitOK {
		t.Errorf("asked for %+v; exit code %d: %s", node.asked, code, errs)
	}
	lines := strings.Split(strings.TrimSpace(out), "\n")
	var got [][]string
	for _, l := range lines {
		got = append(got, strings.Fields(l))
	}
	for i, want := range []string{
		"TIME SOURCE REQUEST FROM TO ANSWER", "01-02 03:04:05 10.77.0.31 udp INVITE al@b.c bo@b.c 404 Not Found",
		"01-02 03:04:05 10.77.0.32 tls REGISTER al@b.c e?@b.c 401 wrong password",
		"2 of 3 refused requests shown: --limit 0 shows all", "7 more were refused and not written down: too many in a second",
	} {
		if i >= len(got) || !slices.Equal(got[i], strings.Fields(want)) {
			t.Errorf("line %d is not %q:\n%s", i, want, out)
		}
	}
	out, _, _ = command("--json")
	var r api.Refused
	if err := json.Unmarshal([]byte(out), &r); err != nil || node.asked.Limit != 0 || len(r.Refused) != 2 || r.Refused[1].Why != "wrong password" {
		t.Errorf("%v, limit %d: %s", err, node.asked.Limit, out)
	}
	for _, args := range [][]string{{"--from", "box1"}, {"--aor", "alice"}} {
		if _, errs, code := command(args...); code != exitFailed || !strings.Contains(errs, "write it as") {
			t.Errorf("%v: exit code %d, %s", args, code, errs)
		}
	}
}
