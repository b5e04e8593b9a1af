package sim

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"holdline/vip/lease"
)

// Script plays a cluster by commands, one a line, and returns what came of each: the transcripts in ../testdata.
//
//	cluster voters=3 others=0 groups=2 profile=fast     all clocks alike, every packet takes 0.3 ms
//	start n1 n2 …     kill n1 …     power-off n1 …      run 400ms
//	unplug n1 …       plug n1 …     cut n1 n2           heal n1 n2        loss 20
//	freeze n1 100ms   sleep n1      wake n1             drop n1 g1
//	release n1 g1 [n2]              health n1 3         carrier n1 g1 on|off
//	voters n1 n2 …    (a new epoch, given to nobody yet)
//	profile standard  (likewise)
//	configure n1 …    (gives them the latest)
//	status            who owns what, and whom each node takes for the owner
type Script struct {
	w   World
	out strings.Builder
}

// Do carries one command out.
func (s *Script) Do(line string) (string, error) {
	s.out.Reset()
	f := strings.Fields(line)
	if len(f) == 0 {
		return "", fmt.Errorf("play script: empty command")
	}
	if err := s.do(f[0], f[1:]); err != nil {
		return "", fmt.Errorf("play script: %q: %w", line, err)
	}
	if s.w.fault != nil {
		fmt.Fprintf(&s.out, "VIOLATION %v\n", s.w.fault)
	}
	return s.out.String(), nil
}

func (s *Script) do(verb string, args []string) error {
	switch verb {
	case "cluster":
		return s.cluster(args)
	case "run":
		d, err := time.ParseDuration(strings.Join(args, ""))
		s.w.RunUntil(s.w.now + int64(d))
		return err
	case "status":
		s.status()
		return nil
	case "voters":
		return s.voters(args)
	case "profile":
		p, err := lease.ProfileNamed(strings.Join(args, ""))
		s.w.changeProfile(p)
		return err
	}
	simple := map[string]opKind{
		"start": opStart, "kill": opCrash, "power-off": opPower, "unplug": opIsolate, "plug": opRejoin,
		"sleep": opSleep, "wake": opResume, "configure": opPush,
	}
	if kind, ok := simple[verb]; ok {
		for _, arg := range args {
			n, err := s.number(arg, 'n', len(s.w.nodes))
			if err != nil {
				return err
			}
			s.w.do(op{kind: kind, a: n})
		}
		return nil
	}
	return s.order(verb, args)
}

// order does the commands that have different arguments.
func (s *Script) order(verb string, args []string) error {
	o := op{}
	kinds := map[string]opKind{
		"cut": opCut, "heal": opHeal, "loss": opLoss, "freeze": opFreeze, "drop": opDrop, "release": opRelease,
		"health": opHealth, "carrier": opCarrier,
	}
	kind, ok := kinds[verb]
	if !ok {
		return fmt.Errorf("no such command")
	}
	o.kind = kind
	nodes := 0
	for _, arg := range args {
		var err error
		switch {
		case arg == "on" || arg == "off":
			o.n = map[string]int64{"on": 1}[arg]
		case arg[0] == 'n' && nodes == 0:
			nodes++
			o.a, err = s.number(arg, 'n', len(s.w.nodes))
		case arg[0] == 'n':
			o.b, err = s.number(arg, 'n', len(s.w.nodes))
			if kind == opRelease {
				o.b++ // there it is a node's number; 0 is any
			}
		case arg[0] == 'g':
			o.g, err = s.number(arg, 'g', s.w.setup.Groups)
		case strings.HasSuffix(arg, "ms"):
			var d time.Duration
			d, err = time.ParseDuration(arg)
			o.n = int64(d)
		default:
			o.n, err = strconv.ParseInt(arg, 10, 64)
		}
		if err != nil {
			return err
		}
	}
	s.w.do(o)
	return nil
}

func (s *Script) cluster(args []string) error {
	setup := Setup{Voters: 3, Groups: 1, Profile: lease.Fast()}
	for _, arg := range args {
		name, value, _ := strings.Cut(arg, "=")
		if name == "profile" {
			p, err := lease.ProfileNamed(value)
			if err != nil {
				return err
			}
			setup.Profile = p
			continue
		}
		n, err := strconv.Atoi(value)
		if err != nil {
			return err
		}
		switch name {
		case "voters":
			setup.Voters = n
		case "others":
			setup.Others = n
		case "groups":
			setup.Groups = n
		default:
			return fmt.Errorf("no such setting: %s", name)
		}
	}
	if setup.Voters+setup.Others > maxNodes || setup.Groups > maxGroups {
		return fmt.Errorf("at most %d nodes and %d groups", maxNodes, maxGroups)
	}
	s.w.Reset(1, setup)
	s.w.net.minDelay, s.w.net.maxDelay = 300_000, 300_000
	s.w.Trace(&s.out, false)
	s.w.terse = true
	return nil
}

func (s *Script) voters(args []string) error {
	v := *s.w.cluster.latest()
	v.epoch++
	v.voter = [maxNodes]bool{}
	for _, arg := range args {
		n, err := s.number(arg, 'n', len(s.w.nodes))
		if err != nil {
			return err
		}
		v.voter[n] = true
	}
	s.w.cluster.versions = append(s.w.cluster.versions, v)
	return nil
}

// number reads n3 or g2, from 0.
func (s *Script) number(arg string, letter byte, limit int) (int, error) {
	n, err := strconv.Atoi(strings.TrimPrefix(arg, string(letter)))
	if err != nil || n < 1 || n > limit {
		return 0, fmt.Errorf("no such %c: %s", letter, arg)
	}
	return n - 1, nil
}

func (s *Script) status() {
	w := &s.w
	for g := range w.setup.Groups {
		fmt.Fprintf(&s.out, "g%d: ", g+1)
		if i := w.owner(g); i >= 0 {
			b, until, _ := w.nodes[i].core.Lease(w.nodes[i].clock.at(w.now), uint32(g+1))
			fmt.Fprintf(&s.out, "owned by n%d with %s for another %s", i+1, ballot(b), stamp(until-w.nodes[i].clock.at(w.now)))
		} else {
			s.out.WriteString("owned by nobody")
		}
		var views []string
		for i := range w.nodes {
			if nd := &w.nodes[i]; nd.up {
				node, _ := nd.core.Owner(nd.clock.at(w.now), uint32(g+1))
				views = append(views, fmt.Sprintf("n%d: %s", i+1, nodeName(node)))
			}
		}
		fmt.Fprintf(&s.out, " (%s)\n", strings.Join(slices.Clip(views), ", "))
	}
}
