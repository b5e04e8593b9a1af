package proxy

import "sync/atomic"

// Stats counts what the proxy does, over all shards. Safe for concurrent use.
type Stats struct {
	Requests            atomic.Uint64
	Responses           atomic.Uint64
	Retransmissions     atomic.Uint64
	Calls               atomic.Uint64
	Refused             atomic.Uint64
	Challenged          atomic.Uint64
	WrongCredentials    atomic.Uint64
	Overload            atomic.Uint64
	TurnedAway          atomic.Uint64
	Ignored             atomic.Uint64
	Unreplicated        atomic.Uint64
	Behind              atomic.Int64 // calls of which something is not in the replicated table yet
	BehindBytes         atomic.Int64 // what is kept of them
	CaughtUp            atomic.Uint64
	NotCaughtUp         atomic.Uint64
	Stale               atomic.Uint64
	DroppedTransactions atomic.Uint64
	DroppedNegative     atomic.Uint64
	StatelessResponses  atomic.Uint64
	StrayResponses      atomic.Uint64
	StrayAcks           atomic.Uint64
	Unroutable          atomic.Uint64
	GatewaysSilent      atomic.Uint64
	Probes              atomic.Uint64
	Registers           atomic.Uint64
	OtherFlows          atomic.Uint64
	Unreachable         atomic.Uint64
	HangUps             atomic.Uint64
	Waited              atomic.Uint64
	WaitedInVain        atomic.Uint64
	WaitsRefused        atomic.Uint64
	Followed            atomic.Uint64
	KeptOff             atomic.Uint64
	Redirects           atomic.Uint64
	WrongAccount        atomic.Uint64
	OverLimit           atomic.Uint64
}

// Each calls fn for each counter with a name and an explanation fit for metrics.
func (s *Stats) Each(fn func(name, help string, value uint64)) {
	fn("requests", "SIP requests handled", s.Requests.Load())
	fn("responses", "SIP responses handled", s.Responses.Load())
	fn("retransmissions", "messages absorbed as retransmissions", s.Retransmissions.Load())
	fn("calls", "INVITEs that began a call", s.Calls.Load())
	fn("refused", "requests answered with 3xx to 6xx by this node itself, but for ordinary challenges and calls that are on record", s.Refused.Load())
	fn("challenged", "requests answered with 401 or 407 by this node for lack of credentials, or because their nonce is old, as is ordinary", s.Challenged.Load())
	fn("wrong_credentials", "requests answered with 401 or 407 by this node because their credentials are wrong; they are among the refused", s.WrongCredentials.Load())
	fn("overload", "requests refused with 503 for lack of room for transactions", s.Overload.Load())
	fn("turned_away", "new requests refused with 503 because more come than can be served", s.TurnedAway.Load())
	fn("ignored", "new requests left unanswered because more come than can be answered", s.Ignored.Load())
	fn("unreplicated", "steps of calls that went on without a commit: no raft leader", s.Unreplicated.Load())
	fn("caught_up_calls", "calls entered in the replicated table after the fact", s.CaughtUp.Load())
	fn("not_caught_up_calls", "times that something of a call will never be in the replicated table: no room to keep it, or refused", s.NotCaughtUp.Load())
	fn("stale_transactions", "transactions dropped because another node owns their VIP group", s.Stale.Load())
	fn("lost_transactions", "transactions dropped with a VIP group that this node lost", s.DroppedTransactions.Load())
	fn("withheld_answers", "negative answers withheld shortly after a takeover", s.DroppedNegative.Load())
	fn("stateless_responses", "responses of another owner's transactions, relayed by their branch", s.StatelessResponses.Load())
	fn("stray_responses", "responses dropped: their branch is unknown or forged", s.StrayResponses.Load())
	fn("stray_acks", "ACKs dropped: they belong to nothing", s.StrayAcks.Load())
	fn("silent_gateways", "attempts that a pool member left unanswered", s.GatewaysSilent.Load())
	fn("gateway_probes", "OPTIONS sent to pool members to see whether they are there", s.Probes.Load())
	fn("gateway_registers", "REGISTERs sent to pool members, with those that answer a challenge", s.Registers.Load())
	fn("other_flows", "requests sent over another flow of a phone because one had failed (RFC 5626)", s.OtherFlows.Load())
	fn("unreachable", "attempts given up because of an ICMP error about them", s.Unreachable.Load())
	fn("hang_ups", "calls ended by this node: session timer, maximum duration, or an operator", s.HangUps.Load())
	fn("waited", "requests that waited for a phone without a connection to register again", s.Waited.Load())
	fn("waited_in_vain", "requests that ended because their phone did not register again in time", s.WaitedInVain.Load())
	fn("waits_refused", "requests that could not wait for a phone to register again: too many did", s.WaitsRefused.Load())
	fn("followed", "requests sent over another connection than their phone had had", s.Followed.Load())
	fn("kept_off", "requests not sent on to a gateway: of dialogs in which that side is none, ACKs too, and of users by a Route or Path of their own", s.KeptOff.Load())
	fn("redirects", "calls sent on by the phone that was called (302), and followed", s.Redirects.Load())
	fn("wrong_account", "challenges of gateways that their account's password did not answer", s.WrongAccount.Load())
	fn("over_limit", "calls refused because the user who calls, or whose phone has sent them on, makes as many as he may at once", s.OverLimit.Load())
	fn("unroutable", "ACKs dropped: their next hop cannot be read", s.Unroutable.Load())
}
