package sipcore

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"testing"
	"time"
)

// TestSippCalls drives calls of an outside client through a VIP to a pool member: 1 000 at 200 a second. With two nodes the
// call's home is the one and the gateway is called through the other's VIP.
func TestSippCalls(t *testing.T) {
	sipp, err := exec.LookPath("sipp")
	if err != nil {
		t.Skip("sipp is not installed (Debian: sip-tester)")
	}
	if testing.Short() {
		t.Skip("takes six seconds")
	}
	for _, nodes := range []int{1, 2} {
		t.Run(fmt.Sprintf("%d nodes", nodes), func(t *testing.T) {
			l := newLab(t, nodes)
			gw := freePort(t)
			l.pool("gw", fmt.Sprintf("127.0.0.1:%d", gw), "127.0.0.1/32", 1)
			ctx, cancel := context.WithTimeout(t.Context(), 25*time.Second)
			defer cancel()
			dir, err := filepath.Abs("testdata")
			if err != nil {
				t.Fatal(err)
			}
			uas := exec.CommandContext(ctx, sipp, "-sf", dir+"/uas.xml", "-i", "127.0.0.1", "-p", fmt.Sprint(gw), "-nostdin")
			uas.Dir = t.TempDir()
			if err := uas.Start(); err != nil {
				t.Fatal(err)
			}
			defer func() { _ = uas.Wait() }()
			defer func() { _ = uas.Process.Kill() }()
			for listens := false; !listens; { // until it does the machine says that nobody is there, and calls fail for that at once
				table, err := os.ReadFile("/proc/net/udp")
				if err = errors.Join(err, ctx.Err()); err != nil {
					t.Fatal("the gateway does not listen: ", err)
				}
				listens = bytes.Contains(table, fmt.Appendf(nil, ":%04X 00000000:0000", gw))
			}
			uac := exec.CommandContext(ctx, sipp, "-sf", dir+"/uac.xml", "-i", "127.0.0.1", "-p", fmt.Sprint(freePort(t)),
				"-m", "1000", "-r", "200", "-l", "1000", "-nostdin", "-trace_stat", "-stf", "stat.csv", fmt.Sprintf("127.0.0.%d:%d", 100+nodes, l.port))
			uac.Dir = t.TempDir()
			out, err := uac.CombinedOutput()
			if err != nil {
				t.Fatalf("sipp: %v\n%s", err, tail(out))
			}
			for name, want := range map[string]string{"Successful call": "1000", "Failed call": "0"} {
				re := regexp.MustCompile(name + ` +\| +\d+ +\| +(\d+)`)
				all := re.FindAllSubmatch(out, -1)
				if len(all) == 0 || string(all[len(all)-1][1]) != want {
					t.Errorf("%s: not %s\n%s", name, want, tail(out))
				}
			}
			if n := l.log.m.Counts().Calls; n != 0 {
				t.Errorf("%d calls are left in the replicated state", n)
			}
		})
	}
}

func tail(b []byte) []byte {
	lines := bytes.Split(b, []byte("\n"))
	return bytes.Join(lines[max(0, len(lines)-40):], []byte("\n"))
}
