package cdr

import (
	"bytes"
	"encoding/json"
	"time"

	"holdline/cluster/api"
	"holdline/fsm/pb"
)

// Of is the record as API and files show it.
func Of(c *pb.Cdr) api.CDR {
	return api.CDR{
		Number: c.Number, Call: c.Call, CallID: c.CallId, From: c.FromUri, To: c.ToUri, FromTag: c.FromTag, ToTag: c.ToTag,
		Domain: c.Domain, Caller: c.Caller, Callee: c.Callee, CalleeURI: c.CalleeUri, Home: c.HomeName,
		Created: wall(c.CreatedWallMs), Answered: wall(c.AnsweredWallMs), Ended: wall(c.EndedWallMs),
		SetupMs: c.SetupMs, DurationMs: c.DurationMs, Status: c.Status, Cause: c.Cause, Legs: c.Legs,
	}
}

// wall is the same text on every node, whatever its time zone.
func wall(ms int64) time.Time {
	if ms == 0 {
		return time.Time{}
	}
	return time.UnixMilli(ms).UTC()
}

// appendLine appends a record as one line of JSON.
func appendLine(b *bytes.Buffer, c *pb.Cdr) error {
	e := json.NewEncoder(b) // ends each with a line feed; none is inside
	e.SetEscapeHTML(false)
	return e.Encode(Of(c))
}

// numberOf reads the number of a line; false when it is none of ours.
func numberOf(line []byte) (uint64, bool) {
	var c struct {
		Number uint64 `json:"number"`
	}
	if json.Unmarshal(line, &c) != nil || c.Number == 0 {
		return 0, false
	}
	return c.Number, true
}
