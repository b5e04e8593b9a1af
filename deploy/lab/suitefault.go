package lab

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"holdline/deploy/lab/netlab"
	"holdline/deploy/lab/node"
)

// blow is one fault of the suite, prepared for one node: inflict takes as little time as can be, since it is to hit the moment
// between two messages.
type blow struct {
	inflict func() error
	// hold is how long it lasts; 0: until the calls have ended.
	hold  time.Duration
	mend  func(context.Context) error
	steps *steps     // that it goes on with by itself, if it does
	also  *node.Node // that it kills, besides what befalls the node it was asked for
}

// trait is what the suite must know of a fault before it comes.
type trait struct {
	name     string
	patience time.Duration // of the phones
	lossy    bool          // messages are lost at random: a 1xx may be
	prepare  func(*cluster, *node.Node) (blow, error)

	// What the drill's account of the fault goes by.
	none     bool   // nothing happens: no VIP is to move
	leader   bool   // it befalls the raft leader, whatever VIPs that owns
	all      bool   // it befalls every VIP, not only those of the node
	restless bool   // a VIP may move more than once, or not at all
	brief    bool   // a second later it is over, or not to be seen in the status
	outage   string // why there is no majority for a while
	disk     bool   // nodes need disks of their own
	clock    bool   // it steps the machine's wall clock
	memory   bool   // it needs control groups
	alone    bool   // it leaves one node only that may take a VIP: nobody can move it on
	stretch  int    // calls over the fault last so many times as long; 0: once
}

// Sets of faults, of which transcripts name some. "every" befalls each message boundary; the others take long, or do not depend on the
// boundary much, and befall some.
var faultSets = func() map[string][]string {
	sets := map[string][]string{
		"boundary":  {"cable", "kill", "freeze-1s"},
		"parts":     {"kill-serve", "kill-guard", "freeze-serve-0.1s", "freeze-serve-1s", "freeze-guard-0.1s", "freeze-guard-1s", "freeze-0.1s", outOfMemory},
		"partition": {"partition", "isolation", "deaf", "mute"},
		"loss":      {"loss-5", "loss-30"},
		"power":     {"power-loss", "cold-start-2"},
		"flap":      {"cable-flapping"},
		"disk":      {"slow-disk", "slow-disk-all", "full-disk", "full-disk-all"},
		"member":    {"transfer-leader-killed", "transfer-follower-killed", "join-beside-dead"},
		"long":      {"freeze-serve-10s", "freeze-guard-10s", "freeze-10s"},
		"storage":   {"full-disk-kill", "damaged-votes", "damaged-log", "damaged-index", "data-deleted", "data-deleted-running"},
		"clock":     {"clock+1h", "clock-1h", "clock+2s", "clock-2s"},
	}
	for _, set := range []string{"boundary", "parts", "partition", "loss", "power", "flap", "disk", "member"} {
		sets["every"] = append(sets["every"], sets[set]...)
	}
	return sets
}()

// usual patience of a phone; longer where the whole cluster is gone for a while or messages are lost at random.
const (
	suitePatience = 12 * time.Second
	longPatience  = 25 * time.Second
	flapTimes     = 5
	flapEvery     = time.Second
	noMajority    = "no majority of the nodes ran, and without one nobody may own an address"
)

// expand turns sets into faults, each once.
func expand(names []string) ([]string, error) {
	var out []string
	for _, name := range names {
		set, ok := faultSets[name]
		if !ok {
			set = []string{name}
		}
		for _, f := range set {
			if _, err := traitOf(f); err != nil {
				return nil, err
			}
			if !slices.Contains(out, f) {
				out = append(out, f)
			}
		}
	}
	return out, nil
}

// traitOf knows every fault of the suite by its name.
func traitOf(name string) (trait, error) {
	t := trait{name: name, patience: suitePatience}
	var after string
	for _, d := range []string{"0.1s", "1s", "10s"} {
		if rest, ok := strings.CutSuffix(name, "-"+d); ok {
			name, after = rest, d
		}
	}
	switch name {
	case "none":
		t.none, t.brief = true, true
		t.prepare = func(*cluster, *node.Node) (blow, error) {
			return blow{inflict: func() error { return nil }, mend: func(context.Context) error { return nil }}, nil
		}
	case "cable", "leader-cable":
		t.leader = name == "leader-cable"
		t.prepare = func(_ *cluster, n *node.Node) (blow, error) {
			return blow{inflict: n.Box.Unplug, mend: func(context.Context) error { return n.Box.Plug() }}, nil
		}
	case "cable-flapping":
		t.prepare, t.lossy, t.patience = flapping, true, longPatience
		t.restless, t.brief = true, true
	case "kill", "kill-serve", "kill-guard":
		t.prepare = killing(partOf(name))
		t.brief = name == "kill-guard"
		t.restless = t.brief
	case "freeze", "freeze-serve", "freeze-guard":
		var d time.Duration // until the calls have ended
		if after != "" {
			var err error
			if d, err = time.ParseDuration(after); err != nil {
				return t, fmt.Errorf("fault %q: %w", t.name, err)
			}
			t.restless, t.brief = d < time.Second, d <= time.Second
		}
		t.prepare = freezing(partOf(name), d)
	case "partition":
		// From the other nodes alone: the phones still reach it.
		t.prepare = losing(func(c *cluster, n *node.Node) (out []netlab.Loss) {
			for _, o := range c.others(n) {
				out = append(out, netlab.Loss{From: n.Name, To: o.Name, Percent: 100}, netlab.Loss{From: o.Name, To: n.Name, Percent: 100})
			}
			return out
		})
	case "isolation": // the cable stays up, and nothing comes through it
		t.prepare = losing(func(_ *cluster, n *node.Node) []netlab.Loss {
			return []netlab.Loss{{From: n.Name, Percent: 100}, {To: n.Name, Percent: 100}}
		})
	case "deaf":
		t.prepare = losing(func(_ *cluster, n *node.Node) []netlab.Loss { return []netlab.Loss{{To: n.Name, Percent: 100}} })
	case "mute":
		t.prepare = losing(func(_ *cluster, n *node.Node) []netlab.Loss { return []netlab.Loss{{From: n.Name, Percent: 100}} })
	case "loss-5", "loss-30":
		percent := 5
		if name == "loss-30" {
			percent = 30
		}
		t.lossy, t.patience, t.restless, t.brief = true, longPatience, true, true
		t.prepare = losing(func(_ *cluster, n *node.Node) []netlab.Loss {
			return []netlab.Loss{{From: n.Name, Percent: percent}, {To: n.Name, Percent: percent}}
		})
	case "power-loss":
		t.prepare, t.patience = powerLoss(0), longPatience
		t.all, t.restless, t.brief, t.outage = true, true, true, noMajority
	case "cold-start-2":
		t.prepare, t.patience = powerLoss(1), longPatience
		t.all, t.restless, t.brief, t.outage = true, true, true, noMajority
	case "rolling":
		t.prepare, t.stretch = rolling, 5
		t.all, t.restless, t.brief = true, true, true
	case "replace":
		t.prepare, t.stretch, t.restless = replacing, 3, true // the new box is given VIPs
	default:
		return rarerTrait(t)
	}
	return t, nil
}

// rarerTrait knows the faults of storage, membership and clock.
func rarerTrait(t trait) (trait, error) {
	switch t.name {
	case "slow-disk", "slow-disk-all":
		t.prepare = slowDisk(t.name == "slow-disk-all")
		t.disk, t.restless, t.brief = true, true, true
	case "full-disk", "full-disk-all":
		t.prepare = fullDisk(t.name == "full-disk-all")
		t.disk, t.restless, t.brief = true, true, true
	case "full-disk-kill":
		t.prepare, t.disk = fullDiskKill, true
	case "damaged-votes":
		t.prepare, t.restless = damaged("raft.db"), true // the new box is given VIPs
	case "damaged-log":
		t.prepare, t.restless = damaged("log/*.wal"), true // the new box is given VIPs
	case "damaged-index":
		t.prepare, t.restless = damaged("log/*.db"), true // the new box is given VIPs
	case "data-deleted":
		t.prepare, t.restless = emptied(false), true // the new box is given VIPs
	case "data-deleted-running":
		t.prepare, t.restless, t.brief = emptied(true), true, true
	case "transfer-leader-killed":
		t.prepare, t.leader, t.restless = brokenTransfer(true), true, true
	case "transfer-follower-killed":
		t.prepare, t.leader, t.restless, t.alone = brokenTransfer(false), true, true, true
	case outOfMemory:
		t.prepare, t.memory = starving, true
	case "join-beside-dead":
		t.prepare = joinBesideDead
	default:
		by, ok := stepOf(t.name)
		if !ok {
			return t, fmt.Errorf("fault %q is not known", t.name)
		}
		t.prepare, t.clock, t.restless, t.brief = steppedClock(by), true, true, true
	}
	return t, nil
}

func partOf(name string) node.Part {
	switch {
	case strings.HasSuffix(name, "-serve"):
		return node.Serve
	case strings.HasSuffix(name, "-guard"):
		return node.Guard
	default:
		return node.Both
	}
}

func killing(part node.Part) func(*cluster, *node.Node) (blow, error) {
	return func(_ *cluster, n *node.Node) (blow, error) {
		shot, err := n.Aim(part)
		return blow{
			inflict: func() error { return shot.Fire(unix.SIGKILL) },
			mend: func(ctx context.Context) error {
				if part == node.Guard {
					return nil // serve starts another
				}
				return restart(ctx, n)
			},
		}, err
	}
}

func freezing(part node.Part, d time.Duration) func(*cluster, *node.Node) (blow, error) {
	return func(_ *cluster, n *node.Node) (blow, error) {
		shot, err := n.Aim(part)
		return blow{
			inflict: func() error { return shot.Fire(unix.SIGSTOP) }, hold: d,
			mend: func(context.Context) error { return shot.Fire(unix.SIGCONT) },
		}, err
	}
}

func losing(what func(*cluster, *node.Node) []netlab.Loss) func(*cluster, *node.Node) (blow, error) {
	return func(c *cluster, n *node.Node) (blow, error) {
		losses := what(c, n)
		return blow{
			inflict: func() error { return c.net.Lose(losses...) },
			mend:    func(context.Context) error { return c.net.Lose() },
		}, nil
	}
}

// powerLoss kills every node at once and starts them again at once, but for the last few, which come when the calls have ended.
func powerLoss(away int) func(*cluster, *node.Node) (blow, error) {
	return func(c *cluster, n *node.Node) (blow, error) {
		var shots []node.Shot
		for _, x := range c.nodes {
			shot, err := x.Aim(node.Both)
			if err != nil {
				return blow{}, err
			}
			shots = append(shots, shot)
		}
		late := c.others(n)[:away]
		back := make(chan error, 1)
		return blow{
			inflict: func() error {
				var errs []error
				for _, s := range shots {
					errs = append(errs, s.Fire(unix.SIGKILL))
				}
				go func() {
					ctx, cancel := context.WithTimeout(context.Background(), rejoinTime)
					defer cancel()
					back <- eachOf(slices.DeleteFunc(slices.Clone(c.nodes), func(x *node.Node) bool { return slices.Contains(late, x) }),
						func(x *node.Node) error { return restart(ctx, x) })
				}()
				return errors.Join(errs...)
			},
			mend: func(ctx context.Context) error {
				return errors.Join(<-back, eachOf(late, func(x *node.Node) error { return restart(ctx, x) }))
			},
		}, nil
	}
}

// restart starts a killed node once nothing of it is left.
func restart(ctx context.Context, n *node.Node) error {
	if err := n.Stop(3 * time.Second); err != nil {
		return err
	}
	return n.Start(ctx)
}

// flapping pulls and plugs the cable once a second, some times, and leaves it plugged.
func flapping(_ *cluster, n *node.Node) (blow, error) {
	var done sync.WaitGroup
	errs := make(chan error, 2*flapTimes)
	return blow{
		inflict: func() error {
			err := n.Box.Unplug()
			done.Go(func() {
				for i := range 2*flapTimes - 1 {
					time.Sleep(flapEvery / 2)
					if i%2 == 0 {
						errs <- n.Box.Plug()
					} else {
						errs <- n.Box.Unplug()
					}
				}
			})
			return err
		},
		mend: func(context.Context) error {
			done.Wait()
			close(errs)
			var all []error
			for err := range errs {
				all = append(all, err)
			}
			return errors.Join(all...)
		},
	}, nil
}
