package probe

import (
	"bytes"
	"net"
	"net/netip"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestMeasure(t *testing.T) {
	t0 := time.Now()
	at := func(ms int) time.Time { return t0.Add(time.Duration(ms) * time.Millisecond) }
	run := func(n int, answer func(ms int) time.Time) (out []Sample) {
		for i := range n {
			out = append(out, Sample{Sent: at(2 * i), Answered: answer(2 * i)})
		}
		return out
	}
	atOnce := func(ms int) time.Time { return at(ms + 1) }
	for _, tt := range []struct {
		name             string
		samples          []Sample
		longest, start   int
		lost, pause, end int
	}{
		{"all answered", run(500, atOnce), 2, 0, 0, 2, 998},
		{"seventy missing", run(500, func(ms int) time.Time {
			if ms >= 400 && ms < 540 {
				return time.Time{}
			}
			return at(ms + 1)
		}), 142, 398, 70, 2, 998},
		{"answered from a queue after the fault", run(1000, func(ms int) time.Time {
			if ms >= 400 && ms < 540 {
				return at(1900)
			}
			return at(ms + 1)
		}), 142, 398, 70, 2, 1998},
		{"never again", run(500, func(ms int) time.Time {
			if ms >= 400 {
				return time.Time{}
			}
			return at(ms + 1)
		}), 602, 398, 300, 2, 1000},
		{"never", run(500, func(int) time.Time { return time.Time{} }), 1000, 0, 500, 2, 1000},
		{"the probe itself paused", append(run(100, atOnce), Sample{at(260), at(261)}), 62, 198, 0, 62, 260},
		{"nothing asked", nil, 300, 0, 0, 300, 300},
	} {
		t.Run(tt.name, func(t *testing.T) {
			g := Measure(tt.samples, t0, at(tt.end))
			want := Gap{
				Sent: len(tt.samples), Lost: tt.lost, Longest: at(tt.longest).Sub(t0), Start: at(tt.start), Pause: at(tt.pause).Sub(t0),
			}
			if g != want {
				t.Errorf("got %+v, want %+v", g, want)
			}
		})
	}
}

// A server that goes silent for a while: the gap is found where it was.
func TestProbeFindsTheGap(t *testing.T) {
	server, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	silent := func(n int) bool { return n >= 100 && n < 150 }
	reached := make(chan struct{})
	go func() {
		buf := make([]byte, 2048)
		for n := 0; ; n++ {
			k, from, err := server.ReadFromUDPAddrPort(buf)
			if err != nil {
				return
			}
			if n == 300 {
				close(reached)
			}
			if !silent(n) {
				res := bytes.Replace(buf[:k], []byte("OPTIONS sip:"+server.LocalAddr().String()+" SIP/2.0"), []byte("SIP/2.0 200 OK"), 1)
				if _, err := server.WriteToUDPAddrPort(res, from); err != nil {
					t.Error(err)
				}
			}
		}
	}()
	conn, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	vip := netip.MustParseAddrPort(server.LocalAddr().String())
	begin := time.Now()
	p := Start(conn, []Target{{vip, 2 * time.Millisecond}})
	<-reached
	samples, err := p.Stop()
	if err != nil {
		t.Fatal(err)
	}
	s := samples[0]
	g := Measure(s, begin, s[len(s)-1].Sent)
	// From the last answered probe before to the first after: 51 periods, whatever they took here.
	want := s[150].Sent.Sub(s[99].Sent)
	if g.Lost != 50 || g.Longest != want || !g.Start.Equal(s[99].Sent) {
		t.Errorf("%+v; want 50 lost and a gap of %v at probe 99", g, want)
	}
}
