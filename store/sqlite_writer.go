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
	log       *SQLite
	conn      *sql.Conn
	closers   []func() error // last first
	stmts     writeStatements

	seq     int64 // the last number given, committed or not
	level   strength
	rooms   index[*roomInfo]    // held, or used in the transaction that runs
	unsaved map[string]struct{} // held, and a failed transaction left the row undone

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

type writeStatements struct {
	begin, commit, rollback, probe          *sql.Stmt
	addMessage, addKey, findKey             *sql.Stmt
	room, addRoom, lockRoom, grow           *sql.Stmt
	inherit, deleteRoom, removeKeys         *sql.Stmt
	oldest, nth, expireKeys, deleteMessages *sql.Stmt
	shrink, deleteKeys                      *sql.Stmt
}

func (st *writeStatements) prepare(ctx context.Context, conn *sql.Conn) (closeAll func() error, err error) {
	return prepare(ctx, conn,
		statement{&st.begin, `BEGIN IMMEDIATE`},
		statement{&st.commit, `COMMIT`},
		statement{&st.rollback, `ROLLBACK`},
		statement{&st.probe, `UPDATE log SET dropped = dropped`},

		statement{&st.addMessage, `INSERT INTO messages (seq, room, at, sender, nick, user_id, key, body)
			VALUES (?, ?, ?, ?, ?, ?, ?, ?)`},
		statement{&st.addKey, `INSERT INTO keys (room, nick, key, seq, at) VALUES (?, ?, ?, ?, ?)
			ON CONFLICT DO NOTHING`},
		statement{&st.findKey, `SELECT seq, at FROM keys WHERE room = ? AND nick = ? AND key = ?`},

		statement{&st.room, `SELECT id, lock, messages FROM rooms WHERE name = ?`},
		statement{&st.addRoom, `INSERT INTO rooms (name, lock, dropped, messages)
			VALUES (?, ?, (SELECT dropped FROM log), 0)`},
		statement{&st.lockRoom, `UPDATE rooms SET lock = ? WHERE id = ?`},
		statement{&st.grow, `UPDATE rooms SET messages = messages + ? WHERE id = ?`},
		statement{&st.inherit, `UPDATE log SET dropped = r.dropped FROM rooms AS r
			WHERE r.id = ? AND r.dropped > log.dropped`},
		statement{&st.deleteRoom, `DELETE FROM rooms WHERE id = ?`},
		statement{&st.removeKeys, `DELETE FROM keys WHERE room = ?`},

		statement{&st.oldest, `SELECT m.seq, m.at, r.name FROM messages AS m JOIN rooms AS r ON r.id = m.room
			ORDER BY m.seq LIMIT ?`},
		statement{&st.nth, `SELECT seq FROM messages WHERE room = ? ORDER BY seq LIMIT 1 OFFSET ?`},
		statement{&st.expireKeys, `UPDATE keys SET expires = at + ? WHERE (room, nick, key) IN
			(SELECT ?, nick, key FROM messages WHERE room = ? AND seq <= ? AND key IS NOT NULL)`},
		statement{&st.deleteMessages, `DELETE FROM messages WHERE room = ? AND seq <= ?`},
		statement{&st.shrink, `UPDATE rooms SET messages = messages - ?, dropped = max(dropped, ?) WHERE id = ?`},
		statement{&st.deleteKeys, `DELETE FROM keys WHERE (room, nick, key) IN
			(SELECT room, nick, key FROM keys WHERE expires < ? LIMIT ?)`})
}

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
	err = w.conn.QueryRowContext(ctx, `SELECT epoch, ifnull((SELECT seq FROM sqlite_sequence WHERE name = 'messages'), 0)
		FROM log`).Scan(&s.epoch, &w.seq)
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
		if len(ops) > 0 {
			w.group(ops)
		} else if last {
			return
		}
		clear(ops) // let go of the texts
		spare = ops
		if due {
			due = false
			timer.Reset(w.maintain())
		}
		if last {
			w.log.poke()
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
			slog.Error("the message log cannot store", "err", err)
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

// probe writes something that changes nothing.
func (w *writer) probe() error {
	_, err := w.stmts.probe.Exec()
	return err
}

// group commits ops in one transaction, and reports.
func (w *writer) group(ops []op) {
	outcomes := make([]Appended, 0, len(ops))
	stored := make([]Message, 0, len(ops))
	var removed []Removed
	err := w.attempt(flushed, func() error {
		if err := w.saveRooms(); err != nil {
			return err
		}
		for i := range ops {
			o := &ops[i]
			var err error
			switch o.kind {
			case opAppend:
				var out Appended
				if out, err = w.append(&o.msg); err == nil {
					out.Ref = o.ref
					outcomes = append(outcomes, out)
					if !out.Duplicate {
						stored = append(stored, o.msg)
					}
				}
			case opClaim:
				w.room(o.room).held = true
			case opLock:
				err = w.lock(w.room(o.room), o.access)
			case opRelease:
				err = w.release(w.room(o.room))
			case opRemove:
				// Reported behind the messages of the group: of this room none may be left among them.
				stored = slices.DeleteFunc(stored, func(m Message) bool { return m.Room == o.room })
				removed = append(removed, Removed{Ref: o.ref, Room: o.room, Through: w.seq})
				err = w.remove(w.room(o.room))
			default:
				panic(fmt.Sprintf("store: unknown kind of op %d", o.kind))
			}
			if err != nil {
				return err
			}
		}
		return w.growRooms()
	})
	if err != nil {
		stored, outcomes, removed = nil, w.failed(ops, err), failedRemovals(ops, err)
	}
	if len(outcomes)+len(removed) > 0 {
		w.log.sink(Report{Stored: stored, Appended: outcomes, Removed: removed})
	}
	for i := range ops {
		if o := &ops[i]; o.kind == opClaim {
			w.log.loading.begin(o.room)
			w.log.claims <- claim{o.ref, o.room}
		}
	}
}

// failed makes the outcomes of a group that was rolled back. What its other calls asked for holds all the same:
// rooms are held, and locked as told; what the file should know of it is written as soon as it can be.
func (w *writer) failed(ops []op, err error) (outcomes []Appended) {
	for i := range ops {
		o := &ops[i]
		if o.kind == opAppend {
			outcomes = append(outcomes, Appended{Ref: o.ref, Err: err})
			continue
		}
		switch r := w.room(o.room); o.kind {
		case opClaim:
			r.held = true
		case opLock:
			r.lock, r.dirty = o.access, true
			w.unsaved[r.name] = struct{}{}
		case opRelease:
			r.held, r.dirty = false, false
			delete(w.unsaved, r.name)
			w.empty[o.room] = struct{}{}
		}
	}
	w.tidy()
	return outcomes
}

// failedRemovals makes the outcomes of the removals in a group that was rolled back.
func failedRemovals(ops []op, err error) (removed []Removed) {
	for _, o := range ops {
		if o.kind == opRemove {
			removed = append(removed, Removed{Ref: o.ref, Room: o.room, Err: err})
		}
	}
	return removed
}

// append stores m, whose number it sets, unless it was stored before.
func (w *writer) append(m *Message) (Appended, error) {
	seq, at := w.seq+1, m.At.UnixMilli()
	var key any
	if m.Key != "" {
		key = m.Key
		added, err := w.stmts.addKey.Exec(m.Room, m.Nick, key, seq, at)
		if err != nil {
			return Appended{}, err
		}
		if n, err := added.RowsAffected(); err != nil {
			return Appended{}, err
		} else if n == 0 {
			err := w.stmts.findKey.QueryRow(m.Room, m.Nick, key).Scan(&seq, &at)
			return Appended{Seq: seq, At: time.UnixMilli(at).UTC(), Duplicate: true}, err
		}
	}
	r := w.room(m.Room)
	if err := w.save(r); err != nil {
		return Appended{}, err
	}
	_, err := w.stmts.addMessage.Exec(seq, r.id, at, m.From, m.Nick, m.UserID, key, m.Body)
	if err != nil {
		return Appended{}, err
	}
	w.seq = seq
	w.grow(r)
	m.Seq = seq
	return Appended{Seq: seq, At: m.At}, nil
}
