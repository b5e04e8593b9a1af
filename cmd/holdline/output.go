package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"
)

// narrowest is how many columns a table may have on any terminal, however narrow.
const narrowest = 80

// screenWidth is how many columns there are for what is written to w: those of the terminal that it is, else 0, any number.
func screenWidth(w io.Writer) int {
	f, ok := w.(*os.File)
	if !ok {
		return 0
	}
	size, err := unix.IoctlGetWinsize(int(f.Fd()), unix.TIOCGWINSZ)
	if err != nil { // a file or a pipe
		return 0
	}
	return max(int(size.Col), narrowest)
}

// jsonFlag adds --json, which every read has.
func jsonFlag(c *cobra.Command) *bool {
	return c.Flags().Bool("json", false, "print JSON as the admin API gives it")
}

// print writes v as JSON, or calls text.
func (a *app) print(asJSON bool, v any, text func() error) error {
	if !asJSON {
		return text()
	}
	e := json.NewEncoder(a.out)
	e.SetIndent("", "  ")
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return fmt.Errorf("writing to stdout: %w", err)
	}
	return nil
}

// table prints rows aligned under a header. When a row is too long for the terminal its widest columns give way.
type table struct {
	head []string
	rows [][]string
}

func newTable(head ...string) *table { return &table{head: head} }

func (t *table) row(cells ...string) { t.rows = append(t.rows, cells) }

// gap is between columns.
const gap = 2

func (t *table) write(w io.Writer) error { return t.writeWithin(w, screenWidth(w)) }

// writeWithin writes the table in so many columns; 0: as many as it takes.
func (t *table) writeWithin(w io.Writer, columns int) error {
	var b strings.Builder
	width := t.widths(columns)
	for _, r := range append([][]string{t.head}, t.rows...) {
		var line strings.Builder
		for i, cell := range r {
			cell = clip(cell, width[i])
			line.WriteString(cell)
			line.WriteString(strings.Repeat(" ", width[i]-utf8.RuneCountInString(cell)+gap))
		}
		b.WriteString(strings.TrimRight(line.String(), " ") + "\n")
	}
	if _, err := io.WriteString(w, b.String()); err != nil {
		return fmt.Errorf("writing to stdout: %w", err)
	}
	return nil
}

func (t *table) widths(columns int) []int {
	width := make([]int, len(t.head))
	for _, r := range append([][]string{t.head}, t.rows...) {
		for i, cell := range r {
			width[i] = max(width[i], utf8.RuneCountInString(cell))
		}
	}
	for columns > 0 {
		total, widest := -gap, 0
		for i, w := range width {
			total += w + gap
			if w > width[widest] {
				widest = i
			}
		}
		if total <= columns || width[widest] <= 8 {
			break
		}
		width[widest] -= min(total-columns, width[widest]-8)
		// Shrink step by step, so that two long columns share the loss.
		for i, w := range width {
			if i != widest && w > width[widest] {
				width[widest] = min(width[widest]+(w-width[widest])/2, w)
				break
			}
		}
	}
	return width
}

// clip shortens s to n characters. Control characters, which a peer may have put into a header, are shown as '?'.
func clip(s string, n int) string {
	s = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r == utf8.RuneError {
			return '?'
		}
		return r
	}, s)
	if utf8.RuneCountInString(s) <= n {
		return s
	}
	return string([]rune(s)[:n-1]) + "…"
}

// ago tells a moment in the past in one short word.
func ago(t, now time.Time) string {
	if t.IsZero() {
		return "-"
	}
	return short(now.Sub(t))
}

func short(d time.Duration) string {
	switch d = max(d, 0); {
	case d < time.Second:
		return fmt.Sprintf("%d ms", d.Milliseconds())
	case d < 2*time.Minute:
		return fmt.Sprintf("%d s", int(d.Seconds()))
	case d < 2*time.Hour:
		return fmt.Sprintf("%d min", int(d.Minutes()))
	case d < 48*time.Hour:
		return fmt.Sprintf("%d h", int(d.Hours()))
	}
	return fmt.Sprintf("%d d", int(d.Hours()/24))
}

// orDash shows an empty cell as "-".
func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}
