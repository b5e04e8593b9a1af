package main

import (
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
)

// The scripts run the real command line; a script of its own process per command, as in a shell.
func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"holdline": main})
}

func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir: "testdata/script",
		Setup: func(e *testscript.Env) error {
			e.Setenv("HOLDLINE_SOCKET", e.WorkDir+"/run/s")
			return nil
		},
		RequireExplicitExec: false,
	})
}
