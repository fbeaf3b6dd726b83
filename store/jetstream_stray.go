package store

import (
	"cmp"
	"context"
	"encoding/json"
	"time"
)

// A stray is a user who is here, in a room that the hub does not hold: what an Enter wrote came to light when nobody
// waited for it any more, and the room had been released. Nobody but this node would ever take it out, so the driver
// does with it what the hub does with a member whose connection has ended. Whoever comes back to it writes its
// record, and all that is done here depends on nobody having done so.

// fedStray takes the feed's word on a user in a room that this node does not hold.
func (j *JetStream) fedStray(key string, m *rawMessage) {
	var rec userRecord
	if !m.deleted() && json.Unmarshal(m.Data, &rec) == nil {
		j.stray(key, rec, m.Seq)
	}
}

// stray marks a user of this node as away, which comes back through the feed, or takes it out after the grace
// period.
func (j *JetStream) stray(key string, rec userRecord, rev int64) {
	if rec.Node != j.lease.id {
		return
	}
	takeOut := func() {
		j.settleStray(func(ctx context.Context) error {
			_, err := j.remove(ctx, key, "", rev)
			return err
		})
	}
	switch {
	case rec.Session == nil || j.opts.Grace <= 0: // nobody could come back
		takeOut()
	case rec.Away:
		time.AfterFunc(j.opts.Grace, func() { j.tell(takeOut) })
	default:
		rec.Away, rec.Born = true, cmp.Or(rec.Born, rev)
		j.settleStray(func(ctx context.Context) error {
			_, err := j.put(ctx, key, rec, rev)
			return err
		})
	}
}

// settleStray writes until that is done, or somebody else was faster. When the lease is lost the other nodes do it.
func (j *JetStream) settleStray(write func(context.Context) error) {
	node := j.lease.id
	work(j, serverTimeout, func(ctx context.Context) (struct{}, error) { return struct{}{}, notConflict(write(ctx)) },
		func(_ struct{}, err error) {
			if err != nil && j.lease.held && j.lease.id == node {
				time.AfterFunc(retryPause, func() { j.tell(func() { j.settleStray(write) }) })
			}
		})
}
