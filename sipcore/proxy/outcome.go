package proxy

import "errors"

// What Committed may be told of a command that makes a call's record. Any other error says that it was not applied and will not be.
var (
	// ErrUndecided says that it may still be applied, or has been and this node does not know yet: Decided tells.
	ErrUndecided = errors.New("it may still be committed")
	// ErrUnknown says that nobody will ever know whether it was applied.
	ErrUnknown = errors.New("the outcome of this write is unknown")
)
