// Package chart draws measured figures as SVG, for the pages in docs. It knows lines over one horizontal axis and no more.
package chart

import (
	"bytes"
	"encoding/xml"
	"fmt"
	"math"
	"strconv"
)

// Chart is one picture. Points are given in the axes' units.
type Chart struct {
	Title  string
	X, Y   Axis
	Series []Series
}

// Axis describes one direction. Logarithmic axes show powers of ten and leave out points that are not above zero.
type Axis struct {
	Label string
	Log   bool
	Max   float64 // where a linear axis ends; 0: a round number above the largest value. It begins at zero
}

// Series is one line with its name in the legend. Points are joined in the order given.
type Series struct {
	Name   string
	Points []Point
	Steps  bool // horizontal until the next point, as distributions are drawn
	Dots   bool // no line between the points
}

// Point is one measured value. Low and High, where they are not both zero, are the spread around it.
type Point struct{ X, Y, Low, High float64 }

const (
	width, height            = 760.0, 420.0
	left, right, top, bottom = 76.0, 20.0, 44.0, 96.0
)

// colours are told apart by people who don't see all of them (after Okabe and Ito).
var colours = [...]string{"#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9"}

// SVG draws the chart. The same chart gives the same bytes. A chart without a point that can be drawn is an error.
func (c Chart) SVG() ([]byte, error) {
	x, err := c.scale(c.X, left, width-right, func(p Point) (low, high float64) { return p.X, p.X })
	if err != nil {
		return nil, err
	}
	y, err := c.scale(c.Y, height-bottom, top, func(p Point) (low, high float64) {
		if c.spread(p) {
			return min(p.Y, p.Low), max(p.Y, p.High)
		}
		return p.Y, p.Y
	})
	if err != nil {
		return nil, err
	}
	d := &drawing{Chart: c, x: x, y: y}
	d.printf(`<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %g %g" font-family="sans-serif" font-size="13">`+"\n", width, height)
	d.printf(`<rect width="%g" height="%g" fill="white"/>`+"\n", width, height)
	d.text(width/2, 24, "middle", "font-size=\"16\"", c.Title)
	d.axes()
	for i, s := range c.Series {
		d.series(s, colours[i%len(colours)])
		column, row := i%3, i/3
		lx, ly := left+float64(column)*(width-left-right)/3, height-30+float64(row)*18
		d.printf(`<rect x="%.1f" y="%.1f" width="14" height="4" fill="%s"/>`+"\n", lx, ly-6, colours[i%len(colours)])
		d.text(lx+20, ly, "start", "", s.Name)
	}
	d.printf("</svg>\n")
	return d.Bytes(), nil
}

// scale maps values of an axis to positions.
type scale struct {
	from, to  float64 // positions
	low, high float64 // values, or their logarithms
	log       bool
	ticks     []float64 // values
}

func (s scale) at(v float64) float64 {
	if s.log {
		v = math.Log10(v)
	}
	return s.from + (v-s.low)/(s.high-s.low)*(s.to-s.from)
}

func (a Axis) shows(v float64) bool { return !math.IsNaN(v) && !math.IsInf(v, 0) && (!a.Log || v > 0) }

func (c Chart) shows(p Point) bool { return c.X.shows(p.X) && c.Y.shows(p.Y) }

func (c Chart) spread(p Point) bool { return c.Y.shows(p.Low) && c.Y.shows(p.High) && p.High > 0 }

func (c Chart) scale(a Axis, from, to float64, values func(Point) (low, high float64)) (scale, error) {
	s := scale{from: from, to: to, log: a.Log}
	low, high := math.Inf(1), math.Inf(-1)
	for _, series := range c.Series {
		for _, p := range series.Points {
			if c.shows(p) {
				l, h := values(p)
				low, high = min(low, l), max(high, h)
			}
		}
	}
	if low > high {
		return s, fmt.Errorf("chart %q: it has no value to show on the axis %q", c.Title, a.Label)
	}
	if a.Log {
		s.low, s.high = math.Floor(math.Log10(low)), math.Ceil(math.Log10(high))
		s.high = max(s.high, s.low+1)
		for e := s.low; e <= s.high; e++ {
			s.ticks = append(s.ticks, math.Pow(10, e))
		}
		return s, nil
	}
	if a.Max > 0 {
		high = a.Max
	}
	step := roundStep(high)
	s.high = step * max(1, math.Ceil(high/step-1e-9))
	for i := 0; float64(i)*step <= s.high+step/2; i++ {
		s.ticks = append(s.ticks, float64(i)*step)
	}
	return s, nil
}

// roundStep is a distance between ticks of 1, 2 or 5 times a power of ten that gives four to ten of them.
func roundStep(high float64) float64 {
	if high <= 0 {
		return 1
	}
	unit := math.Pow(10, math.Floor(math.Log10(high/4)))
	for _, k := range []float64{1, 2, 5} {
		if high/(k*unit) <= 8 {
			return k * unit
		}
	}
	return 10 * unit
}

type drawing struct {
	Chart
	bytes.Buffer
	x, y scale
}

func (d *drawing) printf(format string, args ...any) { fmt.Fprintf(&d.Buffer, format, args...) }

func (d *drawing) text(x, y float64, anchor, attrs, s string) {
	d.printf(`<text x="%.1f" y="%.1f" text-anchor="%s" %s>`, x, y, anchor, attrs)
	_ = xml.EscapeText(&d.Buffer, []byte(s)) // a buffer takes everything
	d.printf("</text>\n")
}

func (d *drawing) axes() {
	for _, v := range d.y.ticks {
		at := d.y.at(v)
		d.printf(`<line x1="%g" x2="%g" y1="%.1f" y2="%.1f" stroke="#ddd"/>`+"\n", left, width-right, at, at)
		d.text(left-8, at+4, "end", "", short(v))
	}
	for _, v := range d.x.ticks {
		at := d.x.at(v)
		d.printf(`<line x1="%.1f" x2="%.1f" y1="%g" y2="%g" stroke="#ddd"/>`+"\n", at, at, top, height-bottom)
		d.text(at, height-bottom+18, "middle", "", short(v))
	}
	d.text((left+width-right)/2, height-bottom+40, "middle", "", d.X.Label)
	mid := (top + height - bottom) / 2
	d.text(20, mid, "middle", fmt.Sprintf(`transform="rotate(-90 20 %g)"`, mid), d.Y.Label)
}

func (d *drawing) series(s Series, colour string) {
	var line bytes.Buffer
	var last float64
	n := 0
	for _, p := range s.Points {
		if !d.shows(p) {
			continue
		}
		x, y := d.x.at(p.X), d.y.at(p.Y)
		if s.Steps && n > 0 {
			fmt.Fprintf(&line, "%.1f,%.1f ", x, last)
		}
		fmt.Fprintf(&line, "%.1f,%.1f ", x, y)
		last = y
		n++
		if d.spread(p) {
			d.printf(`<line x1="%.1f" x2="%.1f" y1="%.1f" y2="%.1f" stroke="%s" stroke-opacity="0.5"/>`+"\n", x, x, d.y.at(p.Low), d.y.at(p.High), colour)
		}
		if !s.Steps {
			d.printf(`<circle cx="%.1f" cy="%.1f" r="3.5" fill="%s"/>`+"\n", x, y, colour)
		}
	}
	if !s.Dots && n > 1 {
		d.printf(`<polyline points="%s" fill="none" stroke="%s" stroke-width="2"/>`+"\n", bytes.TrimSpace(line.Bytes()), colour)
	}
}

// short writes 1000 as "1 k" and 1000000 as "1 M".
func short(v float64) string {
	for _, u := range []struct {
		size float64
		name string
	}{{1e6, " M"}, {1e3, " k"}} {
		if v >= u.size {
			return strconv.FormatFloat(v/u.size, 'g', 4, 64) + u.name
		}
	}
	return strconv.FormatFloat(v, 'g', 4, 64)
}
