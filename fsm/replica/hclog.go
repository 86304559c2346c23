package replica

import (
	"context"
	"fmt"
	"io"
	"log"
	"log/slog"
	"slices"
	"strings"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"
)

// hcLog is the logger that Raft asks for, writing to ours. Its messages keep their words; keys become snake_case.
type hcLog struct {
	log     *slog.Logger
	name    string
	implied []any
}

var _ hclog.Logger = (*hcLog)(nil)

func newHCLog(l *slog.Logger) *hcLog { return &hcLog{log: l.With("component", "raft"), name: "raft"} }

// slogLevel maps levels: Raft's info is about its inner life, and only interesting when something is wrong.
func slogLevel(l hclog.Level) slog.Level {
	switch l {
	case hclog.Error:
		return slog.LevelError
	case hclog.Warn:
		return slog.LevelWarn
	case hclog.Info:
		return slog.LevelInfo
	case hclog.Trace:
		return slog.LevelDebug - 4
	}
	return slog.LevelDebug
}

// Log implements [hclog.Logger].
func (h *hcLog) Log(level hclog.Level, msg string, args ...any) {
	ctx := context.Background()
	if msg == "skipping application of old log" { // what recovery replayed is handed over again, see commitLog.GetCommitIndex
		level = hclog.Debug
	}
	if l := slogLevel(level); h.log.Enabled(ctx, l) {
		h.log.Log(ctx, l, msg, attrs(args)...)
	}
}

// attrs turns hclog's arguments into slog's.
func attrs(args []any) []any {
	out := make([]any, 0, len(args))
	for i := 0; i+1 < len(args); i += 2 {
		key := strings.ReplaceAll(fmt.Sprint(args[i]), "-", "_")
		v := args[i+1]
		if f, ok := v.(hclog.Format); ok && len(f) > 0 {
			v = fmt.Sprintf(fmt.Sprint(f[0]), f[1:]...)
		}
		out = append(out, slog.Any(key, v))
	}
	return out
}

func (h *hcLog) Trace(msg string, args ...any) { h.Log(hclog.Trace, msg, args...) }
func (h *hcLog) Debug(msg string, args ...any) { h.Log(hclog.Debug, msg, args...) }
func (h *hcLog) Info(msg string, args ...any)  { h.Log(hclog.Info, msg, args...) }
func (h *hcLog) Warn(msg string, args ...any)  { h.Log(hclog.Warn, msg, args...) }
func (h *hcLog) Error(msg string, args ...any) { h.Log(hclog.Error, msg, args...) }

func (h *hcLog) enabled(l hclog.Level) bool {
	return h.log.Enabled(context.Background(), slogLevel(l))
}

func (h *hcLog) IsTrace() bool { return h.enabled(hclog.Trace) }
func (h *hcLog) IsDebug() bool { return h.enabled(hclog.Debug) }
func (h *hcLog) IsInfo() bool  { return h.enabled(hclog.Info) }
func (h *hcLog) IsWarn() bool  { return h.enabled(hclog.Warn) }
func (h *hcLog) IsError() bool { return h.enabled(hclog.Error) }

func (h *hcLog) ImpliedArgs() []any { return h.implied }

func (h *hcLog) With(args ...any) hclog.Logger {
	return &hcLog{log: h.log.With(attrs(args)...), name: h.name, implied: append(slices.Clip(h.implied), args...)}
}

func (h *hcLog) Name() string                   { return h.name }
func (h *hcLog) Named(name string) hclog.Logger { return h.ResetNamed(h.name + "." + name) }
func (h *hcLog) ResetNamed(n string) hclog.Logger {
	return &hcLog{log: h.log, name: n, implied: h.implied}
}
func (h *hcLog) SetLevel(hclog.Level)                                  {}
func (h *hcLog) StandardWriter(*hclog.StandardLoggerOptions) io.Writer { return lineWriter{h} }

func (h *hcLog) GetLevel() hclog.Level {
	for _, l := range []hclog.Level{hclog.Trace, hclog.Debug, hclog.Info, hclog.Warn} {
		if h.enabled(l) {
			return l
		}
	}
	return hclog.Error
}

func (h *hcLog) StandardLogger(o *hclog.StandardLoggerOptions) *log.Logger {
	return log.New(h.StandardWriter(o), "", 0)
}

// lineWriter logs what code writes that only knows the standard logger.
type lineWriter struct{ h *hcLog }

func (w lineWriter) Write(b []byte) (int, error) {
	w.h.Warn(strings.TrimRight(string(b), "\n"))
	return len(b), nil
}

func stateName(s raft.RaftState) string { return strings.ToLower(s.String()) }
