package api

import (
	"context"
	"net/http"
)

// cdrOps are about calls that are over, and numbers of those that are not.
func (s *server) cdrOps() {
	register(s, op{id: "count-calls", method: http.MethodGet, path: "/calls/counts", summary: "Calls per domain, pool member and user"}, "live", nil,
		func(ctx context.Context, _ *none) (*body[CallCounts], error) { return answer(s.b.CountCalls(ctx)) })
	register(s, op{
		id: "list-cdrs", method: http.MethodGet, path: "/cdrs", summary: "Call detail records, in order, without a hole",
		details: "Give the answer's next as since to go on. A consumer may instead leave its cursor with the cluster: see acknowledge-cdrs.",
	}, "cdr", nil,
		func(ctx context.Context, r *struct {
			Since    uint64 `query:"since" doc:"those after this number"`
			Latest   bool   `query:"latest" doc:"the last ones instead"`
			Consumer string `query:"consumer" doc:"those after this consumer's cursor instead" maxLength:"253"`
			Limit    int    `query:"limit" doc:"at most so many; 0 = as many as one answer holds" minimum:"0" maximum:"10000"`
			Wait     int    `query:"wait" doc:"seconds to wait for one when there is none" minimum:"0" maximum:"5"`
		},
		) (*body[CDRs], error) {
			c, err := s.b.ListCDRs(ctx, CDRFilter{Since: r.Since, Latest: r.Latest, Consumer: r.Consumer, Limit: r.Limit, WaitS: r.Wait})
			if c.CDRs == nil {
				c.CDRs = []CDR{}
			}
			return answer(c, err)
		})
	register(s, op{
		id: "acknowledge-cdrs", method: http.MethodPut, path: "/cdr-consumers/{name}", summary: "A consumer has taken the CDRs up to a number",
		details: "Makes the consumer if there is none of this name. CDRs are kept until every consumer and node has taken them, within cdr.max-rows and cdr.retention.",
	}, "cdr", nil,
		func(ctx context.Context, r *struct {
			Name string `path:"name" maxLength:"253"`
			Body struct {
				UpTo uint64 `json:"up_to"`
			}
		},
		) (*none, error) {
			return done(s.b.AcknowledgeCDRs(ctx, r.Name, r.Body.UpTo))
		})
	register(s, op{id: "remove-cdr-consumer", method: http.MethodDelete, path: "/cdr-consumers/{name}", summary: "Forget a consumer of CDRs: none are kept for it"}, "cdr", nil,
		func(ctx context.Context, r *struct {
			Name string `path:"name" maxLength:"253"`
		},
		) (*none, error) {
			return done(s.b.RemoveCDRConsumer(ctx, r.Name))
		})
}
