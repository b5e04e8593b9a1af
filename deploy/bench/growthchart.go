package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"holdline/deploy/chart"
)

// sizes reads "1000,10000".
func sizes(list string) (out []int) {
	for _, f := range strings.Split(list, ",") {
		if n, err := strconv.Atoi(strings.TrimSpace(f)); err == nil && n > 0 {
			out = append(out, n)
		}
	}
	return out
}

// drawGrowth draws the figures of a file as FILE.svg, with another ending in the place of its own.
func drawGrowth(path string) error {
	b, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	var points []growthPoint
	if err := json.Unmarshal(b, &points); err != nil {
		return fmt.Errorf("read figures of %s: %w", path, err)
	}
	svg, err := growthChart(points).SVG()
	if err != nil {
		return err
	}
	return os.WriteFile(strings.TrimSuffix(path, filepath.Ext(path))+".svg", svg, 0o644)
}

// growthChart shows both curves, and what is left of them when the idle node's own use is taken off: a constant part hides growth.
func growthChart(points []growthPoint) chart.Chart {
	c := chart.Chart{
		Title: "CPU of one node per operation, as what it holds grows",
		X:     chart.Axis{Label: "registrations, or calls held", Log: true},
		Y:     chart.Axis{Label: "µs of CPU"},
	}
	for _, op := range []string{opRegister, opCall} {
		all := chart.Series{Name: op}
		net := chart.Series{Name: op + ", idle use taken off"}
		for _, p := range points {
			if p.Operation == op {
				all.Points = append(all.Points, chart.Point{X: float64(p.Held), Y: p.Cost, Low: p.Low, High: p.High})
				net.Points = append(net.Points, chart.Point{X: float64(p.Held), Y: p.Cost - p.Idle/float64(p.Rate)})
			}
		}
		if len(all.Points) > 0 {
			c.Series = append(c.Series, all, net)
		}
	}
	return c
}
