package store

import (
	"fmt"
	"slices"
	"time"
)

// postpone gives the ops that may be done now. A removal waits while the room's state is loaded for a claim: its
// outcome is not to come before that of a claim that still saw the messages.
func (w *writer) postpone(ops []op) []op {
	if len(w.later) > 0 {
		ops = slices.Concat(w.later, ops)
		w.later = nil
	}
	return slices.DeleteFunc(ops, func(o op) bool {
		wait := o.kind == opRemove && w.log.loading.has(o.room)
		if wait {
			w.later = append(w.later, o)
		}
		return wait
	})
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
