// Package faults holds the transcripts of the fault suite and plays them: each says which messages the phones of a call send and
// await, and at which of them the fault comes. A transcript reads:
//
//	# What this is about.
//	to: user
//	faults: boundary
//
//	call rings
//	fault when callee sends 200
//	callee sends 200
//	caller receives 200
//	caller sends ACK
//	callee receives ACK
//
// `to:` is user (a registered phone), gateway, pair (a pool of two gateways), diverted (a phone whose 302 names another user) or registrar (no call). `faults:` names what
// befalls the node: a set or single faults; the lab knows them. The other lines are steps, in order: one message sent, or one
// awaited, each with the patience of a phone. `call rings` and `call stands` are the usual steps to that state. `fault when
// PHONE sends|receives MESSAGE` arms the fault: it comes at that message, right after it was sent or right before the phone acts
// on it. A message is a method, or a status as in `180` or `200 to BYE`; `with credentials` tells a request from the one that
// was challenged. `operator moves the VIP` is a planned move of the address that the fault has moved.
package faults
