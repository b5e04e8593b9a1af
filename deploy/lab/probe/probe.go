package probe

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"runtime"
	"slices"
	"strconv"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// Target is a VIP and how often it is asked.
type Target struct {
	VIP   netip.AddrPort
	Every time.Duration
}

// Probe asks VIPs with OPTIONS and keeps when each was sent and answered. Any response is an answer.
type Probe struct {
	conn    *net.UDPConn
	targets []Target
	run     string // tells this probe's messages from those of another
	stop    chan struct{}
	sending sync.WaitGroup
	reading sync.WaitGroup

	mu      sync.Mutex
	samples [][]Sample
	refused int // sends that the kernel refused
}

const branchPrefix = "z9hG4bKprobe."

// Start begins probing from a bound socket, which Stop closes.
func Start(conn *net.UDPConn, targets []Target) *Probe {
	p := &Probe{
		conn: conn, targets: targets, stop: make(chan struct{}), samples: make([][]Sample, len(targets)),
		run: strconv.FormatInt(time.Now().UnixNano(), 36),
	}
	p.sending.Add(1)
	go p.send()
	p.reading.Add(1)
	go p.read()
	return p
}

func (p *Probe) send() {
	defer p.sending.Done()
	runtime.LockOSThread() // and never unlock: the thread's priority is not for others
	// A late probe is seen as a gap. Where this user may not, the report's probe_pause_ms shows what it cost.
	_ = unix.Setpriority(unix.PRIO_PROCESS, unix.Gettid(), -15)
	start := time.Now()
	next := make([]time.Time, len(p.targets))
	for i := range next {
		next[i] = start.Add(p.targets[i].Every * time.Duration(i) / time.Duration(len(next)))
	}
	for {
		select {
		case <-p.stop:
			return
		default:
		}
		due := 0
		for i := range next {
			if next[i].Before(next[due]) {
				due = i
			}
		}
		sleep(time.Until(next[due]))
		p.ask(due)
		next[due] = next[due].Add(p.targets[due].Every)
		if behind := time.Since(next[due]); behind > p.targets[due].Every {
			next[due] = time.Now() // late by more than one: a burst would measure nothing
		}
	}
}

// sleep is a nanosleep of this thread: a Go timer would wait for the scheduler too.
func sleep(d time.Duration) {
	if d <= 0 {
		return
	}
	ts := unix.NsecToTimespec(d.Nanoseconds())
	_ = unix.ClockNanosleep(unix.CLOCK_MONOTONIC, 0, &ts, nil) // EINTR: a probe that is early does no harm
}

func (p *Probe) ask(i int) {
	t := p.targets[i]
	p.mu.Lock()
	n := len(p.samples[i])
	p.samples[i] = append(p.samples[i], Sample{Sent: time.Now()})
	p.mu.Unlock()
	local := p.conn.LocalAddr().(*net.UDPAddr).AddrPort()
	id := fmt.Sprintf("%s.%d.%d", p.run, i, n)
	msg := fmt.Sprintf("OPTIONS sip:%v SIP/2.0\r\nVia: SIP/2.0/UDP %v;branch=%s%s;rport\r\nMax-Forwards: 70\r\n"+
		"From: <sip:probe@%v>;tag=%s\r\nTo: <sip:%v>\r\nCall-ID: %s\r\nCSeq: 1 OPTIONS\r\nContent-Length: 0\r\n\r\n",
		t.VIP, local, branchPrefix, id, local, id, t.VIP, id)
	if _, err := p.conn.WriteToUDPAddrPort([]byte(msg), t.VIP); err != nil {
		p.mu.Lock()
		p.refused++
		p.mu.Unlock()
	}
}

func (p *Probe) read() {
	defer p.reading.Done()
	buf := make([]byte, 4096)
	for {
		n, _, err := p.conn.ReadFromUDPAddrPort(buf)
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err == nil {
			p.answer(buf[:n], time.Now())
		}
	}
}

func (p *Probe) answer(b []byte, at time.Time) {
	target, number, ok := parse(b, p.run)
	p.mu.Lock()
	defer p.mu.Unlock()
	if ok && target < len(p.samples) && number < len(p.samples[target]) && p.samples[target][number].Answered.IsZero() {
		p.samples[target][number].Answered = at
	}
}

// parse reads which probe a response answers from the branch that it repeats.
func parse(b []byte, run string) (target, number int, ok bool) {
	if !bytes.HasPrefix(b, []byte("SIP/2.0 ")) {
		return 0, 0, false
	}
	_, rest, found := bytes.Cut(b, []byte(branchPrefix+run+"."))
	if !found {
		return 0, 0, false
	}
	end := bytes.IndexFunc(rest, func(r rune) bool { return r != '.' && (r < '0' || r > '9') })
	if end < 0 {
		return 0, 0, false
	}
	first, second, found := bytes.Cut(rest[:end], []byte("."))
	target, err1 := strconv.Atoi(string(first))
	number, err2 := strconv.Atoi(string(second))
	return target, number, found && err1 == nil && err2 == nil && target >= 0 && number >= 0
}

// Since returns a target's samples that were sent after a time, as they are now.
func (p *Probe) Since(target int, from time.Time) []Sample {
	p.mu.Lock()
	defer p.mu.Unlock()
	all := p.samples[target]
	first := len(all)
	for first > 0 && all[first-1].Sent.After(from) {
		first--
	}
	return slices.Clone(all[first:])
}

// Stop ends the probing, waits for answers that may still come, and returns the samples of each target.
func (p *Probe) Stop() ([][]Sample, error) {
	close(p.stop)
	p.sending.Wait()
	p.await(time.Now().Add(Patience))
	err := p.conn.Close()
	p.reading.Wait()
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.samples, err
}

// await returns when the latest probe of each target has its answer, or at the deadline.
func (p *Probe) await(deadline time.Time) {
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for time.Now().Before(deadline) {
		waiting := false
		p.mu.Lock()
		for _, s := range p.samples {
			waiting = waiting || len(s) > 0 && s[len(s)-1].Answered.IsZero()
		}
		p.mu.Unlock()
		if !waiting {
			return
		}
		<-tick.C
	}
}
