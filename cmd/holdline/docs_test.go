package main

import (
	"os"
	"regexp"
	"strings"
	"testing"
)

// prompt is what stands before a command in the docs: "box1# ", "# ", or an echo piped into it.
var prompt = regexp.MustCompile(`^(?:[a-z0-9]*# |echo .* \| )?(holdline .*)$`)

// TestSnippetsParse checks every command line that the docs show: that the command exists, takes the flags, and gets the arguments it needs.
func TestSnippetsParse(t *testing.T) {
	total := 0
	for _, name := range []string{"../../README.md", "../../docs/install.md", "../../docs/operate.md"} {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		fenced := false
		for i, line := range strings.Split(string(text), "\n") {
			if strings.HasPrefix(line, "```") {
				fenced = !fenced
			}
			m := prompt.FindStringSubmatch(strings.TrimSpace(line))
			if !fenced || m == nil {
				continue
			}
			total++
			if err := parses(m[1]); err != nil {
				t.Errorf("%s:%d: %s: %v", name, i+1, m[1], err)
			}
		}
	}
	if total < 20 {
		t.Errorf("only %d snippets found: is the docs' form still what this test reads?", total)
	}
}

func parses(line string) error {
	line, _, _ = strings.Cut(line, " #")
	words := strings.Fields(strings.NewReplacer("''", "\x00").Replace(line))[1:]
	for i := range words {
		words[i] = strings.ReplaceAll(words[i], "\x00", "")
	}
	root := (&app{}).rootCmd()
	c, rest, err := root.Find(words)
	if err != nil {
		return err
	}
	if err := c.ParseFlags(rest); err != nil {
		return err
	}
	args := c.Flags().Args()
	if nothing := append(args, "(nothing)"); c.HasSubCommands() && c.ValidateArgs(nothing) == nil { // one that does nothing by itself takes any, to say so
		return helpOrUnknown(c, nothing)
	}
	return c.ValidateArgs(args)
}
