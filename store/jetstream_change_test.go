package store

import (
	"slices"
	"testing"
	"time"

	"parley/store/natstest"
)

// A look at a user's record says nothing of what the feed has told since: who has left does not come back by it.
func TestOldLook(t *testing.T) {
	j, err := OpenJetStream(t.Context(), JetStreamOptions{URL: natstest.Server(t, t.TempDir()), Lease: time.Minute, Grace: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	reports := make(chan Report, 64)
	j.Start(func(r Report) { reports <- r })
	defer j.Close()
	if _, _, err := j.Claim(1, "hall"); err != nil {
		t.Fatal(err)
	}
	<-reports

	key := userKey(token("hall"), token("ann"))
	rev, err := j.put(t.Context(), key, userRecord{ID: "1", Name: "Ann", Nick: "ann", Node: "another"}, 0)
	if err != nil {
		t.Fatal(err)
	}
	if r := <-reports; len(r.Changes) != 1 || r.Changes[0].Kind != Arrived {
		t.Fatalf("%+v", r)
	}
	j.lookBefore(t, key, func() error {
		_, err := j.remove(t.Context(), key, "", rev)
		return err
	})
	here := make(chan int)
	j.tell(func() { here <- len(j.rooms[token("hall")].people) }) // behind what the look found
	if n := <-here; n != 0 {
		t.Errorf("%d are there", n)
	}
}

// The same of a room's record: one that is made meanwhile is not forgotten, or nobody could come in here any more.
func TestOldLookAtARoom(t *testing.T) {
	h := openHall(t)
	key := roomKey(token("hall"))
	h.lookBefore(t, key, func() error {
		_, err := h.put(t.Context(), key, roomRecord{Opened: true}, 0)
		return err
	})
	if err := h.Enter(2, Entry{User: User{ID: "bob", Name: "Bob", Nick: "bob", Room: "hall"}, Limit: 9}); err != nil {
		t.Fatal(err)
	}
	if heard := h.await(1); !slices.Equal(heard, []string{"entered <nil>"}) {
		t.Errorf("heard %v", heard)
	}
}

// Who was about to take over somebody who left at that moment is somebody new, and is said to be.
func TestTakenOverHasLeft(t *testing.T) {
	h := openHall(t)
	if _, err := h.put(t.Context(), roomKey(token("hall")), roomRecord{Opened: true}, 0); err != nil {
		t.Fatal(err)
	}
	key := userKey(token("hall"), token("ann"))
	rev, err := h.put(t.Context(), key, userRecord{ID: "1", Name: "Ann", Nick: "ann", Session: []byte("hers"), Node: "another"}, 0)
	if err != nil {
		t.Fatal(err)
	}
	if heard := h.await(1); !slices.Equal(heard, []string{"Ann"}) {
		t.Fatalf("heard %v", heard)
	}
	h.tell(func() { // the feed waits meanwhile
		if _, err := h.remove(t.Context(), key, "", rev); err != nil {
			t.Error(err)
		}
		h.enter(2, Entry{User: User{ID: "2", Name: "Ann", Nick: "ann", Room: "hall"}, Session: []byte("hers"), Limit: 9})
	})
	for r := range h.reports {
		if len(r.Entered) > 0 {
			if out := r.Entered[0]; out.Err != nil || out.ID != "2" || out.Resumed {
				t.Errorf("%+v", out)
			}
			return
		}
	}
}

// lookBefore has a key looked up, and goes on with what is found when this node has heard of a change made since.
func (j *JetStream) lookBefore(t *testing.T, key string, write func() error) {
	t.Helper()
	changed := make(chan error, 1)
	j.tell(func() {
		c := &change{kind: enters, room: token("hall"), key: key, nick: token("ann")}
		j.lookUp(c, key)
		c.over = true // given up meanwhile
		for looked := false; !looked; {
			<-j.wake
			j.mu.Lock()
			looked = len(j.queue) > 0
			j.mu.Unlock()
		}
		j.poke()
		before := j.feed.last
		err := write()
		for err == nil && j.feed.last == before {
			j.message(<-j.live)
		}
		changed <- err
	})
	if err := <-changed; err != nil {
		t.Fatal(err)
	}
}
