package main

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"holdline/deploy/lab/userns"
)

// In the scripts `holdline` is this test binary as a process of its own, as in a shell.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == "guard" {
		main() // serve starts its guard by its own executable, whose name is the test binary's
	}
	if filepath.Base(os.Args[0]) != "holdline" {
		userns.ForTests()
	}
	testscript.Main(m, map[string]func(){"holdline": main})
}

// TestScripts are about command lines that need no cluster.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir: "testdata/script",
		Setup: func(e *testscript.Env) error {
			e.Setenv("HOLDLINE_SOCKET", e.WorkDir+"/run/s")
			return nil
		},
	})
}

// TestClusterScripts run real daemons with real guards, each in a box of its own on a switch.
func TestClusterScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:  "testdata/cluster",
		Cmds: boxCommands(),
		Setup: func(e *testscript.Env) error {
			b, err := newBoxes(e.WorkDir)
			if err != nil {
				return err
			}
			e.Values[boxesKey{}] = b
			e.Defer(func() { b.close(e.T()) })
			// The first box is whom commands talk to unless they say otherwise.
			e.Setenv("HOLDLINE_SOCKET", b.socket("n1"))
			for _, n := range boxNames {
				e.Setenv("SOCKET_"+n, b.socket(n))
			}
			return nil
		},
	})
}
