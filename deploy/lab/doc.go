// Package lab rehearses a failure on one machine: a switch, nodes and phones in network namespaces, real
// `holdline serve` processes and real CLI commands, an independent SIP stack as the phones, a fault, and a verdict.
//
// Nothing in here looks inside the product. What a report says was seen from outside: by the phones, by probes sent
// to the VIPs, by a capture on the switch, and by what `holdline status` and `holdline registrations` print.
package lab
