package main

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// advice is a command that a message tells the operator to run: in backquotes, or after a colon or an opening parenthesis.
var advice = regexp.MustCompile("(?:`|: |\\()holdline ((?:[a-z]+ ?)+(?:--[a-z-]+)?)")

// TestAdviceExists checks that whatever our messages tell an operator to run can be run.
func TestAdviceExists(t *testing.T) {
	found := 0
	err := filepath.WalkDir("../..", func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.IsDir() && d.Name() == ".git" {
			return fs.SkipDir
		}
		if err != nil || d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return err
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		for i, line := range strings.Split(string(text), "\n") {
			if strings.HasPrefix(strings.TrimSpace(line), "//") || !strings.ContainsAny(line, "\"`") {
				continue
			}
			for _, m := range advice.FindAllStringSubmatch(line, -1) {
				found++
				if err := exists(m[1]); err != nil {
					t.Errorf("%s:%d: holdline %s: %v", path, i+1, m[1], err)
				}
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if found < 20 {
		t.Errorf("only %d commands found in messages: does the test still see them?", found)
	}
}

// exists accepts words after the command, since a sentence may go on there; a flag must be one of the command's.
func exists(words string) error {
	root := (&app{}).rootCmd()
	c, rest, err := root.Find(strings.Fields(words))
	if err != nil {
		return err
	}
	if c == root {
		return helpOrUnknown(c, strings.Fields(words))
	}
	if n := len(rest); n > 0 && strings.HasPrefix(rest[n-1], "--") {
		if c.Flags().Lookup(rest[n-1][2:]) == nil && c.InheritedFlags().Lookup(rest[n-1][2:]) == nil {
			return &usageError{"no flag " + rest[n-1]}
		}
	}
	return nil
}
