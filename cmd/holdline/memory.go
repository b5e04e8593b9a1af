package main

import (
	"log/slog"

	"github.com/KimMachineGun/automemlimit/memlimit"
)

// memoryShare is how much of the memory of its control group, or else of the machine, the daemon may have. The kernel's buffers, the page cache of the log and the
// guard need the rest.
const memoryShare = 0.75

// limitMemory tells the runtime how much memory there is, unless GOMEMLIMIT does. The heap may grow to twice what lives on it only as far as that goes; beyond, it is
// collected more often. The SIP core makes room for transactions by it (sipcore/room.go). Where it cannot be found out there is no limit.
func limitMemory(log *slog.Logger) {
	limit, err := memlimit.Set(
		memlimit.WithRatio(memoryShare), memlimit.WithProvider(memlimit.ApplyFallback(memlimit.FromCgroup, memlimit.FromSystem)))
	if err != nil {
		log.Warn("goes on without a limit to its memory: set GOMEMLIMIT", "err", err)
		return
	}
	log.Info("memory limited", "bytes", limit)
}
