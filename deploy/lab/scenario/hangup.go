package scenario

import (
	"context"
	"time"

	"github.com/emiago/sipgo/sip"

	"holdline/deploy/lab/phone"
)

// hangUpTime bounds the end of a call that goes no further.
const hangUpTime = 5 * time.Second

// hangUp ends a call in whatever state it is. What does not come of it is nobody's loss: the call is lost or broken off already.
func (c *call) hangUp(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, hangUpTime)
	defer cancel()
	switch {
	case c.a != nil:
		bye(ctx, c.a, c.b)
	case c.b != nil: // answered, and the caller does not know
		bye(ctx, c.b, nil)
	case c.server != nil: // rings
		c.server.Respond(480, "Temporarily Unavailable")
		if c.client != nil {
			_, _ = c.client.Final(ctx)
		}
	}
}

// bye ends a dialog from one side; to, if not nil, answers at the other, with whatever else waits there.
func bye(ctx context.Context, from, to *phone.Dialog) {
	client, err := from.Send(sip.BYE)
	if err != nil {
		return
	}
	for to != nil {
		server, err := to.Incoming(ctx)
		if err != nil {
			break
		}
		server.Respond(200, "OK")
		if server.Request.Method == sip.BYE {
			break
		}
	}
	_, _ = client.Final(ctx)
}
