package api

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"
)

// ServerOptions are what the HTTP handler needs.
type ServerOptions struct {
	Backend Backend
	Metrics http.Handler // served at /metrics; nil: not found
	Logger  *slog.Logger // nil: slog.Default()
}

// server holds what the operations need.
type server struct {
	b   Backend
	log *slog.Logger
	api huma.API
}

// NewHandler returns the handler of the whole API: the operations under /v1, /openapi.json, /livez, /readyz, /metrics and
// /debug/pprof/.
func NewHandler(o ServerOptions) http.Handler {
	mux := http.NewServeMux()
	newServer(mux, o)
	addProbes(mux, o.Backend, o.Metrics)
	addProfiles(mux)
	return mux
}

func newServer(mux *http.ServeMux, o ServerOptions) *server {
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	c := huma.DefaultConfig("Holdline admin API", "1")
	c.Info.Description = "Everything that the command line does, over a Unix socket. Any node of the cluster answers for all of it, unless an operation says that it is about the node that is asked; changes are replicated before they are acknowledged."
	// No pages that load scripts from elsewhere, and no $schema members in answers: this is a local API.
	c.DocsPath, c.SchemasPath, c.CreateHooks = "", "", nil
	c.RejectUnknownQueryParameters = true
	c.Transformers = []huma.Transformer{oneError}

	s := &server{b: o.Backend, log: o.Logger, api: humago.New(mux, c)}
	s.clusterOps()
	s.vipOps()
	s.domainOps()
	s.certificateOps()
	s.gatewayOps()
	s.liveOps()
	s.cdrOps()
	s.refusedOps()
	s.describeErrors()
	return s
}

// probe answers 200 "ok", or 503 with the reason, in plain text.
func probe(check func(context.Context) error) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		text := "ok\n"
		if err := check(r.Context()); err != nil {
			w.WriteHeader(http.StatusServiceUnavailable)
			text = err.Error() + "\n"
		}
		_, _ = w.Write([]byte(text)) // a prober that went away needs no answer
	}
}

// oneError turns huma's own findings (bad JSON, a missing property, a type that does not fit) into an Error, so that
// clients meet one form of error.
func oneError(_ huma.Context, _ string, v any) (any, error) {
	m, ok := v.(*huma.ErrorModel)
	if !ok {
		return v, nil
	}
	e := &Error{Status: m.Status, Code: CodeInvalid, Message: m.Detail}
	if m.Status >= http.StatusInternalServerError {
		e.Code = CodeInternal
	}
	for _, d := range m.Errors {
		e.Message += "; " + d.Message
		if d.Location != "" {
			e.Message += " (" + d.Location + ")"
		}
	}
	e.Message = strings.Join(strings.Fields(e.Message), " ")
	return e, nil
}

// describeErrors puts Error in place of huma's own error type in the OpenAPI description.
func (s *server) describeErrors() {
	r := huma.NewMapRegistry("#/components/schemas/", huma.DefaultSchemaNamer)
	schemas := s.api.OpenAPI().Components.Schemas.Map()
	*schemas["ErrorModel"] = *huma.SchemaFromType(r, errorType)
	delete(schemas, "ErrorDetail")
}

// op describes an operation. Operations that take long say so; all others get quick seconds.
type op struct {
	id, method, path string
	summary, details string
	timeout          time.Duration
}

// quick is enough for a commit through a cluster that is just electing a leader.
const quick = 10 * time.Second

// register adds an operation. validate, if not nil, runs before call; what call returns that is not an Error becomes one.
func register[I, O any](s *server, o op, tag string, validate func(*I) error, call func(context.Context, *I) (*O, error)) {
	if o.timeout == 0 {
		o.timeout = quick
	}
	ho := huma.Operation{
		OperationID: o.id, Method: o.method, Path: "/v1" + o.path,
		Summary: o.summary, Description: o.details, Tags: []string{tag},
	}
	huma.Register(s.api, ho, func(ctx context.Context, in *I) (*O, error) {
		if validate != nil {
			if err := validate(in); err != nil {
				return nil, asError(err)
			}
		}
		ctx, cancel := context.WithTimeout(ctx, o.timeout)
		defer cancel()
		start := time.Now()
		out, err := call(ctx, in)
		if err != nil {
			e := asError(err)
			if ctx.Err() == context.DeadlineExceeded && CodeOf(err) == CodeInternal {
				e = Errorf(CodeUnavailable, "%s is not finished after %s: see `holdline status`, then try again (%v)", o.id, o.timeout, err)
			}
			s.log.Log(ctx, failureLevel(e.Code), "admin operation failed", "op", o.id, "on", subject(in), "code", e.Code, "err", e.Message, "took", time.Since(start))
			return nil, e
		}
		if o.method != http.MethodGet {
			s.log.Info("admin operation", "op", o.id, "on", subject(in), "took", time.Since(start), "uid", callerUID(ctx))
		}
		return out, nil
	})
}

// failureLevel keeps what only the caller got wrong out of the log of an ordinary day.
func failureLevel(c Code) slog.Level {
	switch c {
	case CodeInternal:
		return slog.LevelError
	case CodeUnavailable, CodeRefused:
		return slog.LevelWarn
	}
	return slog.LevelDebug
}

// asError finds the Error in err's chain, keeping what was wrapped around it, or makes one of CodeInternal.
func asError(err error) *Error {
	var e *Error
	if errors.As(err, &e) {
		return &Error{Status: e.Code.status(), Code: e.Code, Message: err.Error()}
	}
	return Errorf(CodeInternal, "%w", err)
}

// body is an answer with a JSON body.
type body[T any] struct{ Body T }

// request is a request with a JSON body.
type request[T any] struct{ Body T }

// none is a request or an answer without anything.
type none struct{}

func answer[T any](v T, err error) (*body[T], error) {
	if err != nil {
		return nil, err
	}
	return &body[T]{Body: v}, nil
}

// list answers an empty list as [], never null.
func list[T any](v []T, err error) (*body[[]T], error) {
	if v == nil {
		v = []T{}
	}
	return answer(v, err)
}

func done(err error) (*none, error) {
	if err != nil {
		return nil, err
	}
	return &none{}, nil
}

// uidKey is the context key of the calling process's user id.
type uidKey struct{}

// callerUID is the user id at the other end of the Unix socket, "" when it is not known.
func callerUID(ctx context.Context) string {
	if uid, ok := ctx.Value(uidKey{}).(uint32); ok {
		return strconv.FormatUint(uint64(uid), 10)
	}
	return ""
}

// NewProbes returns a handler with only /livez, /readyz and metrics: what may be shown to a network.
func NewProbes(b Backend, metrics http.Handler) http.Handler {
	mux := http.NewServeMux()
	addProbes(mux, b, metrics)
	return mux
}

func addProbes(mux *http.ServeMux, b Backend, metrics http.Handler) {
	mux.HandleFunc("GET /livez", probe(b.Live))
	mux.HandleFunc("GET /readyz", probe(b.Ready))
	if metrics != nil {
		mux.Handle("GET /metrics", metrics)
	}
}
