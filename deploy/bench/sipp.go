package main

import (
	"bufio"
	"bytes"
	"context"
	"embed"
	"encoding/csv"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"holdline/deploy/lab/netlab"
)

//go:embed scenarios/*.xml
var scenarios embed.FS

// perProcess is the most calls a second asked of one sipp process: above, sipp itself falls behind.
const perProcess = 600

// load is what one round asks for.
type load struct {
	target string
	rate   int           // calls/s
	length time.Duration // from ACK to BYE
	time   time.Duration
}

// outcome is what the generator saw.
type outcome struct {
	Calls, OK, Failed int
	Retransmissions   int
	Rate              float64 // calls/s begun
	P50, P99          float64 // INVITE to 200, ms
}

type sipp struct {
	dir      string
	uac, uas *netlab.Box
}

// gateway starts the answering side, n processes on ports 5060…; they end with ctx.
func (s *sipp) gateway(ctx context.Context, n int) error {
	for i := range n {
		cmd := exec.CommandContext(ctx, "sipp", "-sf", "uas.xml", "-i", gatewayAddr, "-p", strconv.Itoa(5060+i),
			"-nostdin", "-buff_size", "8388608", "-trace_err", "-error_file", filepath.Join(s.dir, fmt.Sprintf("uas-%d.err", i)))
		cmd.Dir = s.dir
		if err := s.uas.Start(cmd); err != nil {
			return fmt.Errorf("start sipp: %w; install Debian's sip-tester", err)
		}
		go func() { _ = cmd.Wait() }()
	}
	return nil
}

// newSipp lays the scenarios into dir.
func newSipp(dir string, uac, uas *netlab.Box) (*sipp, error) {
	for _, name := range []string{"uac.xml", "uas.xml"} {
		b, err := scenarios.ReadFile("scenarios/" + name)
		if err == nil {
			err = os.WriteFile(filepath.Join(dir, name), b, 0o600)
		}
		if err != nil {
			return nil, fmt.Errorf("write sipp scenario: %w", err)
		}
	}
	return &sipp{dir: dir, uac: uac, uas: uas}, nil
}

// run makes the calls and waits until they have ended.
func (s *sipp) run(ctx context.Context, l load) (outcome, error) {
	n := max(1, (l.rate+perProcess-1)/perProcess)
	type one struct {
		o   outcome
		rtt []float64
		err error
	}
	done := make(chan one, n)
	for i := range n {
		rate := l.rate / n
		if i < l.rate%n {
			rate++
		}
		go func() {
			o, rtt, err := s.caller(ctx, l, i, rate)
			done <- one{o, rtt, err}
		}()
	}
	var sum outcome
	var rtts []float64
	var errs []error
	for range n {
		r := <-done
		sum.Calls += r.o.Calls
		sum.OK += r.o.OK
		sum.Failed += r.o.Failed
		sum.Retransmissions += r.o.Retransmissions
		sum.Rate += r.o.Rate
		rtts = append(rtts, r.rtt...)
		errs = append(errs, r.err)
	}
	slices.Sort(rtts)
	if len(rtts) > 0 {
		sum.P50, sum.P99 = rtts[len(rtts)/2], rtts[len(rtts)*99/100]
	}
	return sum, errors.Join(errs...)
}

func (s *sipp) caller(ctx context.Context, l load, i, rate int) (outcome, []float64, error) {
	stat, errFile := filepath.Join(s.dir, fmt.Sprintf("uac-%d.csv", i)), filepath.Join(s.dir, fmt.Sprintf("uac-%d.err", i))
	calls := int(l.time.Seconds() * float64(rate))
	ctx, cancel := context.WithTimeout(ctx, l.time+l.length+60*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, "sipp", "-sf", "uac.xml", "-i", callerAddr, "-p", strconv.Itoa(6000+i), l.target,
		"-r", strconv.Itoa(rate), "-m", strconv.Itoa(calls), "-l", strconv.Itoa(calls), "-d", strconv.Itoa(int(l.length.Milliseconds())),
		"-nostdin", "-mp", strconv.Itoa(20000+10*i), "-cp", strconv.Itoa(8900+i), "-buff_size", "8388608", "-timer_resol", "1", "-recv_timeout", "12000",
		"-trace_stat", "-stf", stat, "-fd", "1", "-trace_rtt", "-rtt_freq", "10", "-trace_err", "-error_file", errFile)
	cmd.Dir = s.dir
	var said bytes.Buffer
	cmd.Stderr = &said
	if err := s.uac.Start(cmd); err != nil {
		return outcome{}, nil, fmt.Errorf("start sipp: %w; install Debian's sip-tester", err)
	}
	pid := cmd.Process.Pid
	err := cmd.Wait() // exit code 1 says that calls failed: they are counted below
	var exit *exec.ExitError
	if err != nil && (!errors.As(err, &exit) || exit.ExitCode() != 1) {
		return outcome{}, nil, fmt.Errorf("run sipp: %w: %s", err, bytes.TrimSpace(said.Bytes()))
	}
	o, err := readStat(stat)
	if err != nil {
		return outcome{}, nil, err
	}
	if o.Failed > 0 {
		tellWhy(errFile)
	}
	rtts, err := readRTT(filepath.Join(s.dir, fmt.Sprintf("uac_%d_rtt.csv", pid)))
	return o, rtts, err
}

// tellWhy prints the first of what sipp says about calls that it gave up.
func tellWhy(path string) {
	const most, lines = 3, 12 // calls, and of each what came
	b, err := os.ReadFile(path)
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench: sipp does not say why calls failed:", err)
		return
	}
	told, rest := 0, 0
	for line := range strings.Lines(string(b)) {
		if strings.Contains(line, "borting call") {
			told++
			rest = lines
		}
		if told <= most && rest > 0 {
			rest--
			fmt.Fprintln(os.Stderr, "bench: sipp:", strings.TrimSpace(line))
		}
	}
}

// readStat takes the totals out of the last line of sipp's statistics.
func readStat(path string) (outcome, error) {
	f, err := os.Open(path)
	if err != nil {
		return outcome{}, fmt.Errorf("read sipp's statistics: %w", err)
	}
	defer f.Close()
	r := csv.NewReader(f)
	r.Comma, r.FieldsPerRecord, r.LazyQuotes = ';', -1, true
	rows, err := r.ReadAll()
	if err != nil || len(rows) < 2 {
		return outcome{}, fmt.Errorf("read sipp's statistics %s: %d lines: %w", path, len(rows), err)
	}
	head, last := rows[0], rows[len(rows)-1]
	get := func(name string) (float64, error) {
		i := slices.Index(head, name)
		if i < 0 || i >= len(last) {
			return 0, fmt.Errorf("read sipp's statistics: no column %s", name)
		}
		return strconv.ParseFloat(last[i], 64)
	}
	var o outcome
	for name, to := range map[string]*int{
		"TotalCallCreated": &o.Calls, "SuccessfulCall(C)": &o.OK, "FailedCall(C)": &o.Failed, "Retransmissions(C)": &o.Retransmissions,
	} {
		v, err := get(name)
		if err != nil {
			return outcome{}, err
		}
		*to = int(v)
	}
	// The rate while calls were begun: the busiest rows' mean would hide a stall, so take calls over the time until all were begun. There is
	// a row at the start and one each second; within the last of these seconds they came at the rate that was asked for.
	created, asked, before := slices.Index(head, "TotalCallCreated"), slices.Index(head, "TargetRate"), 0.0
	for i, row := range rows[1:] {
		v, err := strconv.ParseFloat(row[created], 64)
		if err != nil {
			continue
		}
		if int(v) < o.Calls {
			before = v
			continue
		}
		if rate, err := strconv.ParseFloat(row[asked], 64); err == nil && rate > 0 {
			o.Rate = float64(o.Calls) / (float64(max(i-1, 0)) + min(1, (float64(o.Calls)-before)/rate))
		}
		break
	}
	return o, nil
}

func readRTT(path string) ([]float64, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("read sipp's response times: %w", err)
	}
	defer f.Close()
	var v []float64
	for sc := bufio.NewScanner(f); sc.Scan(); {
		parts := strings.Split(sc.Text(), ";")
		if len(parts) < 3 {
			continue
		}
		if ms, err := strconv.ParseFloat(parts[1], 64); err == nil {
			v = append(v, ms)
		}
	}
	return v, nil
}
