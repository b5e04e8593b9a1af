package capture

import (
	"cmp"
	"net/netip"
	"slices"
	"time"
)

// announced is how soon a sender that begins a tenure must have announced itself: on a busy box an answer of SIP's may be on the wire before
// the guard's announcement, both of them let out by the fence at one moment.
const announced = 50 * time.Millisecond

// quiet is how long a sender must have sent nothing before its gratuitous ARP may open a tenure of its own again.
// Any hand-over needs longer than that; the frames of two owners are closer together.
const quiet = 20 * time.Millisecond

// Tenure is a time in which one sender used a VIP: from its first frame to its last.
type Tenure struct {
	Sender      Sender
	First, Last time.Time
	Frames      int
}

// VIPOwners is what the capture says about one VIP.
type VIPOwners struct {
	VIP     netip.Addr
	Frames  int
	Max     int      // most simultaneous owners
	Tenures []Tenure // by First
}

// Owners counts the owners of each VIP from its frames. When frames of A, B and again A were sent, A and B owned the VIP at the same
// time: their tenures overlap. A handing over to B and never sending again is one owner, and so is B handing back: A has
// been silent for a while and begins with the announcement (gratuitous ARP) that every owner begins with, B sends no
// more. So a sender's tenure is only ever split where it announces itself, then or within 50 ms with nobody else's frame between, after
// another sender's frames and a silence.
func Owners(frames []Frame) []VIPOwners {
	byVIP := map[netip.Addr]*vipState{}
	sorted := slices.Clone(frames)
	slices.SortStableFunc(sorted, func(a, b Frame) int { return a.At.Compare(b.At) })
	markAnnounced(sorted)
	for _, f := range sorted {
		v := byVIP[f.VIP]
		if v == nil {
			v = &vipState{open: map[Sender]int{}}
			byVIP[f.VIP] = v
		}
		v.add(f)
	}
	var out []VIPOwners
	for vip, v := range byVIP {
		out = append(out, VIPOwners{VIP: vip, Frames: v.frames, Max: overlap(v.tenures), Tenures: v.tenures})
	}
	slices.SortFunc(out, func(a, b VIPOwners) int { return a.VIP.Compare(b.VIP) })
	return out
}

// markAnnounced makes an announcement of each frame that its sender's announcement follows soon enough.
func markAnnounced(sorted []Frame) {
	next := map[netip.Addr]Frame{} // the frame of the VIP after this one
	for i := len(sorted) - 1; i >= 0; i-- {
		f := sorted[i]
		if !f.Announce {
			n, ok := next[f.VIP]
			// What follows an announcement belongs to it, not to the next: only frames right before one count.
			f.Announce = ok && n.Announce && n.Sender == f.Sender && !n.At.After(f.At.Add(announced))
			if f.Announce {
				sorted[i].Announce = true
				f.At = n.At // the announcement's own time counts, not that of a frame before it
			}
		}
		next[f.VIP] = f
	}
}

type vipState struct {
	frames  int
	tenures []Tenure
	open    map[Sender]int // index of a sender's latest tenure
	last    Sender         // sender of the frame before
}

func (v *vipState) add(f Frame) {
	i, known := v.open[f.Sender]
	back := known && v.last != f.Sender && f.Announce && f.At.Sub(v.tenures[i].Last) >= quiet
	if !known || back {
		i = len(v.tenures)
		v.tenures = append(v.tenures, Tenure{Sender: f.Sender, First: f.At})
		v.open[f.Sender] = i
	}
	v.tenures[i].Last = f.At
	v.tenures[i].Frames++
	v.frames++
	v.last = f.Sender
}

// overlap is the largest number of tenures that hold at one instant. Both ends belong to a tenure.
func overlap(tenures []Tenure) int {
	type edge struct {
		at   time.Time
		step int
	}
	var edges []edge
	for _, t := range tenures {
		edges = append(edges, edge{t.First, 1}, edge{t.Last, -1})
	}
	slices.SortFunc(edges, func(a, b edge) int {
		return cmp.Or(a.at.Compare(b.at), -cmp.Compare(a.step, b.step))
	})
	held, most := 0, 0
	for _, e := range edges {
		held += e.step
		most = max(most, held)
	}
	return most
}
