package api

import (
	"net/http"
	"net/http/pprof"
)

// addProfiles serves the runtime's profiles as net/http/pprof does. For those who may use the admin socket only: a profile tells what a
// node is doing, and taking one costs it some speed. docs/performance.md shows how to read them.
func addProfiles(mux *http.ServeMux) {
	mux.HandleFunc("GET /debug/pprof/", pprof.Index) // heap, allocs, goroutine, mutex, …
	mux.HandleFunc("GET /debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("GET /debug/pprof/trace", pprof.Trace)
}
