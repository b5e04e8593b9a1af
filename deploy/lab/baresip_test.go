package lab

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// TestBaresip is a call between two phones that people use: both register with digest through different VIPs, over each
// transport; the callee answers by itself, the caller hangs up.
func TestBaresip(t *testing.T) {
	if testing.Short() {
		t.Skip("starts a cluster")
	}
	for _, program := range []string{"baresip", "stdbuf"} {
		if _, err := exec.LookPath(program); err != nil {
			t.Skipf("%s is not installed: apt-get install baresip-core coreutils", program)
		}
	}
	c, dir := startCluster(t)
	people := users(2)
	if err := c.provision(t.Context(), people); err != nil {
		t.Fatal(err)
	}
	if err := c.awaitHA(within(t, 30*time.Second), c.nodes); err != nil {
		t.Fatal(err)
	}
	for i, x := range []struct{ caller, callee string }{{"udp", "udp"}, {"tcp", "tcp"}, {"tls", "tls"}, {"tls", "udp"}} {
		t.Run(x.caller+" to "+x.callee, func(t *testing.T) {
			alice := startBaresip(t, c, dir, people[0], x.caller, c.vips[0], 6000+10*i, "")
			bob := startBaresip(t, c, dir, people[1], x.callee, c.vips[len(c.vips)-1], 6005+10*i, ";answermode=auto")
			alice.await("registered successfully")
			bob.await("registered successfully")
			alice.command("/dial sip:" + people[1].name + "@" + domain)
			alice.await("Call established")
			bob.await("Call established")
			alice.command("/hangup")
			bob.await("session closed")
			noCalls(t, c)
		})
	}
	t.Run("two flows", func(t *testing.T) { baresipFlows(t, c, dir, people) })
}

// baresipFlows is a call to a phone that has registered over two VIPs as RFC 5626 says: it rings once.
func baresipFlows(t *testing.T, c *cluster, dir string, people []user) {
	params := fmt.Sprintf(`;answermode=auto;sipnat="outbound";outbound2="sip:%s:%d;transport=tcp"`, c.vips[0], sipPort)
	alice := startBaresip(t, c, dir, people[0], "udp", c.vips[0], 6100, "")
	bob := startBaresip(t, c, dir, people[1], "tcp", c.vips[len(c.vips)-1], 6105, params)
	alice.await("registered successfully")
	bob.await("registered successfully")
	ctx := within(t, 10*time.Second)
	for flows := ""; flows != "12" && flows != "21"; {
		out, err := c.nodes[0].CLI(ctx, "", "registrations", "--json")
		if err != nil {
			t.Fatalf("%v; flows %q", err, flows)
		}
		var list struct {
			Registrations []struct {
				AoR   string
				RegID int `json:"reg_id"`
			}
		}
		if err := json.Unmarshal([]byte(out), &list); err != nil {
			t.Fatal(err)
		}
		flows = ""
		for _, r := range list.Registrations {
			if r.RegID != 0 && r.AoR == people[1].name+"@"+domain {
				flows += fmt.Sprint(r.RegID)
			}
		}
	}
	alice.command("/dial sip:" + people[1].name + "@" + domain)
	alice.await("Call established")
	bob.await("Call established")
	alice.command("/hangup")
	bob.await("session closed")
	noCalls(t, c)
}

// noCalls waits until the cluster holds no call: the BYE was answered, and that is committed.
func noCalls(t *testing.T, c *cluster) {
	t.Helper()
	ctx := within(t, 10*time.Second)
	for {
		out, err := c.nodes[0].CLI(ctx, "", "calls", "--json")
		if err != nil {
			t.Fatal(err)
		}
		var list struct{ Total int }
		if err := json.Unmarshal([]byte(out), &list); err != nil {
			t.Fatal(err)
		}
		if list.Total == 0 {
			return
		}
	}
}

// baresip is one phone.
type baresip struct {
	t  *testing.T
	in io.Writer

	mu   sync.Mutex
	said bytes.Buffer
	more chan struct{}
}

// Write implements io.Writer for what the phone says.
func (b *baresip) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.said.Write(p)
	select {
	case b.more <- struct{}{}:
	default:
	}
	return len(p), nil
}

func startBaresip(t *testing.T, c *cluster, dir string, u user, transport string, vip netip.Addr, port int, params string) *baresip {
	t.Helper()
	home, err := os.MkdirTemp(dir, "baresip-")
	if err != nil {
		t.Fatal(err)
	}
	proxy := fmt.Sprintf("sip:%s:%d;transport=%s", vip, sipPort, transport)
	if transport == "tls" {
		proxy = fmt.Sprintf("sip:%s:%d;transport=tls", vip, sipPort+1)
	}
	account := fmt.Sprintf("<sip:%s@%s;transport=%s>;auth_user=%s;auth_pass=%s;outbound=%q;regint=600%s\n",
		u.name, domain, transport, u.name, u.password, proxy, params)
	config := fmt.Sprintf(`poll_method epoll
sip_listen %s:%d
audio_player aubridge,nil
audio_source aubridge,nil
audio_alert aubridge,nil
rtp_ports 20000-30000
module_path /usr/lib/baresip/modules
module stdio.so
module g711.so
module aubridge.so
module_tmp uuid.so
module_tmp account.so
module_app menu.so
`, phoneHosts()[0], port)
	for name, text := range map[string]string{"accounts": account, "config": config, "contacts": "\n", "uuid": "00000000-0000-4000-8000-" + fmt.Sprintf("%012d", port)} {
		if err := os.WriteFile(filepath.Join(home, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	b := &baresip{t: t, more: make(chan struct{}, 1)}
	cmd := exec.Command("stdbuf", "-oL", "-eL", "baresip", "-f", home, "-4")
	cmd.Stdout, cmd.Stderr = b, b
	if b.in, err = cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	if err := c.phones.Start(cmd); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := cmd.Process.Kill(); err != nil {
			t.Errorf("end baresip: %v", err)
		}
		_ = cmd.Wait() // killed
		if t.Failed() {
			t.Logf("baresip of %s said:\n%s", u.name, b.said.String())
		}
	})
	return b
}

func (b *baresip) command(line string) {
	b.t.Helper()
	if _, err := io.WriteString(b.in, line+"\n"); err != nil {
		b.t.Fatal(err)
	}
}

// await waits until the phone has said what, and forgets all that came before.
func (b *baresip) await(what string) {
	b.t.Helper()
	limit := time.After(15 * time.Second)
	for {
		b.mu.Lock()
		i := strings.Index(b.said.String(), what)
		if i >= 0 {
			b.said.Next(i + len(what))
		}
		b.mu.Unlock()
		if i >= 0 {
			return
		}
		select {
		case <-b.more:
		case <-limit:
			b.t.Fatalf("baresip does not say %q", what)
		}
	}
}
