// Command bench drives Holdline and Kamailio with the same sipp scenarios, in turns and in one run, on a switch made of
// network namespaces, and prints what a call costs each of them. It needs root, Debian's sip-tester and kamailio.
//
// A figure is CPU time of every process in the system's boxes (from /proc) divided by the calls that were completed. The
// machine's noise is met by pairing: each case runs both systems one after the other, several rounds, and the ratio is the median over
// rounds. A round is refused, and said to be, when the generator did not reach the asked rate while the machine had no idle time
// left: such a figure would say something about sipp.
package main
