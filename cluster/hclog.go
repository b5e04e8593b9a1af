package cluster

import (
	"context"
	"fmt"
	"io"
	"log"
	"log/slog"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
)

// hclogAdapter lets raft log through slog. What raft calls info is debug here: elections are reported by the node itself. What it
// calls an error is every attempt to reach a peer that is away: the same message comes once in ten seconds at most.
type hclogAdapter struct {
	logger *slog.Logger
	name   string
	args   []any
	seen   *seenMessages
}

type seenMessages struct {
	mu sync.Mutex
	at map[string]time.Time
}

const repeatAfter = 10 * time.Second

// fresh says whether a message has not come lately. Raft has some two hundred different ones.
func (s *seenMessages) fresh(msg string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if time.Since(s.at[msg]) < repeatAfter {
		return false
	}
	s.at[msg] = time.Now()
	return true
}

var _ hclog.Logger = (*hclogAdapter)(nil)

func newHCLog(logger *slog.Logger, name string) *hclogAdapter {
	return &hclogAdapter{logger: logger.With("component", name), name: name, seen: &seenMessages{at: map[string]time.Time{}}}
}

func (a *hclogAdapter) level(l hclog.Level) slog.Level {
	switch l {
	case hclog.Error:
		return slog.LevelWarn
	case hclog.Warn:
		return slog.LevelInfo
	}
	return slog.LevelDebug
}

func (a *hclogAdapter) Log(l hclog.Level, msg string, args ...any) {
	level := a.level(l)
	if !a.logger.Enabled(context.Background(), level) || level > slog.LevelDebug && !a.seen.fresh(msg) {
		return
	}
	for i, v := range args {
		if f, ok := v.(hclog.Format); ok && len(f) > 0 {
			if format, ok := f[0].(string); ok {
				args[i] = fmt.Sprintf(format, f[1:]...)
			}
		}
	}
	a.logger.Log(context.Background(), level, msg, args...)
}

func (a *hclogAdapter) Trace(msg string, args ...any) { a.Log(hclog.Trace, msg, args...) }
func (a *hclogAdapter) Debug(msg string, args ...any) { a.Log(hclog.Debug, msg, args...) }
func (a *hclogAdapter) Info(msg string, args ...any)  { a.Log(hclog.Info, msg, args...) }
func (a *hclogAdapter) Warn(msg string, args ...any)  { a.Log(hclog.Warn, msg, args...) }
func (a *hclogAdapter) Error(msg string, args ...any) { a.Log(hclog.Error, msg, args...) }

func (a *hclogAdapter) IsTrace() bool { return false }
func (a *hclogAdapter) IsDebug() bool {
	return a.logger.Enabled(context.Background(), slog.LevelDebug)
}
func (a *hclogAdapter) IsInfo() bool       { return a.IsDebug() }
func (a *hclogAdapter) IsWarn() bool       { return true }
func (a *hclogAdapter) IsError() bool      { return true }
func (a *hclogAdapter) ImpliedArgs() []any { return a.args }
func (a *hclogAdapter) Name() string       { return a.name }

func (a *hclogAdapter) With(args ...any) hclog.Logger {
	return &hclogAdapter{logger: a.logger.With(args...), name: a.name, seen: a.seen, args: append(a.args[:len(a.args):len(a.args)], args...)}
}

func (a *hclogAdapter) Named(name string) hclog.Logger      { return newHCLog(a.logger, name) }
func (a *hclogAdapter) ResetNamed(name string) hclog.Logger { return newHCLog(a.logger, name) }
func (a *hclogAdapter) SetLevel(hclog.Level)                {}
func (a *hclogAdapter) GetLevel() hclog.Level               { return hclog.Debug }

func (a *hclogAdapter) StandardLogger(*hclog.StandardLoggerOptions) *log.Logger {
	return log.New(a.StandardWriter(nil), "", 0)
}

func (a *hclogAdapter) StandardWriter(*hclog.StandardLoggerOptions) io.Writer {
	return slogWriter{a.logger}
}

// slogWriter takes the lines of libraries that only know a standard logger.
type slogWriter struct{ logger *slog.Logger }

func (w slogWriter) Write(line []byte) (int, error) {
	w.logger.Debug(string(line))
	return len(line), nil
}
