package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"
)

// writer is what SQLite's writer goroutine owns. Nothing here is touched by another one, but for the set-up and
// close, which come before and after it.
type writer struct {
	log     *SQLite
	conn    *sql.Conn
	closers []func() error // last first
	stmts   writeStatements

	seq     int64 // the last number given, committed or not
	level   strength
	rooms   index[*roomInfo]    // held, or used in the transaction that runs
	unsaved map[string]struct{} // held, and a failed transaction left the row undone
	later   []op                // removals of rooms whose state is being loaded

	// Of the transaction that runs.
	undo  []func()    // what puts memory back if it fails
	grown []*roomInfo // have messages added
	loose []*roomInfo // may be let go of at its end

	retention
}

// strength is what a commit waits for.
type strength string

const (
	flushed strength = "FULL"   // the drive has it
	written strength = "NORMAL" // the system has it: whole or not at all, and flushed with the next that is
)

// openWriter opens the file for writing, brings it to the newest schema, and reads what the writer must know.
func openWriter(ctx context.Context, s *SQLite, path string) (_ *writer, err error) {
	w := &writer{
		log:       s,
		unsaved:   make(map[string]struct{}),
		retention: newRetention(s.opts.Now()),
	}
	defer func() {
		if err != nil {
			_ = w.close() // the first error is the one to tell
		}
	}()
	conn, closeConn, err := single(ctx, source(path, writePragmas...))
	if err != nil {
		return nil, err
	}
	w.conn, w.closers = conn, append(w.closers, closeConn)
	if err := migrate(ctx, w.conn); err != nil {
		return nil, err
	}
	if _, err := w.conn.ExecContext(ctx, "PRAGMA journal_mode = WAL"); err != nil {
		return nil, err
	}
	closeStatements, err := w.stmts.prepare(ctx, w.conn)
	if err != nil {
		return nil, err
	}
	w.closers = append(w.closers, closeStatements)
	// A mark may be above every number that is stored: of a room that was removed after a group had failed. What came
	// next below it would count as dropped.
	err = w.conn.QueryRowContext(ctx, `SELECT epoch, max(dropped, ifnull((SELECT max(dropped) FROM rooms), 0),
		ifnull((SELECT seq FROM sqlite_sequence WHERE name = 'messages'), 0)) FROM log`).Scan(&s.epoch, &w.seq)
	if err != nil {
		return nil, err
	}
	if err := w.findWork(ctx); err != nil {
		return nil, err
	}
	return w, w.transaction(flushed, w.probe)
}

func (w *writer) close() (err error) {
	for _, f := range slices.Backward(w.closers) {
		err = errors.Join(err, f())
	}
	return err
}

// gather is how long the next group waits for more, from the beginning of one that had more than one call. A
// lone message waits for nobody, and neither do those of somebody who awaits each acknowledgement; but where many
// talk at once each flush is for more of them: with 2000 messages a second it takes the processor time that the
// log costs a message from 150 to 40 µs.
const gather = 5 * time.Millisecond

// run is the writer goroutine.
func (w *writer) run() {
	defer close(w.log.claims)
	timer := time.NewTimer(0)
	defer timer.Stop()
	var spare []op
	due := false
	for {
		select {
		case <-w.log.wake:
		case <-timer.C:
			due = true
		}
		ops, last := w.log.take(spare[:0])
		now := w.postpone(ops)
		began, calls := time.Now(), len(now)
		if calls > 0 {
			w.group(now)
		} else if last && len(w.later) == 0 {
			return
		}
		clear(ops) // let go of the texts
		if spare = ops; cap(ops) > spareOps {
			spare = nil
		}
		if calls > 1 {
			time.Sleep(gather - time.Since(began))
		}
		if due {
			due = false
			timer.Reset(w.maintain())
		}
		if last && len(w.later) == 0 {
			w.log.poke() // else the loader does
		}
	}
}

// transaction runs f in a transaction: what f did is committed, or undone in file and memory.
func (w *writer) transaction(level strength, f func() error) error {
	err := w.begin(level)
	if err == nil {
		if err = f(); err != nil {
			err = fmt.Errorf("not stored: %w", err)
		} else if _, err = w.stmts.commit.Exec(); err != nil {
			err = fmt.Errorf("the commit failed, it may or may not be stored: %w", err)
		}
		if err != nil {
			_, _ = w.stmts.rollback.Exec() // SQLite may have rolled back already, and then this fails
		}
	}
	if err != nil {
		for i := len(w.undo) - 1; i >= 0; i-- {
			w.undo[i]()
		}
	}
	clear(w.undo)
	clear(w.grown)
	w.undo, w.grown = w.undo[:0], w.grown[:0]
	return err
}

func (w *writer) begin(level strength) error {
	if level != w.level {
		w.level = "" // until it is known
		if _, err := w.conn.ExecContext(context.Background(), "PRAGMA synchronous = "+string(level)); err != nil {
			return err
		}
		w.level = level
	}
	_, err := w.stmts.begin.Exec()
	return err
}

// attempt is a transaction of the running writer, whose outcome Ready tells. While nothing can be stored it
// writes something in any case: else one with nothing to write would look like a recovery.
func (w *writer) attempt(level strength, f func() error) error {
	failed := w.log.failure.Load() != nil
	if failed {
		level = flushed
	}
	err := w.transaction(level, func() error {
		if failed {
			if err := w.probe(); err != nil {
				return err
			}
		}
		return f()
	})
	switch {
	case err != nil:
		w.log.failure.Store(&err)
		if !failed {
			slog.Error("the message log cannot store", "error", err)
		}
	case failed:
		w.log.failure.Store(nil)
		slog.Info("the message log stores again")
	}
	w.tidy()
	return err
}

// tidy lets go of what was looked up only for the transaction.
func (w *writer) tidy() {
	for _, r := range w.loose {
		if !r.held {
			w.rooms.remove(r.name)
		}
	}
	clear(w.loose)
	w.loose = w.loose[:0]
}

// probe writes something that changes nothing, in the transaction that has begun: there and back, since SQLite writes no
// page for a row that stays as it was.
func (w *writer) probe() error {
	for range 2 {
		if _, err := w.stmts.probe.Exec(); err != nil {
			return err
		}
	}
	return nil
}
