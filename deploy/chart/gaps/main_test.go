package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestPictureAndTable(t *testing.T) {
	dir := t.TempDir()
	one, two, svg := filepath.Join(dir, "1.json"), filepath.Join(dir, "2.json"), filepath.Join(dir, "gaps.svg")
	for file, text := range map[string]string{
		one: `{"rounds":[{"fault":"cable","vips":[{"hit":true,"gap_ms":71},{"hit":false,"gap_ms":9}]},{"fault":"cable-flapping","vips":[{"hit":true,"gap_ms":80}]}]}`,
		two: `{"rounds":[{"fault":"cable","vips":[{"hit":true,"gap_ms":69}]},{"fault":"freeze-serve-1s","vips":[{"hit":true,"gap_ms":456}]}]}`,
	} {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	var out strings.Builder
	if err := run([]string{"-out", svg, one, two}, &out); err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(out.String()), "\n")
	want := []string{"`cable` 2 69 ms 71 ms 71 ms", "`cable-flapping` 1 80 ms 80 ms 80 ms", "`freeze-serve-1s` 1 456 ms 456 ms 456 ms"}
	for i, line := range lines[2:] {
		if got := strings.Join(strings.Fields(strings.ReplaceAll(line, "|", " ")), " "); i >= len(want) || got != want[i] {
			t.Errorf("line %d: %s", i, got)
		}
	}
	image, err := os.ReadFile(svg)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"4 gaps in 4 rounds", "partition (2)", "flapping (1)", "freeze-serve (1)"} {
		if !strings.Contains(string(image), name) {
			t.Errorf("the picture does not say %q", name)
		}
	}
	if err := run([]string{"-out", svg, filepath.Join(dir, "none.json")}, &out); err == nil {
		t.Error("a report that is not there is no error")
	}
}
