package chart

import (
	"encoding/xml"
	"errors"
	"io"
	"math"
	"strings"
	"testing"
)

func example() Chart {
	return Chart{
		Title: "Cost <per> operation",
		X:     Axis{Label: "registrations", Log: true},
		Y:     Axis{Label: "µs"},
		Series: []Series{
			{Name: "REGISTER", Points: []Point{{X: 1000, Y: 40, Low: 38, High: 45}, {X: 1e6, Y: 44}}},
			{Name: "steps", Steps: true, Points: []Point{{X: 1000, Y: 10}, {X: 1e4, Y: 20}, {X: 1e5, Y: 20}}},
		},
	}
}

// TestSVG reads the picture back as XML and looks for what a reader must see.
func TestSVG(t *testing.T) {
	b, err := example().SVG()
	if err != nil {
		t.Fatal(err)
	}
	var texts []string
	points := ""
	dec := xml.NewDecoder(strings.NewReader(string(b)))
	for {
		tok, err := dec.Token()
		if errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatalf("not XML: %v\n%s", err, b)
		}
		switch e := tok.(type) {
		case xml.CharData:
			if s := strings.TrimSpace(string(e)); s != "" {
				texts = append(texts, s)
			}
		case xml.StartElement:
			for _, a := range e.Attr {
				if a.Name.Local == "points" {
					points += a.Value + "\n"
				}
			}
		}
	}
	all := strings.Join(texts, "\n")
	for _, want := range []string{"Cost <per> operation", "1 k", "1 M", "registrations", "µs", "REGISTER", "steps", "50"} {
		if !strings.Contains(all, want) {
			t.Errorf("%q is not written in the chart:\n%s", want, all)
		}
	}
	// 1 k is the left edge, 1 M the right one; 40 and 44 of 50 lie that far up; steps stay level before they rise.
	want := "76.0,100.0 740.0,77.6\n76.0,268.0 297.3,268.0 297.3,212.0 518.7,212.0 518.7,212.0\n"
	if points != want {
		t.Errorf("lines\n%swant\n%s", points, want)
	}
	again, err := example().SVG()
	if err != nil || string(again) != string(b) {
		t.Errorf("drawn twice it differs (%v)", err)
	}
}

func TestNothingToDraw(t *testing.T) {
	for _, p := range [][]Point{nil, {{X: 0, Y: 1}}, {{X: 10, Y: math.NaN()}}} {
		c := Chart{X: Axis{Log: true}, Series: []Series{{Points: p}}}
		if _, err := c.SVG(); err == nil {
			t.Errorf("%v was drawn", p)
		}
	}
}

func TestTicks(t *testing.T) {
	for _, c := range []struct{ high, step float64 }{{50, 10}, {1, 0.2}, {7, 1}, {9, 2}, {1234, 200}, {0, 1}} {
		if got := roundStep(c.high); math.Abs(got-c.step) > 1e-9 {
			t.Errorf("up to %g: ticks every %g, want %g", c.high, got, c.step)
		}
	}
}
