package store

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"sync"
	"testing"
	"time"

	"parley/store/natstest"
)

// natsURL is where the test that runs now finds its server.
var natsURL string

func withServer(t *testing.T, test func(*testing.T)) {
	natsURL = natstest.Server(t, t.TempDir())
	test(t)
}

const answerWithin = 30 * time.Second

// untilAnswered waits for the answer to everything that the rig has asked.
func untilAnswered(r *rig) {
	deadline := time.NewTimer(answerWithin)
	defer deadline.Stop()
	for {
		r.mu.Lock()
		missing := int(r.ref-r.base) - len(r.appended) - len(r.claimed) - r.removals
		r.mu.Unlock()
		if missing <= 0 {
			return
		}
		select {
		case <-r.news:
		case <-deadline.C:
			panic(fmt.Sprintf("%d calls were not answered", missing))
		}
	}
}

// lonely is a node on its own, as the suite knows drivers: its locks are made by somebody who enters, and stays
// until the room is released; and a room is claimed by its first message.
type lonely struct {
	*JetStream

	mu      sync.Mutex
	ref     Ref
	claimed map[string]bool
	openers map[string]string // room → nick, and id
	answers map[Ref]chan error
	left    map[string]chan struct{}
}

// lonelyRefs are above those of the rig.
const lonelyRefs = 1 << 32

func openLonely(dir string, opts Options) (store, error) {
	j, err := OpenJetStream(context.Background(), JetStreamOptions{
		Options: opts, URL: natsURL, Prefix: "p" + token(dir)[:16], Lease: time.Minute,
	})
	if err != nil {
		return nil, err
	}
	return &lonely{
		JetStream: j, ref: lonelyRefs, claimed: make(map[string]bool), openers: make(map[string]string),
		answers: make(map[Ref]chan error), left: make(map[string]chan struct{}),
	}, nil
}

func (l *lonely) Start(sink Sink) {
	l.JetStream.Start(func(rep Report) {
		l.mu.Lock()
		answer := func(ref Ref, err error) bool {
			c := l.answers[ref]
			if c != nil {
				c <- err
				delete(l.answers, ref)
			}
			return c != nil
		}
		claimed := rep.Claimed
		rep.Claimed = nil
		for _, c := range claimed {
			if !answer(c.Ref, c.Err) {
				rep.Claimed = append(rep.Claimed, c)
			}
		}
		for _, e := range rep.Entered {
			answer(e.Ref, e.Err)
		}
		for _, c := range rep.Changes {
			if c.Kind == Left && l.left[c.Member.ID] != nil {
				close(l.left[c.Member.ID])
				delete(l.left, c.Member.ID)
			}
		}
		l.mu.Unlock()
		sink(rep)
	})
}

// do makes a call of its own and waits for its outcome.
func (l *lonely) do(call func(Ref) error) error {
	answer := make(chan error, 1)
	l.mu.Lock()
	l.ref++
	ref := l.ref
	l.answers[ref] = answer
	l.mu.Unlock()
	if err := call(ref); err != nil {
		return err
	}
	select {
	case err := <-answer:
		return err
	case <-time.After(answerWithin):
		return errors.New("no answer")
	}
}

func (l *lonely) hold(room string) error {
	if l.claimed[room] {
		return nil
	}
	l.claimed[room] = true
	return l.do(func(ref Ref) error { _, _, err := l.JetStream.Claim(ref, room); return err })
}

func (l *lonely) Append(ref Ref, m Message) (Appended, bool, error) {
	if err := l.hold(m.Room); err != nil {
		return Appended{}, false, err
	}
	return l.JetStream.Append(ref, m)
}

func (l *lonely) Claim(ref Ref, room string) (Claimed, bool, error) {
	l.claimed[room] = true
	return l.JetStream.Claim(ref, room)
}

func (l *lonely) Lock(room string, access []byte) error {
	name := fmt.Sprint("opener ", l.ref)
	err := l.do(func(ref Ref) error {
		return l.Enter(ref, Entry{User: User{ID: name, Name: name, Nick: name, Room: room}, Access: access, Limit: 9})
	})
	if err == nil {
		l.openers[room] = name
	}
	return err
}

// leave takes the opener out.
func (l *lonely) leave(room string) {
	id := l.openers[room]
	if id == "" {
		return
	}
	delete(l.openers, room)
	gone := make(chan struct{})
	l.mu.Lock()
	l.left[id] = gone
	l.mu.Unlock()
	l.Leave(room, id, id)
	<-gone
}

func (l *lonely) Remove(ref Ref, room string) (Removed, bool, error) {
	l.leave(room)
	return l.JetStream.Remove(ref, room)
}

// Release waits until the room is forgotten, if it is to be.
func (l *lonely) Release(room string) {
	if l.Ready() != nil {
		l.JetStream.Release(room)
		return
	}
	l.leave(room)
	delete(l.claimed, room)
	l.JetStream.Release(room)
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for range tick.C {
		var rec roomRecord
		_, known, err := l.load(context.Background(), roomKey(token(room)), &rec)
		used, usedErr := l.used(context.Background(), token(room))
		if err != nil || usedErr != nil || used || !known || !rec.Opened {
			return
		}
	}
}

func (l *lonely) Close() error {
	for room := range maps.Clone(l.openers) {
		if l.Ready() == nil {
			l.leave(room)
		}
	}
	return l.JetStream.Close()
}
