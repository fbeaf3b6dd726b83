package store

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"parley/store/natstest"
)

// hall is a node that holds a room, and what it reports.
type hall struct {
	*JetStream
	t       *testing.T
	reports chan Report
}

func openHall(t *testing.T) *hall {
	t.Helper()
	j, err := OpenJetStream(t.Context(), JetStreamOptions{URL: natstest.Server(t, t.TempDir()), Lease: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	h := &hall{j, t, make(chan Report, 64)}
	j.Start(func(r Report) { h.reports <- r })
	t.Cleanup(func() { j.Close() })
	if _, _, err := j.Claim(1, "hall"); err != nil {
		t.Fatal(err)
	}
	<-h.reports
	for checking := make(chan bool, 1); ; { // what it looks for since it has the room
		j.tell(func() { checking <- j.rooms[token("hall")].checking })
		if !<-checking {
			return h
		}
	}
}

// say stores messages of which some do not reach the node. It is for the loop, so that nobody else takes what comes.
func (h *hall) say(said, lost []string) {
	for _, body := range said {
		s := stored{Message: Message{At: time.Now(), From: "Ann", Nick: "ann", Body: body}}
		if err := h.nc.Publish(h.names.messages+token("hall"), s.encode()); err != nil {
			h.t.Error(err)
		}
	}
	for come := 0; come < len(said); {
		m := <-h.live
		ours := strings.HasPrefix(m.Subject, h.names.room)
		if !ours || !slices.Contains(lost, said[come]) {
			h.message(m)
		}
		if ours {
			come++
		}
	}
}

// await notes what is reported, in order, until there is as much.
func (h *hall) await(n int) (all []string) {
	h.t.Helper()
	deadline := time.NewTimer(answerWithin)
	defer deadline.Stop()
	for len(all) < n {
		select {
		case r := <-h.reports:
			for _, m := range r.Stored {
				all = append(all, m.Body)
			}
			for _, c := range r.Changes {
				if c.Kind == Arrived && c.Member.Ref == 0 {
					all = append(all, c.Member.Name)
				}
			}
			for _, e := range r.Entered {
				all = append(all, fmt.Sprint("entered ", e.Err))
			}
		case <-deadline.C:
			h.t.Fatalf("heard %v", all)
		}
	}
	return all
}

// Messages that do not reach this node are read from the stream: before anything later is reported, and when nothing
// comes behind them.
func TestLostOnTheWay(t *testing.T) {
	said := []string{"1", "2", "3", "4", "5"}
	for name, lost := range map[string][]string{"one in the middle": {"2"}, "some": {"1", "3", "4"}, "the last": {"5"}, "all": said} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := openHall(t)
			h.tell(func() { h.say(said, lost) })
			if heard := h.await(len(said)); !slices.Equal(heard, said) {
				t.Errorf("heard %v", heard)
			}
		})
	}
}

// What can be read of what is missing is told, though something behind it cannot: so a node that lacks more than it can
// read at once comes on all the same.
func TestLostBeforeWhatCannotBeRead(t *testing.T) {
	h := openHall(t)
	h.tell(func() {
		h.say([]string{"1", "2"}, []string{"1", "2"})
		if err := h.nc.Publish(h.names.messages+token("hall"), []byte("no message of a node")); err != nil {
			t.Error(err)
		}
	})
	if heard := h.await(2); !slices.Equal(heard, []string{"1", "2"}) {
		t.Errorf("heard %v", heard)
	}
}

// Who comes in has been told of everything that was there before, though it has not reached this node yet.
func TestEnterBehindWhatIsLost(t *testing.T) {
	h := openHall(t)
	h.tell(func() {
		h.say([]string{"1", "2"}, []string{"2"})
		h.rotateAt = time.Now().Add(time.Hour) // nobody looks by chance
		h.enter(2, Entry{User: User{ID: "bob", Name: "Bob", Nick: "bob", Room: "hall"}, Limit: 9})
	})
	if heard := h.await(3); !slices.Equal(heard, []string{"1", "2", "entered <nil>"}) {
		t.Errorf("heard %v", heard)
	}
}

// The same of those who come.
func TestArrivalsLostOnTheWay(t *testing.T) {
	names := []string{"ann", "bob", "cid"}
	for _, lost := range names {
		t.Run(lost, func(t *testing.T) {
			t.Parallel()
			h := openHall(t)
			h.tell(func() {
				for _, name := range names {
					record := userRecord{ID: name, Name: name, Nick: name, Node: "another"}
					if _, err := h.put(t.Context(), userKey(token("hall"), token(name)), record, 0); err != nil {
						t.Error(err)
					}
				}
				for come := 0; come < len(names); {
					m := <-h.live
					ours := strings.HasPrefix(m.Subject, h.names.feed+token("hall"))
					if !ours || names[come] != lost {
						h.message(m)
					}
					if ours {
						come++
					}
				}
			})
			if heard := h.await(len(names)); !slices.Equal(heard, names) {
				t.Errorf("heard of %v", heard)
			}
		})
	}
}

// A room that was opened when the stream had dropped messages, and is empty again, leaves nothing in the bucket.
func TestForgottenOnOldStream(t *testing.T) {
	h := openHall(t)
	h.tell(func() { h.say([]string{"1", "2"}, nil) })
	h.await(2)
	if err := h.purge(t.Context(), token("hall"), 2); err != nil {
		t.Fatal(err)
	}
	if _, _, err := h.Claim(2, "new"); err != nil {
		t.Fatal(err)
	}
	if r := <-h.reports; len(r.Claimed) != 1 || r.Claimed[0].State.Dropped != 2 {
		t.Fatalf("%+v", r)
	}
	if err := h.Enter(3, Entry{User: User{ID: "bob", Name: "Bob", Nick: "bob", Room: "new"}, Limit: 9}); err != nil {
		t.Fatal(err)
	}
	h.await(1)
	var rec roomRecord
	if _, known, err := h.load(t.Context(), roomKey(token("new")), &rec); err != nil || !known || rec.Dropped != 2 || rec.After != 2 {
		t.Errorf("opened as %+v, %v, %v", rec, known, err)
	}
	h.Leave("new", "bob", "bob")
	for gone := false; !gone; {
		for _, c := range (<-h.reports).Changes {
			gone = gone || c.Kind == Left
		}
	}
	h.Release("new")
	for known, begin := true, time.Now(); known; {
		if time.Since(begin) > answerWithin {
			t.Fatalf("still there: %+v", rec)
		}
		var err error
		if _, known, err = h.load(t.Context(), roomKey(token("new")), &rec); err != nil {
			t.Fatal(err)
		}
	}
}
