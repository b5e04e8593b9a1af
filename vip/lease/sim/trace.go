package sim

import (
	"fmt"
	"strings"

	"holdline/vip/lease"
)

func stamp(t int64) string { return fmt.Sprintf("%.1fms", float64(t)/1e6) }

// ballot writes a ballot as round.node.
func ballot(b uint64) string { return fmt.Sprintf("%d.%d", b>>8, b&0xff) }

func nodeName(n uint32) string {
	if n == 0 {
		return "nobody known"
	}
	return fmt.Sprintf("n%d", n)
}

func target(n uint32) string {
	if n == 0 {
		return "anyone"
	}
	return fmt.Sprintf("n%d", n)
}

func (w *World) logf(format string, a ...any) {
	if w.trace != nil {
		fmt.Fprintf(w.trace, "%9s  %s\n", stamp(w.now), fmt.Sprintf(format, a...))
	}
}

// tracePacket writes what a packet says. Short transcripts leave out what only repeats the packet before, or renews what is held.
func (w *World) tracePacket(fate string, from int, p *lease.Packet) {
	plain := true
	var b strings.Builder
	for _, r := range p.Requests {
		verb := "asks for"
		if r.Owned {
			verb = "holds"
		} else {
			plain = false
		}
		fmt.Fprintf(&b, " %s g%d %s", verb, r.Group, ballot(r.Ballot))
		if r.Offer != 0 {
			fmt.Fprintf(&b, " offered to n%d", r.Offer)
			plain = false
		}
		b.WriteByte(';')
	}
	for _, g := range p.Grants {
		if g.Seq != 0 && lease.BallotNode(g.Ballot) == p.To {
			fmt.Fprintf(&b, " grants g%d %s", g.Group, ballot(g.Ballot))
			if !w.terse {
				fmt.Fprintf(&b, " #%d", g.Seq)
			}
			b.WriteByte(';')
			plain = plain && g.Owned
		} else if w.heartbts {
			fmt.Fprintf(&b, " (g%d %s #%d);", g.Group, ballot(g.Ballot), g.Seq)
		}
	}
	for _, r := range p.Releases {
		fmt.Fprintf(&b, " gives up g%d %s", r.Group, ballot(r.Ballot))
		if r.To != 0 {
			fmt.Fprintf(&b, " to n%d", r.To)
		}
		b.WriteByte(';')
		plain = false
	}
	if p.Flags&lease.FlagMute != 0 {
		b.WriteString(" mute;")
	}
	text := b.String()
	if !w.heartbts && fate != "replayed" {
		again := w.said[from][p.To-1] == text
		w.said[from][p.To-1] = text
		if plain || again {
			return
		}
	}
	if fate != "" {
		fate = " (" + fate + ")"
	}
	if !w.terse {
		fate += fmt.Sprintf(" #%d echo #%d e%d", p.Seq, p.Echo, p.Epoch)
	}
	w.logf("n%d → n%d%s:%s", from+1, p.To, fate, strings.TrimSuffix(text, ";"))
}
