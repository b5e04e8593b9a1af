// Package broken names the rules of the lease protocol that a test can take out, to show that the simulator would
// notice. Only packages below vip/lease can name them; production code leaves the set empty.
package broken

// Rules is a set of rules that are taken out.
type Rules uint32

// The rules that can be taken out, each named for the fault that results.
const (
	NoMute           Rules = 1 << iota // a restarted node grants and asks at once
	AnyBallot                          // a requester counts grants of its earlier ballots
	AnyOrder                           // ballots need not rise: neither requesters nor grantors look at those seen before
	CountFromReceipt                   // the owner counts from the receipt of the grant, not from sending the request
	AnyEpoch                           // neither grantor nor requester looks at the config epoch
	StaleEcho                          // a grantor renews though the requester may be deaf
	GrantTwice                         // a grantor grants while its promise to another runs
	AnyIncarnation                     // packets of and for earlier incarnations are taken in
	AnySequence                        // packets are taken in again and out of order
	WholeGrant                         // the owner counts the whole grant, not 0.8 of it
	SmallMajority                      // one grant fewer than a majority is enough
	UnnamedRelease                     // a release gives up whatever its sender was granted, not the ballot it names
	IgnoreSuspend                      // sleeping is not noticed
	ShortenPromise                     // a shorter request shortens a promise given for a longer one
	LapseUnnoticed                     // the owner does not stop when its lease has run out
	KeepAfterRelease                   // the owner releases before it has stopped
)

// Has says whether a rule is taken out.
func (r Rules) Has(rule Rules) bool { return r&rule != 0 }
