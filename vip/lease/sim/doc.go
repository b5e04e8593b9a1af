// Package sim runs whole clusters of lease cores in virtual time, deterministically from a seed: clocks of differing rates,
// a network that delays, loses, duplicates, reorders and replays, cuts in one or both directions, frozen and
// restarted processes, sleeping machines, changes of voters and profile, planned moves. It models the kernel fence and
// watches two things: no two nodes ever have the fence open for the same group at the same true time (safety), and
// once a majority is connected and quiet every group has an owner within a bound (liveness).
package sim
