// Package lease decides which node owns a VIP group: majority leases in the manner of PaxosLease, kept in memory only.
//
// Core is pure. It has no socket, no clock, no goroutine and no randomness but the seed it is given: the caller (the
// guard) feeds it packets, times and orders, and carries out the actions that come back, in order and at once. Times
// are int64 nanoseconds of CLOCK_MONOTONIC_RAW of the calling node; they never travel between nodes.
//
// Promise: at any instant at most one node holds a group. DESIGN.md beside this file has the rules and the argument.
package lease
