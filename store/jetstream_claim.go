package store

import (
	"context"
	"strings"
)

// claim begins to hold a room.
func (j *JetStream) claim(ref Ref, name string) {
	if !j.lease.held { // since it was asked
		j.report.Claimed = append(j.report.Claimed, Claimed{Ref: ref, Err: ErrLost})
		return
	}
	t := token(name)
	r := j.rooms[t]
	if r == nil {
		r = &sharedRoom{name: name, token: t, people: make(map[string]*person)}
		var err error
		if r.sub, err = j.nc.ChanSubscribe(j.names.room+t+".*", j.live); err != nil {
			j.report.Claimed = append(j.report.Claimed, Claimed{Ref: ref, Err: err})
			return
		}
		j.rooms[t] = r
	}
	r.claims = append(r.claims, ref)
	if r.loading {
		return
	}
	r.loading, r.gone = true, make(map[string]int64)
	released := j.forgetting[t] // else a lock that goes with its room might be read
	work(j, readTimeout, func(ctx context.Context) (loaded, error) {
		if released != nil {
			select {
			case <-released:
			case <-ctx.Done():
			}
		}
		return j.loadRoom(ctx, r)
	}, func(l loaded, err error) { j.loaded(r, l, err) })
}

// loadRoom reads a room, by a goroutine that may wait.
func (j *JetStream) loadRoom(ctx context.Context, r *sharedRoom) (l loaded, err error) {
	// From here on what is stored is republished to this node, or found below, or by a check.
	if err = j.nc.FlushWithContext(ctx); err != nil {
		return l, err
	}
	if j.opts.Now().Sub(j.startedAt) > patience {
		if err = j.forget(ctx, r.token); err != nil { // what crashed nodes left
			return l, err
		}
	}
	if l.rev, l.known, err = j.load(ctx, roomKey(r.token), &l.record); err != nil {
		return l, err
	}
	if l.page, l.newest, err = j.pageOf(ctx, r.name, Query{Limit: RecentMessages, Bytes: RecentBytes}); err != nil {
		return l, err
	}
	l.users, err = j.users(ctx, userKey(r.token, "*"))
	return l, err
}

// loaded is what the servers have of a room.
type loaded struct {
	page   Page
	newest []stored
	record roomRecord
	rev    int64
	known  bool
	users  []*rawMessage
}

// loaded goes on with a room that was read.
func (j *JetStream) loaded(r *sharedRoom, l loaded, err error) {
	if j.rooms[r.token] != r {
		return // lost meanwhile
	}
	claims := r.claims
	r.claims, r.loading = nil, false
	if err != nil {
		j.opts.Logger.Warn("cannot read a room", "error", err.Error())
		for _, ref := range claims {
			j.report.Claimed = append(j.report.Claimed, Claimed{Ref: ref, Err: err})
		}
		j.late[r] = struct{}{}
		return
	}
	if r.presumed = -1; !l.known {
		r.presumed = l.page.Dropped
	}
	j.setRecord(r, l.rev, l.known, l.record)
	state := roomState(r.known && r.record.Opened, r.record.Lock, l.page)
	r.last = max(r.last, state.Seq)
	r.marks.reset(l.newest)
	for _, m := range l.users {
		nick := strings.TrimPrefix(m.Subject, j.names.keys+userKey(r.token, ""))
		if r.gone[nick] < m.Seq {
			r.setUser(j, nick, m, false)
		}
	}
	r.gone = nil
	for _, ref := range claims {
		state.Members = j.membersOf(r)
		j.report.Claimed = append(j.report.Claimed, Claimed{Ref: ref, State: state})
	}
	j.tellHub() // before what came since
	r.drain(j)
	j.check(r) // what was stored before every server knew of the subscription
}

// users reads the bucket's keys that match the filter.
func (j *JetStream) users(ctx context.Context, filter string) (all []*rawMessage, err error) {
	newest, err := j.last(ctx, j.names.bucket, j.names.keys+filter)
	if err != nil {
		return nil, err
	}
	err = j.stretch(ctx, j.names.bucket, j.names.keys+filter, 1, newest, func(m *rawMessage) bool {
		all = append(all, m)
		return true
	})
	return all, err
}

// release holds a room no longer.
func (j *JetStream) release(name string) {
	r := j.rooms[token(name)]
	if r == nil {
		return
	}
	j.drop(r, ErrAway)
	for nick, p := range r.people {
		j.stray(userKey(r.token, nick), p.userRecord, p.rev)
	}
	if r.known && len(r.people) == 0 {
		done := make(chan struct{})
		j.forgetting[r.token] = done
		work(j, readTimeout, func(ctx context.Context) (struct{}, error) {
			defer close(done)
			return struct{}{}, j.forget(ctx, r.token)
		}, func(struct{}, error) { // if it failed, whoever claims it later tries again
			if j.forgetting[r.token] == done {
				delete(j.forgetting, r.token)
			}
		})
	}
}

// drop lets go of a room; whoever waits in it is told err.
func (j *JetStream) drop(r *sharedRoom, err error) {
	_ = r.sub.Unsubscribe() // it fails only when the connection is closed
	delete(j.rooms, r.token)
	delete(j.late, r)
	for _, w := range r.waiting {
		w.do(err)
	}
	r.waiting = nil
}
