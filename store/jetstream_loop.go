package store

import (
	"context"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
)

// notice is what the connection to the servers has to say.
type notice int

const (
	connectionLost notice = iota
	connectionBack
	messagesLost // they came faster than they were taken
)

// loop owns the driver's state.
func (j *JetStream) loop() {
	defer close(j.done)
	tick := time.NewTicker(tickEvery)
	defer tick.Stop()
	for !j.end() {
		select {
		case <-j.wake:
			for _, do := range j.take() {
				do()
			}
		case m := <-j.acks:
			j.acknowledged(m)
		case m := <-j.live:
			j.message(m)
			for n := len(j.live); n > 0; n-- {
				j.message(<-j.live)
			}
		case n := <-j.notices:
			j.noticed(n)
		case <-tick.C:
			j.tick(time.Now())
		}
		j.tellHub()
	}
}

// tellHub hands over what has been collected.
func (j *JetStream) tellHub() {
	r := j.report
	if len(r.Stored)+len(r.Appended)+len(r.Claimed)+len(r.Trimmed)+len(r.Removed)+
		len(r.Changes)+len(r.Entered)+len(r.Typing) > 0 || r.Lost {
		j.report = Report{}
		j.sink(r)
	}
}

func (j *JetStream) take() []func() {
	j.mu.Lock()
	defer j.mu.Unlock()
	queue := j.queue
	j.queue = nil
	return queue
}

// end reports whether the driver was closed and everything is answered. Those who wait for users have no reader
// any more.
func (j *JetStream) end() bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	if !j.closed || len(j.queue) > 0 || j.appends > 0 {
		return false
	}
	j.finished = true
	return true
}

// work runs do where it may wait for the servers; then is run by loop with what it returned, unless the driver
// ends before. The context ends after timeout.
func work[T any](j *JetStream, timeout time.Duration, do func(context.Context) (T, error), then func(T, error)) {
	j.working.Go(func() {
		select {
		case j.slots <- struct{}{}:
			defer func() { <-j.slots }()
		case <-j.ctx.Done():
			return
		}
		ctx, cancel := context.WithTimeout(j.ctx, timeout)
		defer cancel()
		v, err := do(ctx)
		j.tell(func() { then(v, err) })
	})
}

// message takes what the servers sent without being asked.
func (j *JetStream) message(m *nats.Msg) {
	rest, ok := strings.CutPrefix(m.Subject, j.names.room)
	if !ok {
		j.fed(m)
		return
	}
	t, kind, _ := strings.Cut(rest, ".")
	r := j.rooms[t]
	switch {
	case r == nil: // it was released
	case kind == "typing":
		j.typed(r, m)
	default:
		j.republished(r, m)
	}
}

func (j *JetStream) noticed(n notice) {
	switch n {
	case connectionLost:
		j.away()
		j.failPublishes(ErrAway) // the answers were to come through that connection
	case connectionBack:
		j.lease.reconnected(j)
		j.checkAll()
	case messagesLost:
		j.checkAll()
	}
}

// away notes that the servers are out of reach. Any goroutine may call it: that the lease is lost says more, and stays.
func (j *JetStream) away() { j.ready.CompareAndSwap(nil, &ErrAway) }

// tick does what is due.
func (j *JetStream) tick(now time.Time) {
	j.expirePublishes(now)
	j.expireChanges(now)
	j.lease.tick(j, now)
	j.rotate(now)
}

// checkAll looks whether anything is missing, everywhere.
func (j *JetStream) checkAll() {
	j.feed.check(j)
	for _, r := range j.rooms {
		j.check(r)
	}
}

// notify is called by goroutines of the connection.
func (j *JetStream) notify(n notice) {
	select {
	case j.notices <- n:
	case <-j.done:
	}
}
