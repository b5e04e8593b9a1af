package lease_test

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"holdline/vip/lease/sim"
)

var rewrite = flag.Bool("rewrite", false, "write the transcripts in testdata anew")

// TestTranscripts plays the files in testdata: commands (see sim.Script), a line of dashes, and what came of them up to
// the next empty line. Read them as documentation.
func TestTranscripts(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no transcripts: %v", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			want, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			got := play(t, string(want))
			if *rewrite {
				if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			if got != string(want) {
				t.Errorf("%s has come out otherwise (go test -run TestTranscripts -rewrite accepts it):\n%s", file, got)
			}
			if strings.Contains(got, "VIOLATION") {
				t.Errorf("%s violates the protocol", file)
			}
		})
	}
}

// play returns the transcript with what comes of its commands now.
func play(t *testing.T, text string) string {
	var script sim.Script
	var out strings.Builder
	expected := false // in the lines to be replaced
	var came strings.Builder
	for line := range strings.Lines(text) {
		line = strings.TrimRight(line, "\n")
		switch {
		case line == "----":
			expected = true
			out.WriteString("----\n" + came.String())
			came.Reset()
		case line == "":
			expected = false
			out.WriteString("\n")
		case expected:
		case strings.HasPrefix(line, "#"):
			out.WriteString(line + "\n")
		default:
			out.WriteString(line + "\n")
			result, err := script.Do(line)
			if err != nil {
				t.Fatal(err)
			}
			came.WriteString(result)
		}
	}
	return out.String()
}
