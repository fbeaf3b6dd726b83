package natstest

import (
	"context"
	"errors"
	"log/slog"
	"testing"
)

// UntilSaid gives a log, and a context that ends when that line is logged, with its attributes for the cause; or with
// the test.
func UntilSaid(t testing.TB, line string) (context.Context, *slog.Logger) {
	ctx, end := context.WithCancelCause(t.Context())
	t.Cleanup(func() { end(nil) })
	return ctx, slog.New(untilSaid{line, end})
}

type untilSaid struct {
	line string
	end  context.CancelCauseFunc
}

func (untilSaid) Enabled(context.Context, slog.Level) bool { return true }
func (u untilSaid) WithAttrs([]slog.Attr) slog.Handler     { return u }
func (u untilSaid) WithGroup(string) slog.Handler          { return u }

func (u untilSaid) Handle(_ context.Context, r slog.Record) error {
	if r.Message == u.line {
		said := ""
		r.Attrs(func(a slog.Attr) bool { said += a.String() + " "; return true })
		u.end(errors.New(said))
	}
	return nil
}
