package api

import (
	"context"
	"io"
	"net/http"
	"reflect"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"
)

var errorType = reflect.TypeFor[Error]()

// How long operations may take that move groups, fill a log or measure a network.
const (
	initTime   = 60 * time.Second
	joinTime   = 2 * time.Minute
	moveTime   = 30 * time.Second
	doctorTime = time.Minute
	backupTime = 10 * time.Minute
)

// clusterOps are init, join, tokens, nodes and what tells about them.
func (s *server) clusterOps() {
	const tag = "cluster"
	register(s, op{id: "version", method: http.MethodGet, path: "/version", summary: "Version of the daemon"}, tag, nil,
		func(ctx context.Context, _ *none) (*body[Version], error) { return answer(s.b.Version(ctx)) })
	register(s, op{id: "status", method: http.MethodGet, path: "/status", summary: "High availability, nodes, VIPs and raft, as this node sees them"}, tag, nil,
		func(ctx context.Context, _ *none) (*body[Status], error) {
			st, err := s.b.Status(ctx)
			if st.Nodes == nil {
				st.Nodes = []Node{}
			}
			if st.VIPs == nil {
				st.VIPs = []Group{}
			}
			return answer(st, err)
		})
	register(s, op{id: "doctor", method: http.MethodGet, path: "/doctor", summary: "Measure what the cluster depends on and advise", timeout: doctorTime}, tag, nil,
		func(ctx context.Context, _ *none) (*body[[]Check], error) { return list(s.b.Doctor(ctx)) })
	register(s, op{
		id: "init", method: http.MethodPost, path: "/init", summary: "Make this node the first of a new cluster", timeout: initTime,
		details: "Answers when the node leads and its VIP groups are recorded. On error nothing was changed.",
	}, tag, func(r *request[InitRequest]) error { return r.Body.Validate() },
		func(ctx context.Context, r *request[InitRequest]) (*body[InitAnswer], error) {
			return answer(s.b.Init(ctx, r.Body))
		})
	register(s, op{
		id: "join", method: http.MethodPost, path: "/join", summary: "Make this node a member of a cluster", timeout: joinTime,
		details: "Answers when the node has caught up: as voter, or as the second of two, which waits for a third. The same request again is harmless.",
	}, tag, func(r *request[JoinRequest]) error { return r.Body.Validate() },
		func(ctx context.Context, r *request[JoinRequest]) (*body[JoinAnswer], error) {
			return answer(s.b.Join(ctx, r.Body))
		})
	register(s, op{id: "create-token", method: http.MethodPost, path: "/tokens", summary: "Make a one-use join token"}, tag,
		func(r *request[TokenRequest]) error { return r.Body.Validate() },
		func(ctx context.Context, r *request[TokenRequest]) (*body[Token], error) {
			return answer(s.b.CreateToken(ctx, r.Body))
		})
	register(s, op{
		id: "leave", method: http.MethodPost, path: "/leave", summary: "Take this node out of the cluster", timeout: joinTime,
		details: "Its groups move to other nodes first; then its membership and its identity are removed. A node that reaches no majority is not let go by the others: " +
			"by force it forgets its identity and data alone, unless one of them counts on it.",
	}, tag, nil, func(ctx context.Context, r *request[LeaveRequest]) (*body[LeaveAnswer], error) {
		return answer(s.b.Leave(ctx, r.Body))
	})
	register(s, op{
		id: "recover", method: http.MethodPost, path: "/recover", summary: "Make this node the only one: the majority is lost for good", timeout: initTime,
		details: "Refused while anything is heard of the other nodes. They are taken out of the cluster; new ones join afterwards.",
	}, tag, nil, func(ctx context.Context, r *request[RecoverRequest]) (*none, error) {
		return done(s.b.Recover(ctx, r.Body))
	})
	register(s, op{
		id: "finish-upgrade", method: http.MethodPost, path: "/upgrade/finish", summary: "Raise the feature level: every node runs the new release",
		details: "Refused, naming the node, while one runs a release that does not know the level. There is no way back to the old release afterwards.",
	}, tag, nil, func(ctx context.Context, _ *none) (*body[Upgrade], error) { return answer(s.b.FinishUpgrade(ctx)) })
	s.nodeOps(tag)
	s.backupOp(tag)
	s.restoreOp(tag)
}

func (s *server) nodeOps(tag string) {
	register(s, op{id: "list-nodes", method: http.MethodGet, path: "/nodes", summary: "Members"}, tag, nil,
		func(ctx context.Context, _ *none) (*body[[]Node], error) { return list(s.b.ListNodes(ctx)) })
	register(s, op{id: "remove-node", method: http.MethodDelete, path: "/nodes/{node}", summary: "Remove a dead member for good", timeout: moveTime}, tag, nil,
		func(ctx context.Context, r *struct {
			Node  string `path:"node" doc:"name or UUID of the node" maxLength:"128"`
			Force bool   `query:"force" doc:"also a node that is alive"`
		},
		) (*none, error) {
			return done(s.b.RemoveNode(ctx, r.Node, RemoveNodeRequest{Force: r.Force}))
		})
	register(s, op{
		id: "drain-node", method: http.MethodPut, path: "/nodes/{node}/draining", summary: "Move a node's groups away and keep it from owning, or end that", timeout: moveTime,
		details: "The node '-' is the one that answers.",
	}, tag, nil, func(ctx context.Context, r *struct {
		Node string `path:"node" doc:"name or UUID of the node, or -" maxLength:"128"`
		Body DrainRequest
	},
	) (*none, error) {
		if r.Node == self {
			r.Node = ""
		}
		return done(s.b.SetDraining(ctx, r.Node, r.Body.Draining))
	})
}

// self stands for the answering node in a path, which cannot have an empty segment.
const self = "-"

// backupOp streams a snapshot. An error after the first byte can only be shown by breaking the answer off.
func (s *server) backupOp(tag string) {
	huma.Register(s.api, huma.Operation{
		OperationID: "backup", Method: http.MethodGet, Path: "/v1/backup", Tags: []string{tag},
		Summary: "Snapshot of the replicated state",
		Responses: map[string]*huma.Response{"200": {
			Description: "The snapshot", Content: map[string]*huma.MediaType{"application/octet-stream": {Schema: &huma.Schema{Type: "string", Format: "binary"}}},
		}},
	}, func(context.Context, *none) (*huma.StreamResponse, error) {
		return &huma.StreamResponse{Body: func(hc huma.Context) {
			ctx, cancel := context.WithTimeout(hc.Context(), backupTime)
			defer cancel()
			// The state is kept as it was until all of it is written: a client that reads no more must not hold it for ever.
			_, rw := humago.Unwrap(hc)
			if err := http.NewResponseController(rw).SetWriteDeadline(time.Now().Add(backupTime)); err != nil {
				s.log.Warn("backup without a deadline", "err", err)
			}
			w := &startedWriter{hc: hc}
			err := s.b.Backup(ctx, w)
			switch {
			case err == nil && !w.started:
				_, _ = w.Write(nil)
			case err != nil && !w.started:
				e := asError(err)
				hc.SetHeader("Content-Type", e.ContentType(""))
				hc.SetStatus(e.Status)
				if err := s.api.Marshal(hc.BodyWriter(), "application/json", e); err != nil {
					s.log.Warn("admin answer not written", "op", "backup", "err", err)
				}
			case err != nil:
				s.log.Warn("backup broken off", "err", err)
				panic(http.ErrAbortHandler)
			}
		}}, nil
	})
}

// restoreOp takes a backup as the body of the request, of any length.
func (s *server) restoreOp(tag string) {
	huma.Register(s.api, huma.Operation{
		OperationID: "restore", Method: http.MethodPost, Path: "/v1/restore", Tags: []string{tag},
		Summary:     "Replace domains, users, pools, routes, certificates and settings by those of a backup",
		Description: "Whole or not at all, on the raft leader. Nodes, VIP groups, keys, calls and the registrations of users in both stay. Certificates of another cluster cannot be opened: the notes name their domains.",
		RequestBody: &huma.RequestBody{Required: true, Content: map[string]*huma.MediaType{
			"application/octet-stream": {Schema: &huma.Schema{Type: "string", Format: "binary"}},
		}},
		Responses: map[string]*huma.Response{"200": {
			Description: "What was restored",
			Content: map[string]*huma.MediaType{"application/json": {
				Schema: s.api.OpenAPI().Components.Schemas.Schema(reflect.TypeFor[RestoreAnswer](), true, "RestoreAnswer"),
			}},
		}},
	}, func(_ context.Context, r *struct {
		Force bool `query:"force" doc:"also when the cluster has domains or pools: they are replaced"`
	},
	) (*huma.StreamResponse, error) {
		return &huma.StreamResponse{Body: func(hc huma.Context) {
			ctx, cancel := context.WithTimeout(hc.Context(), backupTime)
			defer cancel()
			start := time.Now()
			out, err := s.b.Restore(ctx, hc.BodyReader(), RestoreRequest{Force: r.Force})
			var v any = out
			hc.SetHeader("Content-Type", "application/json")
			if err != nil {
				e := asError(err)
				hc.SetHeader("Content-Type", e.ContentType(""))
				hc.SetStatus(e.Status)
				v = e
				s.log.Log(ctx, failureLevel(e.Code), "admin operation failed", "op", "restore", "code", e.Code, "err", e.Message, "took", time.Since(start))
			} else {
				hc.SetStatus(http.StatusOK)
				s.log.Info("admin operation", "op", "restore", "took", time.Since(start), "uid", callerUID(ctx))
			}
			if err := s.api.Marshal(hc.BodyWriter(), "application/json", v); err != nil {
				s.log.Warn("admin answer not written", "op", "restore", "err", err)
			}
		}}, nil
	})
}

// startedWriter sends the header of a good answer with the first byte.
type startedWriter struct {
	hc      huma.Context
	w       io.Writer
	started bool
}

func (w *startedWriter) Write(p []byte) (int, error) {
	if !w.started {
		w.started = true
		w.hc.SetHeader("Content-Type", "application/octet-stream")
		w.hc.SetStatus(http.StatusOK)
		w.w = w.hc.BodyWriter()
	}
	return w.w.Write(p)
}
