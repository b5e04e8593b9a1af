// Package vip moves virtual addresses between nodes: it holds the guard, a small process of its own that owns
// addresses under majority leases (package lease), and the client with which the SIP core talks to it.
//
// The guard (RunGuard, the body of "holdline guard") runs the lease core, sends and hears heartbeats, puts
// addresses on interfaces and takes them off, tells the network by gratuitous ARP and unsolicited neighbour
// advertisements, watches carrier, and keeps the kernel fence: an nftables egress hook that drops what a node
// would send from a virtual address whose lease has run out, whatever state guard and core are in.
//
// The core (Client) pushes its configuration, hears what was acquired and lost, and asks on its hot path whether
// a lease is held now: an answer from shared memory, without a system call.
//
// A guard and its core meet in a run directory: guard.sock, guard.shm and guard.lock. What the guard must
// remember over a restart (config epoch, voters) is guard.json in the data directory.
package vip
