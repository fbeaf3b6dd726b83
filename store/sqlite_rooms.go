package store

import (
	"context"
	"database/sql"
	"errors"
)

// roomInfo is what the writer knows of a room.
type roomInfo struct {
	name   string
	held   bool
	lock   []byte
	dirty  bool  // lock is not in the file yet
	loaded bool  // what follows is known
	id     int64 // 0: the room has no row
	count  int   // messages, without those added in the transaction that runs
	added  int
}

// room gives what is known of the room, which may be nothing.
func (w *writer) room(name string) *roomInfo {
	r := w.rooms.get(name)
	if r == nil {
		r = &roomInfo{name: name}
		w.rooms.put(name, r)
		w.loose = append(w.loose, r)
	}
	return r
}

// load reads the room's row unless it is known.
func (w *writer) load(r *roomInfo) error {
	if r.loaded {
		return nil
	}
	var lock []byte
	err := w.stmts.room.QueryRow(r.name).Scan(&r.id, &lock, &r.count)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return err
	}
	r.loaded = true
	if !r.dirty {
		r.lock = lock
	}
	return nil
}

// save sees to it that the room has its row, with its lock.
func (w *writer) save(r *roomInfo) error {
	delete(w.empty, r.name) // somebody is back
	if err := w.load(r); err != nil {
		return err
	}
	id, dirty := r.id, r.dirty
	if id != 0 && !dirty {
		return nil
	}
	w.undo = append(w.undo, func() { r.id, r.dirty = id, dirty })
	r.dirty = false
	if id != 0 {
		_, err := w.stmts.lockRoom.Exec(r.lock, r.id)
		return err
	}
	added, err := w.stmts.addRoom.Exec(r.name, r.lock)
	if err != nil {
		return err
	}
	r.id, err = added.LastInsertId()
	return err
}

// saveRooms makes up for what failed transactions left undone.
func (w *writer) saveRooms() error {
	for name := range w.unsaved {
		if r := w.room(name); r.held && r.dirty {
			if err := w.save(r); err != nil {
				return err
			}
		}
		delete(w.unsaved, name)
		w.undo = append(w.undo, func() { w.unsaved[name] = struct{}{} })
	}
	return nil
}

func (w *writer) lock(r *roomInfo, access []byte) error {
	r.lock, r.dirty = access, true
	return w.save(r)
}

func (w *writer) release(r *roomInfo) error {
	r.held = false
	w.loose = append(w.loose, r)
	if _, waits := w.empty[r.name]; waits {
		return nil // whoever came was not let in
	}
	if err := w.load(r); err != nil {
		return err
	}
	return w.forget(r)
}

// forget removes the row of a room that nobody holds and that has no messages; its mark goes to the unknown.
func (w *writer) forget(r *roomInfo) error {
	if r.held || r.id == 0 || r.count+r.added > 0 {
		return nil
	}
	if _, err := w.stmts.inherit.Exec(r.id); err != nil {
		return err
	}
	if _, err := w.stmts.deleteRoom.Exec(r.id); err != nil {
		return err
	}
	id, lock := r.id, r.lock
	w.undo = append(w.undo, func() { r.id, r.lock = id, lock })
	r.id, r.lock = 0, nil
	return nil
}

// remove deletes all that the file has of the room, its row too; its mark goes to the unknown. Deleted bytes are
// overwritten, since who asks for this may have to.
func (w *writer) remove(r *roomInfo) error {
	if err := w.load(r); err != nil {
		return err
	}
	if _, err := w.stmts.removeKeys.Exec(r.name); err != nil || r.id == 0 {
		return err
	}
	ctx := context.Background()
	if _, err := w.conn.ExecContext(ctx, "PRAGMA secure_delete = ON"); err != nil {
		return err
	}
	_, err := w.stmts.deleteMessages.Exec(r.id, w.seq)
	if _, off := w.conn.ExecContext(ctx, "PRAGMA secure_delete = OFF"); err == nil {
		err = off
	}
	if err != nil {
		return err
	}
	if _, err := w.stmts.shrink.Exec(r.count, w.seq, r.id); err != nil {
		return err
	}
	before := *r
	w.undo = append(w.undo, func() { *r = before })
	held := r.held
	r.count, r.added, r.held = 0, 0, false
	err = w.forget(r)
	r.held, r.dirty = held, false
	return err
}

// grow counts a message added to the room.
func (w *writer) grow(r *roomInfo) {
	if r.added == 0 {
		w.grown = append(w.grown, r)
		w.undo = append(w.undo, func() { r.added = 0 })
	}
	r.added++
}

// growRooms writes the new counts, once a room.
func (w *writer) growRooms() error {
	for _, r := range w.grown {
		n := r.added
		if _, err := w.stmts.grow.Exec(n, r.id); err != nil {
			return err
		}
		w.undo = append(w.undo, func() { r.count -= n })
		r.count, r.added = r.count+n, 0
		w.arrived += n
		if w.crowded(r) {
			w.over[r.name] = struct{}{}
		}
	}
	return nil
}
