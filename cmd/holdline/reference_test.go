package main

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/cobra/doc"
)

//go:generate go test . -run TestReferenceIsCurrent -update

var update = flag.Bool("update", false, "write docs/cli anew")

const referenceDir = "../../docs/cli"

// TestReferenceIsCurrent keeps docs/cli equal to what the commands say of themselves.
func TestReferenceIsCurrent(t *testing.T) {
	want := reference(t)
	have, err := os.ReadDir(referenceDir)
	if err != nil && !*update {
		t.Fatal(err)
	}
	for _, f := range have {
		if _, ok := want[f.Name()]; ok {
			continue
		}
		if !*update {
			t.Errorf("docs/cli/%s is of no command: run `make docs`", f.Name())
		} else if err := os.Remove(filepath.Join(referenceDir, f.Name())); err != nil {
			t.Fatal(err)
		}
	}
	for name, text := range want {
		path := filepath.Join(referenceDir, name)
		if *update {
			if err := os.MkdirAll(referenceDir, 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		got, err := os.ReadFile(path)
		if err != nil || string(got) != text {
			t.Errorf("docs/cli/%s is not what the command says: run `make docs` (%v)", name, err)
		}
	}
}

// reference is a page per top-level command, with its subcommands below it, and an index.
func reference(t *testing.T) map[string]string {
	root := (&app{}).rootCmd()
	root.InitDefaultHelpFlag()
	pages := map[string]string{}
	index := bytes.NewBufferString("# Command line reference\n\nGenerated from the commands themselves (`make docs`); `holdline COMMAND --help` says the same.\n")
	fmt.Fprintf(index, "\nEvery command takes `--socket PATH` (the daemon's admin socket; else `$HOLDLINE_SOCKET`, else what the configuration file says) and\n`--config FILE`. Every command that reads takes `--json`.\n")
	fmt.Fprintf(index, "\nExit codes: 0 done; 1 the operation did not happen, or a check failed; 2 the command line is wrong; 3 `status` only: HA is not \"yes\".\nAn error is one line on stderr: what is wrong, then what to do.\n\n| Command | What it does |\n|---|---|\n")
	for _, c := range root.Commands() {
		if !documented(c) {
			continue
		}
		var b bytes.Buffer
		page(t, &b, c)
		name := c.Name() + ".md"
		pages[name] = strings.TrimSpace(b.String()) + "\n"
		line(index, c, name)
	}
	pages["README.md"] = index.String()
	return pages
}

// documented leaves out what cobra adds by itself.
func documented(c *cobra.Command) bool {
	return !c.Hidden && c.Name() != "help" && c.Name() != "completion"
}

func line(index *bytes.Buffer, c *cobra.Command, page string) {
	if c.HasAvailableSubCommands() {
		for _, sub := range c.Commands() {
			if documented(sub) {
				line(index, sub, page)
			}
		}
		return
	}
	fmt.Fprintf(index, "| [`%s`](%s#%s) | %s |\n", c.CommandPath(), page, strings.ReplaceAll(c.CommandPath(), " ", "-"), c.Short)
}

func page(t *testing.T, b *bytes.Buffer, c *cobra.Command) {
	c.DisableAutoGenTag = true
	var one bytes.Buffer
	if err := doc.GenMarkdown(c, &one); err != nil {
		t.Fatal(err)
	}
	text, _, _ := strings.Cut(one.String(), "\n### SEE ALSO")
	text, _, _ = strings.Cut(text, "\n### Options inherited")
	b.WriteString(strings.TrimSpace(text) + "\n\n")
	for _, sub := range c.Commands() {
		if documented(sub) {
			page(t, b, sub)
		}
	}
}
