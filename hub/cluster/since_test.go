package cluster

import (
	"testing"

	"parley/hub/hubtest"
	"parley/store/natstest"
)

// In a room that is new, on a stream that has dropped what was old, nobody is told that something is missing: not when
// the room is empty still, and whatever node one comes back to.
func TestNewRoomOnOldStream(t *testing.T) {
	url := natstest.Server(t, t.TempDir())
	s := []*hubtest.Server{hubtest.Start(t, "--nats", url), hubtest.Start(t, "--nats", url)}
	old, _ := enter(t, s[0], "Old")
	for range 3 {
		old.RoomMessage("of long ago", "")
	}
	log, err := natstest.Streams(t, url).Stream(t.Context(), "parley-log")
	if err != nil {
		t.Fatal(err)
	}
	if err := log.Purge(t.Context()); err != nil {
		t.Fatal(err)
	}

	since, epoch := int64(-1), ""
	for i := range 6 {
		ann := hubtest.Dial(t, s[i%2].WS())
		login := hubtest.Login{Name: "Ann", Room: "new", Session: session("Ann")}
		if i > 0 {
			login.Since, login.Epoch = &since, epoch
		}
		ack := ann.Login(login)
		if i > 0 && !*ack.Recovered {
			t.Errorf("login %d: asked from %d, told %d, gap %+v", i, since, ack.Seq, ack.Gap)
		}
		since, epoch = ack.Seq, ack.Epoch
		if i >= 2 {
			since = ann.RoomMessage("hello", "").Seq
		}
	}
}
