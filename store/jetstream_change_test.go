package store

import (
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
	left := make(chan error, 1)
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
		_, err := j.remove(t.Context(), key, "", rev)
		for j.feed.last == rev {
			j.message(<-j.live)
		}
		left <- err
	})
	if err := <-left; err != nil {
		t.Fatal(err)
	}
	here := make(chan int)
	j.tell(func() { here <- len(j.rooms[token("hall")].people) }) // behind what the look found
	if n := <-here; n != 0 {
		t.Errorf("%d are there", n)
	}
}
