package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"net/netip"
	"os"
	"os/signal"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/google/pprof/profile"
	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"holdline/deploy/lab/netlab"
)

const (
	benchDomain   = "bench.example"
	benchPassword = "bench-secret"
	callerAddr    = "10.77.0.2"
	gatewayAddr   = "10.77.0.22"
)

// usualCases leaves out the other settings of call.commit (one-logged, three-later) at rates other than 1500/s.
const usualCases = `^(one|three)-[03]s@|@1500$|^register|^capacity`

func benchUser(i int) string { return fmt.Sprintf("u%05d", i) }

// drain is how long after the last call memory is looked at: transactions last 32 s (64*T1, RFC 3261 §17).
const drain = 35 * time.Second

// system is what is measured.
type system interface {
	Name() string
	Start(ctx context.Context, probe *netlab.Box) error
	Boxes() []*netlab.Box
	Target() string
}

// result is one case of the report. Costs are CPU microseconds a completed call (or accepted binding), medians over rounds.
type result struct {
	Case        string  `json:"case"`
	Rate        int     `json:"rate"`
	Ours        float64 `json:"ours_us_per_call"`
	Peer        float64 `json:"peer_us_per_call"`
	Ratio       float64 `json:"ratio"`
	OursFailed  int     `json:"ours_failed"`
	PeerFailed  int     `json:"peer_failed"`
	OursRetrans int     `json:"ours_retransmissions"`
	PeerRetrans int     `json:"peer_retransmissions"`
	OursP50     float64 `json:"ours_answer_p50_ms"`
	OursP99     float64 `json:"ours_answer_p99_ms"`
	PeerP50     float64 `json:"peer_answer_p50_ms"`
	PeerP99     float64 `json:"peer_answer_p99_ms"`
	// Memory once the transactions of the last round have ended: proportional set size, and of ours what is live on the heap.
	OursMemory int64  `json:"ours_pss_bytes"`
	OursLive   int64  `json:"ours_live_bytes"`
	PeerMemory int64  `json:"peer_pss_bytes"`
	OursMax    int    `json:"ours_max_rate,omitempty"` // of a capacity case
	PeerMax    int    `json:"peer_max_rate,omitempty"`
	Rounds     int    `json:"rounds"`
	Refused    string `json:"refused,omitempty"`
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	flags := flag.NewFlagSet("bench", flag.ContinueOnError)
	binary := flags.String("holdline", "bin/holdline", "the binary under test")
	out := flags.String("out", "build/bench-peers.json", "where the figures go")
	only := flags.String("cases", usualCases, "regular expression of the cases to run; . is all")
	rates := flags.String("rates", "500,1500,2500,4000", "calls a second")
	seconds := flags.Int("seconds", 10, "length of a round")
	rounds := flags.Int("rounds", 3, "rounds of each case; the median is reported")
	memory := flags.Bool("memory", true, "look at memory too, 35 s after the last round of each case")
	against := flags.String("against", "", "compare with this holdline binary, an earlier one, instead of with Kamailio")
	growth := flags.String("growth", "", "measure how the cost grows with what is held instead; the figures go to this file, drawn beside it as .svg")
	draw := flags.String("draw", "", "draw the figures of an earlier -growth again, and do nothing else")
	registrations := flags.String("registrations", "1000,10000,100000,1000000", "sizes for -growth; none: leave it out")
	held := flags.String("calls", "1000,10000,100000", "sizes for -growth; none: leave it out")
	profileTo := flags.String("profile", "", "gather CPU profiles of the nodes in the cases instead, and write them to this file for the compiler")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if *draw != "" {
		return drawGrowth(*draw)
	}
	pattern, err := regexp.Compile(*only)
	if err != nil {
		return fmt.Errorf("-cases: %w", err)
	}
	path, err := filepath.Abs(*binary)
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "holdline-bench-")
	if err != nil {
		return err
	}
	if *against != "" {
		if *against, err = filepath.Abs(*against); err != nil {
			return err
		}
	}
	b := &bench{dir: dir, binary: path, against: *against, length: time.Duration(*seconds) * time.Second, rounds: *rounds, memory: *memory}
	if *growth != "" {
		if err := b.growth(ctx, *growth, sizes(*registrations), sizes(*held)); err != nil {
			return err
		}
		return errors.Join(drawGrowth(*growth), os.RemoveAll(dir))
	}
	chosen := slices.DeleteFunc(cases(*rates), func(c benchCase) bool { return !pattern.MatchString(c.String()) })
	if len(chosen) == 0 {
		return fmt.Errorf("no case matches %q: the cases are %s", *only, strings.Join(names(cases(*rates)), ", "))
	}
	if *profileTo != "" {
		if err := b.profileCases(ctx, *profileTo, chosen); err != nil {
			return err
		}
		return os.RemoveAll(dir)
	}
	var results []result
	for _, c := range chosen {
		run := b.run
		if c.capacity {
			run = b.capacity
		}
		r, err := run(ctx, c)
		if err != nil {
			return fmt.Errorf("case %s (logs are in %s): %w", c, dir, err)
		}
		results = append(results, r)
		printRow(os.Stdout, r, len(results) == 1)
		if err := writeJSON(*out, results); err != nil {
			return err
		}
	}
	return os.RemoveAll(dir)
}

func writeJSON(path string, v any) error {
	b, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	return os.WriteFile(path, append(b, '\n'), 0o644)
}

type bench struct {
	dir, binary string
	against     string // binary that stands in for the peer
	length      time.Duration
	rounds      int
	memory      bool
	serial      int

	profile  bool // gather profiles, and nothing else
	profiles []*profile.Profile
}

// round is one system under one load.
type round struct {
	outcome
	perCall float64 // µs
	memory  int64
	live    int64
	idle    float64
}

func (b *bench) run(ctx context.Context, c benchCase) (result, error) {
	res := result{Case: c.name, Rate: c.rate}
	var ours, peer []round
	for i := range b.rounds {
		last := b.memory && i == b.rounds-1
		o, err := b.round(ctx, c, c.ours, b.binary, last)
		if err != nil {
			return res, err
		}
		kind, binary := b.peer(c)
		p, err := b.round(ctx, c, kind, binary, last)
		if err != nil {
			return res, err
		}
		if why := refused(c, o, p); why != "" {
			res.Refused = why
			fmt.Fprintf(os.Stderr, "%s: round refused: %s\n", c, why)
			continue
		}
		ours, peer = append(ours, o), append(peer, p)
	}
	res.Rounds = len(ours)
	if len(ours) == 0 {
		return res, nil
	}
	var ratios []float64
	for i := range ours {
		ratios = append(ratios, ours[i].perCall/peer[i].perCall)
		res.OursFailed += ours[i].Failed
		res.PeerFailed += peer[i].Failed
		res.OursRetrans += ours[i].Retransmissions
		res.PeerRetrans += peer[i].Retransmissions
	}
	pick := func(rs []round, f func(round) float64) float64 {
		var v []float64
		for _, r := range rs {
			v = append(v, f(r))
		}
		return median(v)
	}
	cost := func(r round) float64 { return r.perCall }
	res.Ours, res.Peer, res.Ratio, res.Refused = pick(ours, cost), pick(peer, cost), median(ratios), ""
	res.OursP50, res.PeerP50 = pick(ours, func(r round) float64 { return r.P50 }), pick(peer, func(r round) float64 { return r.P50 })
	res.OursP99, res.PeerP99 = pick(ours, func(r round) float64 { return r.P99 }), pick(peer, func(r round) float64 { return r.P99 })
	res.OursMemory, res.PeerMemory, res.OursLive = ours[len(ours)-1].memory, peer[len(peer)-1].memory, ours[len(ours)-1].live
	return res, nil
}

// peer is the kind of system that is compared with, and its binary if that is Holdline.
func (b *bench) peer(c benchCase) (kind, binary string) {
	if b.against != "" {
		return c.ours, b.against
	}
	return c.peer, ""
}

// refused says why a pair of rounds tells nothing about the systems, or "".
func refused(c benchCase, rounds ...round) string {
	for i, r := range rounds {
		who := []string{c.ours, c.peer}[i]
		if r.Rate < 0.95*float64(c.rate) && r.idle < 0.03 {
			return fmt.Sprintf("with %s the generator began %.0f of %d/s and the machine had %.0f %% idle: the machine, not the system, was measured", who, r.Rate, c.rate, 100*r.idle)
		}
	}
	return ""
}

func median(v []float64) float64 {
	if len(v) == 0 {
		return 0
	}
	v = slices.Sorted(slices.Values(v))
	return v[len(v)/2]
}

// round sets up a fresh network with the system alone on it, and measures it; its memory too, after drain, if that is asked for.
func (b *bench) round(ctx context.Context, c benchCase, kind, binary string, memory bool) (round, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	b.serial++
	dir := filepath.Join(b.dir, fmt.Sprintf("%03d", b.serial))
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return round{}, err
	}
	network, err := netlab.New()
	if err != nil {
		return round{}, err
	}
	defer network.Close()
	host := func(name string, last byte) (*netlab.Box, error) {
		return network.AddBox(name, last, netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 77, 0, last}), 24))
	}
	uac, err := host("callers", 2)
	if err != nil {
		return round{}, err
	}
	uas, err := host("gateway", 22)
	if err != nil {
		return round{}, err
	}
	sys, err := b.system(kind, binary, dir, host, c)
	if err != nil {
		return round{}, err
	}
	defer func() { // Kamailio forks: its children outlive a parent that is killed with its box
		for _, box := range sys.Boxes() {
			if err := box.Signal(unix.SIGKILL); err != nil {
				fmt.Fprintln(os.Stderr, "bench:", err)
			}
		}
	}()
	gen, err := newSipp(dir, uac, uas)
	if err != nil {
		return round{}, err
	}
	if err := gen.gateway(ctx, 1); err != nil {
		return round{}, err
	}
	if err := sys.Start(ctx, uac); err != nil {
		return round{}, err
	}
	drive := func(l load) (outcome, error) { return gen.run(ctx, l) }
	if c.register {
		drive = func(l load) (outcome, error) { return registerLoad(ctx, uac, sys.Target(), l) }
	}
	if _, err := drive(load{target: sys.Target(), rate: min(c.rate, 200), time: 2 * time.Second}); err != nil { // warm up
		return round{}, err
	}
	before, err := cpuOf(sys.Boxes())
	if err != nil {
		return round{}, err
	}
	idle, err := readIdle()
	if err != nil {
		return round{}, err
	}
	var g errgroup.Group
	if h, ok := sys.(*holdline); ok && b.profile {
		g.Go(func() error {
			list, err := h.cpuProfiles(ctx, b.length)
			b.profiles = append(b.profiles, list...)
			return err
		})
	}
	o, err := drive(load{target: sys.Target(), rate: c.rate, length: c.hold, time: b.length})
	if err != nil {
		return round{}, err
	}
	if err := g.Wait(); err != nil {
		return round{}, fmt.Errorf("profile: %w", err)
	}
	idleNow, err := readIdle()
	if err != nil {
		return round{}, err
	}
	after, err := cpuOf(sys.Boxes())
	if err != nil {
		return round{}, err
	}
	r := round{outcome: o, idle: idle.since(idleNow)}
	if o.OK > 0 {
		r.perCall = float64((after - before).Microseconds()) / float64(o.OK)
	}
	fmt.Fprintf(os.Stderr, "%s: %s (%s): %.0f µs a call, %d failed, %d retransmissions, answer p50/p99 %.1f/%.1f ms, machine %.0f %% idle\n",
		c, kind, filepath.Base(binary), r.perCall, o.Failed, o.Retransmissions, o.P50, o.P99, 100*r.idle)
	if !memory {
		return r, nil
	}
	if err := pause(ctx, drain); err != nil {
		return r, err
	}
	if h, ok := sys.(*holdline); ok {
		if r.live, err = h.liveHeap(ctx); err != nil {
			return r, err
		}
	}
	r.memory, err = rssOf(sys.Boxes())
	return r, err
}

func (b *bench) system(kind, binary, dir string, host func(string, byte) (*netlab.Box, error), c benchCase) (system, error) {
	boxes := func(prefix string, first byte, n int) ([]*netlab.Box, []string, error) {
		var bs []*netlab.Box
		var as []string
		for i := range n {
			last := first + byte(i)
			box, err := host(fmt.Sprintf("%s%d", prefix, i+1), last)
			if err != nil {
				return nil, nil, err
			}
			bs, as = append(bs, box), append(as, fmt.Sprintf("10.77.0.%d", last))
		}
		return bs, as, nil
	}
	switch kind {
	case "kamailio", "kamailio-dmq":
		n := map[string]int{"kamailio": 1, "kamailio-dmq": 2}[kind]
		bs, as, err := boxes("k", 31, n)
		return &kamailio{name: kind, boxes: bs, addrs: as, dmq: n > 1, dir: dir}, err
	case "holdline", "holdline-later", "holdline-3", "holdline-3-later":
		n := 1
		if strings.HasPrefix(kind, "holdline-3") {
			n = 3
		}
		bs, as, err := boxes("n", 11, n)
		h := &holdline{name: kind, binary: binary, boxes: bs, addrs: as, dir: dir, later: strings.HasSuffix(kind, "-later")}
		for i := range n {
			h.vips = append(h.vips, fmt.Sprintf("10.77.0.%d", 101+i))
		}
		if c.register {
			h.users = registerUsers
		}
		return h, err
	default:
		return nil, fmt.Errorf("no system is called %q", kind)
	}
}
