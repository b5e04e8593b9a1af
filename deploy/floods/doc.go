// Package main floods a real `holdline serve` in namespaces of this machine and measures what becomes of those who behave: calls
// completed per second under twice the load that the node can bear, the answer delay of a polite caller during each flood, and
// memory. `make floods`; a short form runs with the tests. Every flood is bounded in time and count and cannot leave the namespaces.
package main
