package store

import (
	"context"
	"crypto/rand"
	"errors"
	"time"
)

// removeRoom takes the room's messages away. The mark comes first: who sees less than before is told so.
func (j *JetStream) removeRoom(ref Ref, room string) {
	j.removals[ref] = room
	work(j, readTimeout, func(ctx context.Context) (int64, error) { return j.removeMessages(ctx, token(room)) },
		func(through int64, err error) {
			if _, waits := j.removals[ref]; waits {
				delete(j.removals, ref)
				j.report.Removed = append(j.report.Removed, Removed{Ref: ref, Room: room, Through: through, Err: err})
			}
		})
}

func (j *JetStream) removeMessages(ctx context.Context, t string) (through int64, err error) {
	for {
		var rec roomRecord
		rev, _, err := j.load(ctx, roomKey(t), &rec)
		if err != nil {
			return 0, err
		}
		if _, through, err = j.ends(ctx, j.names.log); err != nil {
			return 0, err
		}
		_, err = j.put(ctx, roomKey(t), roomRecord{After: through, Dropped: through, Life: rand.Text()}, rev)
		if conflict(err) {
			continue // look again
		}
		if err != nil {
			return 0, err
		}
		if err := j.purge(ctx, t, through); err != nil {
			return 0, err
		}
		return through, j.sendAway(ctx, t)
	}
}

// sendAway takes all users out of a room.
func (j *JetStream) sendAway(ctx context.Context, t string) error {
	users, err := j.users(ctx, userKey(t, "*"))
	if err != nil {
		return err
	}
	for _, m := range users {
		if m.deleted() {
			continue
		}
		// One that changed meanwhile came after the removal, or back; it is in a room without a past.
		if _, err := j.remove(ctx, m.Subject[len(j.names.keys):], "", m.Seq); notConflict(err) != nil {
			return err
		}
	}
	return nil
}

// purge drops the room's messages up to a seq.
func (j *JetStream) purge(ctx context.Context, t string, through int64) error {
	var answer struct {
		Success bool `json:"success"`
	}
	err := j.request(ctx, "STREAM.PURGE."+j.names.log, map[string]any{"filter": j.names.messages + t, "seq": through + 1}, &answer)
	if err == nil && !answer.Success {
		err = errors.New("JetStream: nothing was removed")
	}
	return err
}

// forget deletes the record of a room without users and without messages. It says so first, and looks again
// then: who enters meanwhile sees it, and undoes it, or finds the record gone and makes it anew.
func (j *JetStream) forget(ctx context.Context, t string) error {
	var rec roomRecord
	rev, known, err := j.load(ctx, roomKey(t), &rec)
	if err != nil || !known || !rec.Opened {
		return err
	}
	if used, err := j.used(ctx, t); err != nil || used {
		return err
	}
	rec.Closing = true
	if rev, err = j.put(ctx, roomKey(t), rec, rev); err != nil {
		return notConflict(err)
	}
	used, err := j.used(ctx, t)
	if err != nil {
		return err
	}
	first, _, err := j.ends(ctx, j.names.log)
	if err != nil {
		return err
	}
	switch {
	case used:
		rec.Closing = false
		_, err = j.put(ctx, roomKey(t), rec, rev)
	case rec.Life != "" || rec.Dropped >= first: // of a room without a record all that the stream has dropped counts
		_, err = j.put(ctx, roomKey(t), roomRecord{After: rec.After, Dropped: rec.Dropped, Life: rec.Life}, rev)
	default:
		_, err = j.remove(ctx, roomKey(t), "", rev)
	}
	return notConflict(err)
}

// notConflict is nil when somebody else was faster.
func notConflict(err error) error {
	if conflict(err) {
		return nil
	}
	return err
}

// used reports whether the room has messages or users.
func (j *JetStream) used(ctx context.Context, t string) (bool, error) {
	newest, err := j.last(ctx, j.names.log, j.names.messages+t)
	if err != nil || newest > 0 {
		return newest > 0, err
	}
	users, err := j.users(ctx, userKey(t, "*"))
	for _, m := range users {
		if !m.deleted() {
			return true, err
		}
	}
	return false, err
}

// trimEvery is how often a room is looked at for messages beyond Options.History.
const trimEvery = time.Hour

// trimRoom drops what the room has beyond Options.History, from time to time.
func (j *JetStream) trimRoom(r *sharedRoom, now time.Time) {
	if j.opts.History <= 0 || now.Before(r.trimAt) {
		return
	}
	r.trimAt = now.Add(trimEvery)
	if len(r.marks.seqs)*markEvery < min(j.opts.History, RecentMessages) {
		return // it has not that many
	}
	work(j, time.Minute, func(ctx context.Context) (struct{}, error) { return struct{}{}, j.trim(ctx, r.name) },
		func(struct{}, error) {}) // the next time tries again
}

// trim drops messages of a room that are more than Options.History before the newest, about a thousand more are
// kept. What is younger than the window of message ids stays: the engine rebuilds that from what is stored.
func (j *JetStream) trim(ctx context.Context, room string) error {
	t := token(room)
	newest, err := j.get(ctx, j.names.log, getRequest{LastFor: j.names.messages + t})
	if newest == nil || err != nil {
		return err
	}
	r := roomReader{j: j, ctx: ctx, room: room}
	at, _ := r.decode(newest)
	for kept := 0; kept < j.opts.History; {
		hint, step := at.far, RecentMessages
		if j.opts.History-kept < RecentMessages {
			hint, step = at.near, markEvery
		}
		if hint == 0 {
			return nil // it has not that many
		}
		m, err := j.get(ctx, j.names.log, getRequest{Seq: hint, NextFor: j.names.messages + t})
		if m == nil || err != nil { // nil: the room was removed meanwhile
			return err
		}
		at, _ = r.decode(m)
		kept += step
	}
	through := at.Seq - 1
	start := j.opts.Now().Add(-duplicateWindow)
	young, err := j.get(ctx, j.names.log, getRequest{StartTime: &start, NextFor: j.names.messages + t})
	if err != nil {
		return err
	}
	if young != nil {
		through = min(through, young.Seq-1)
	}
	first, err := j.get(ctx, j.names.log, getRequest{NextFor: j.names.messages + t})
	if first == nil || err != nil || first.Seq > through {
		return err
	}
	var rec roomRecord
	rev, known, err := j.load(ctx, roomKey(t), &rec)
	if err != nil || !known {
		return err
	}
	rec.Dropped = max(rec.Dropped, through) // before it is so: who sees less is told so
	if _, err = j.put(ctx, roomKey(t), rec, rev); err != nil {
		return err
	}
	return j.purge(ctx, t, through)
}
