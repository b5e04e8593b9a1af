package netlab

import (
	"net"
	"testing"
	"time"
)

func TestTheSwitchLosesWhatItIsTold(t *testing.T) {
	n, a, b := pair(t)
	from, to := listen(t, a, "10.77.0.11:4000"), listen(t, b, "10.77.0.12:4000")
	if !reaches(t, from, to, 3*time.Second) {
		t.Fatal("nothing arrives")
	}
	arrive := func() int { return delivered(t, from, to, 200) }
	if got := arrive(); got != 200 {
		t.Fatalf("%d of 200 datagrams came before anything was lost", got)
	}
	for _, x := range []struct {
		loss      Loss
		low, high int
	}{
		{Loss{From: "a", Percent: 100}, 0, 0},
		{Loss{From: "a", To: "b", Percent: 30}, 100, 180}, // 140 are due: 7 standard deviations either way
		{Loss{From: "b", Percent: 100}, 200, 200},         // the other way
	} {
		if err := n.Lose(x.loss); err != nil {
			t.Fatal(err)
		}
		if got := arrive(); got < x.low || got > x.high {
			t.Errorf("%+v: %d of 200 came, want %d to %d", x.loss, got, x.low, x.high)
		}
	}
	if err := n.Lose(); err != nil {
		t.Fatal(err)
	}
	if got := arrive(); got != 200 {
		t.Errorf("%d of 200 datagrams came after the loss was undone", got)
	}
}

// delivered sends datagrams and counts those that come. A switch without a queue delivers before the sender goes on.
func delivered(t *testing.T, from, to *net.UDPConn, total int) int {
	t.Helper()
	for range total {
		if _, err := from.WriteTo([]byte("x"), to.LocalAddr()); err != nil {
			t.Fatal(err)
		}
	}
	if err := to.SetReadDeadline(time.Now().Add(200 * time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	got, buf := 0, make([]byte, 64)
	for {
		n, _, err := to.ReadFrom(buf)
		if err != nil {
			return got
		}
		if n == 1 {
			got++
		}
	}
}
