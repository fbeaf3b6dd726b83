package natstest

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"
)

// WantRefused has a node opened that NATS does not let in, or that waits for it, and wants it to say why. It is opened
// again when this machine was too busy to get an answer in time.
func WantRefused(t testing.TB, says string, open func(context.Context, *slog.Logger) error) {
	t.Helper()
	var err error
	for range 5 {
		ctx, logger := untilSaid(t, "waiting for NATS")
		err = open(ctx, logger)
		if err != nil && strings.Contains(err.Error(), says) {
			return
		}
		if err == nil || !strings.Contains(err.Error(), "timeout") && !strings.Contains(err.Error(), context.DeadlineExceeded.Error()) {
			break
		}
	}
	t.Errorf("it says %v, want %s", err, says)
}

// untilSaid gives a log, and a context that ends when that line is logged, with its attributes for the cause; or with
// the test.
func untilSaid(t testing.TB, line string) (context.Context, *slog.Logger) {
	ctx, end := context.WithCancelCause(t.Context())
	t.Cleanup(func() { end(nil) })
	return ctx, slog.New(listener{line, end})
}

// listener is a log's handler that ends a context at a line.
type listener struct {
	line string
	end  context.CancelCauseFunc
}

func (listener) Enabled(context.Context, slog.Level) bool { return true }
func (l listener) WithAttrs([]slog.Attr) slog.Handler     { return l }
func (l listener) WithGroup(string) slog.Handler          { return l }

func (l listener) Handle(_ context.Context, r slog.Record) error {
	if r.Message == l.line {
		said := ""
		r.Attrs(func(a slog.Attr) bool { said += a.String() + " "; return true })
		l.end(errors.New(said))
	}
	return nil
}
