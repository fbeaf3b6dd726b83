package store

import (
	"context"
	"math"
	"time"
)

// Retention: the writer goroutine drops what is too much or too old in small steps between its groups. A step
// is a transaction of its own, so that its failure is not the messages'. It is not flushed by itself: a drop
// that a power cut undoes is undone with its mark, and made again.
const (
	stepPause = 20 * time.Millisecond // between steps while there is work
	idlePause = time.Second           // else, and after a failure
	stepRows  = 256                   // messages a step, more when more came since the last …
	maxRows   = 1024                  // … and that is some milliseconds

	// memory of a key, counted from its message's time, when the message is gone (PROTOCOL.md: at least 24 h)
	keyMemory = 48 * time.Hour
	// patience is how long a room without messages that was found at the start, or emptied since, keeps its
	// lock: nobody is back yet (PROTOCOL.md section 9).
	patience = 10 * time.Minute
)

// retention is what the writer has to do when there is time.
type retention struct {
	over    map[string]struct{} // rooms with more messages than Options.History
	empty   map[string]struct{} // rooms to be forgotten after patience, unless they are opened again
	keep    time.Time           // the end of patience
	arrived int                 // messages since the last step
}

func newRetention(now time.Time) retention {
	return retention{
		over:  make(map[string]struct{}),
		empty: make(map[string]struct{}),
		keep:  now.Add(patience),
	}
}

// findWork lists, at the start, the rooms that need something.
func (w *writer) findWork(ctx context.Context) error {
	history := int64(w.log.opts.History)
	if history <= 0 {
		history = math.MaxInt64
	}
	rows, err := w.conn.QueryContext(ctx,
		`SELECT name, messages = 0 FROM rooms WHERE messages = 0 OR messages > ?`, history)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		var name string
		var empty bool
		if err := rows.Scan(&name, &empty); err != nil {
			return err
		}
		if empty {
			w.empty[name] = struct{}{}
		} else {
			w.over[name] = struct{}{}
		}
	}
	return rows.Err()
}

func (w *writer) crowded(r *roomInfo) bool {
	return w.log.opts.History > 0 && r.count > w.log.opts.History
}

// maintain makes one step, and says when the next is due.
func (w *writer) maintain() time.Duration {
	s := step{w: w, now: w.log.opts.Now(), rows: min(stepRows+w.arrived, maxRows)}
	w.arrived = 0
	err := w.attempt(written, func() error {
		for _, part := range []func() error{w.saveRooms, s.dropOld, s.dropOver, s.dropKeys, s.forgetEmpty} {
			if err := part(); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return idlePause
	}
	if len(s.trims) > 0 {
		w.log.sink(Report{Trimmed: s.trims})
	}
	if s.rows <= 0 || s.again {
		return stepPause
	}
	return idlePause
}

// step is one step while it runs.
type step struct {
	w     *writer
	now   time.Time
	rows  int  // what it may still drop
	again bool // something had to wait for the next
	trims []Trim
}

// dropOld drops what is older than Options.Retain, in the order of the whole log. A message from a time when the clock
// was ahead goes with one behind it in its room; only more of them than a step looks at keep others waiting.
func (s *step) dropOld() error {
	retain := s.w.log.opts.Retain
	if retain <= 0 {
		return nil
	}
	cutoff := s.now.Add(-retain).UnixMilli()
	rows, err := s.w.stmts.oldest.Query(s.rows)
	if err != nil {
		return err
	}
	defer rows.Close()
	through := make(map[string]int64)
	for rows.Next() {
		var seq, at int64
		var room string
		if err := rows.Scan(&seq, &at, &room); err != nil {
			return err
		}
		if at > s.now.UnixMilli() {
			continue
		}
		if at >= cutoff {
			break
		}
		through[room] = seq
	}
	if err := rows.Err(); err != nil {
		return err
	}
	if err := rows.Close(); err != nil { // before the writing
		return err
	}
	for room, seq := range through {
		if err := s.drop(room, seq); err != nil {
			return err
		}
	}
	return nil
}

// dropOver drops what rooms have beyond Options.History.
func (s *step) dropOver() error {
	w := s.w
	for name := range w.over {
		if s.rows <= 0 {
			return nil
		}
		r := w.room(name)
		if err := w.load(r); err != nil {
			return err
		}
		if !w.crowded(r) {
			delete(w.over, name)
			continue
		}
		n := min(r.count-w.log.opts.History, s.rows)
		var seq int64
		if err := w.stmts.nth.QueryRow(r.id, n-1).Scan(&seq); err != nil {
			return err
		}
		if err := s.drop(name, seq); err != nil {
			return err
		}
	}
	return nil
}

// drop deletes the room's messages up to through, and keeps the mark.
func (s *step) drop(name string, through int64) error {
	w := s.w
	if w.log.loading.has(name) {
		s.again = true
		return nil
	}
	r := w.room(name)
	if err := w.load(r); err != nil {
		return err
	}
	if _, err := w.stmts.expireKeys.Exec(keyMemory.Milliseconds(), name, r.id, through); err != nil {
		return err
	}
	deleted, err := w.stmts.deleteMessages.Exec(r.id, through)
	if err != nil {
		return err
	}
	n, err := deleted.RowsAffected()
	if err != nil {
		return err
	}
	if _, err := w.stmts.shrink.Exec(n, through, r.id); err != nil {
		return err
	}
	r.count -= int(n)
	w.undo = append(w.undo, func() { r.count += int(n) })
	s.rows -= int(n)
	switch {
	case r.held:
		s.trims = append(s.trims, Trim{Room: name, Through: through})
	case r.count == 0 && s.now.Before(w.keep):
		w.empty[name] = struct{}{}
	default:
		return w.forget(r)
	}
	return nil
}

// dropKeys deletes keys whose messages are gone and whose time is over.
func (s *step) dropKeys() error {
	if s.rows <= 0 {
		return nil
	}
	deleted, err := s.w.stmts.deleteKeys.Exec(s.now.UnixMilli(), s.rows)
	if err != nil {
		return err
	}
	n, err := deleted.RowsAffected()
	s.rows -= int(n)
	return err
}

// forgetEmpty forgets rooms that nobody came back to.
func (s *step) forgetEmpty() error {
	if s.now.Before(s.w.keep) {
		return nil
	}
	w := s.w
	for name := range w.empty {
		if s.rows <= 0 {
			return nil
		}
		s.rows--
		r := w.room(name)
		if err := w.load(r); err != nil {
			return err
		}
		if err := w.forget(r); err != nil {
			return err
		}
		delete(w.empty, name)
		w.undo = append(w.undo, func() { w.empty[name] = struct{}{} })
	}
	return nil
}
