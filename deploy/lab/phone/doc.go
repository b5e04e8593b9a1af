// Package phone is the lab's SIP phone. Messages are read and written by sipgo: another SIP stack than the one under test.
//
// sipgo's own transaction layer is not used. It handles each message in a goroutine of its own, so that a 180 followed at once by a
// 200 arrives in either order or not at all, and its timers differ from the RFC; a phone that is to say whether a call
// was lost must not lose messages itself. So the transactions here are the phone's own, after RFC 3261 §17 and RFC 6026, each socket's
// messages handled in the order in which they came.
package phone
