package store

import (
	"context"
	"slices"
	"strings"

	"github.com/nats-io/nats.go"
)

// feed is the bucket's changes in their order, every one of them. Owned by loop.
type feed struct {
	last     int64 // everything up to it has been applied
	ahead    []*rawMessage
	own      []*rawMessage // written by this node and yet to come, by seq
	waiting  []feedWait
	checking bool
	again    bool
}

// feedWait is what is to be done when everything up to seq has been applied.
type feedWait struct {
	seq int64
	do  func()
}

// fed takes what the bucket republished.
func (j *JetStream) fed(m *nats.Msg) {
	raw, err := rawOf(m)
	if err != nil || raw.Seq <= j.feed.last {
		return
	}
	j.feed.ahead = append(j.feed.ahead, raw)
	j.feed.drain(j)
}

// begin starts at a seq up to which everything is known by other means.
func (f *feed) begin(j *JetStream, last int64) {
	f.last = last
	f.own = nil
	f.drain(j)
}

// drain applies what is next in order.
func (f *feed) drain(j *JetStream) {
	for len(f.ahead) > 0 {
		m := f.ahead[0]
		if m.Seq > f.last+1 {
			f.check(j)
			break
		}
		f.ahead = f.ahead[1:]
		if m.Seq == f.last+1 {
			f.apply(j, m)
		}
	}
	f.settle()
}

func (f *feed) apply(j *JetStream, m *rawMessage) {
	f.pass(j, m.Seq-1)
	f.last = m.Seq
	f.own = slices.DeleteFunc(f.own, func(own *rawMessage) bool { return own.Seq == m.Seq })
	j.apply(m)
}

// pass goes on to a seq. What lies before it has been written over since, and the newer one will come; but what
// this node wrote itself it takes into account at its place.
func (f *feed) pass(j *JetStream, to int64) {
	for len(f.own) > 0 && f.own[0].Seq <= to {
		j.apply(f.own[0])
		f.own = f.own[1:]
	}
	f.last = max(f.last, to)
}

// wrote notes what this node has written.
func (f *feed) wrote(m *rawMessage) {
	if m.Seq <= f.last {
		return
	}
	i, _ := slices.BinarySearchFunc(f.own, m.Seq, func(own *rawMessage, seq int64) int { return int(own.Seq - seq) })
	f.own = slices.Insert(f.own, i, m)
}

// after calls do when everything up to seq has been applied.
func (f *feed) after(seq int64, do func()) {
	if seq <= f.last {
		do()
		return
	}
	f.waiting = append(f.waiting, feedWait{seq, do})
}

func (f *feed) settle() {
	var due []feedWait
	f.waiting = slices.DeleteFunc(f.waiting, func(w feedWait) bool {
		if w.seq > f.last {
			return false
		}
		due = append(due, w)
		return true
	})
	for _, w := range due {
		w.do()
	}
}

// check reads what this node lacks of the feed, as the bucket's leader tells.
func (f *feed) check(j *JetStream) {
	if f.checking {
		f.again = true
		return
	}
	f.checking, f.again = true, false
	from := f.last + 1
	type found struct {
		messages []*rawMessage
		last     int64
	}
	work(j, serverTimeout, func(ctx context.Context) (got found, err error) {
		if got.last, err = j.last(ctx, j.names.bucket, j.names.keys+">"); err != nil {
			return got, err
		}
		err = j.stretch(ctx, j.names.bucket, j.names.keys+">", from, got.last, func(m *rawMessage) bool {
			if m.Seq <= got.last {
				got.messages = append(got.messages, m)
			}
			return m.Seq < got.last
		})
		return got, err
	}, func(got found, err error) {
		f.checking = false
		for _, m := range got.messages { // as in a room's check
			if m.Seq > f.last {
				f.apply(j, m)
			}
		}
		if err == nil {
			f.pass(j, got.last)
			f.drain(j)
		} else {
			j.opts.Logger.Warn("cannot read what the other nodes did", "error", err.Error())
			f.settle()
		}
		if f.again && err == nil {
			f.check(j)
		}
	})
}

// apply does what a change of the bucket means here.
func (j *JetStream) apply(m *rawMessage) {
	key := strings.TrimPrefix(m.Subject, j.names.keys)
	t, rest, _ := strings.Cut(key, ".")
	if t == "node" {
		j.lease.heard(j, rest, m)
		return
	}
	r := j.rooms[t]
	nick, user := strings.CutPrefix(rest, "user.")
	switch {
	case r != nil && user:
		r.setUser(j, nick, m, true)
	case r != nil:
		j.fedRoom(r, m)
	case user:
		j.fedStray(key, m)
	}
}
