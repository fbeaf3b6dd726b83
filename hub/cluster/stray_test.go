package cluster

import (
	"crypto/sha256"
	"slices"
	"strings"
	"testing"
	"time"

	"parley/hub/hubtest"
	"parley/store"
	"parley/store/natstest"
)

// driver is a node without a hub: the test makes the hub's calls itself.
type driver struct {
	*store.JetStream
	t       *testing.T
	reports chan store.Report
	ref     store.Ref
}

func openDriver(t *testing.T, url string) *driver {
	t.Helper()
	j, err := store.OpenJetStream(t.Context(), store.JetStreamOptions{URL: url, Lease: time.Minute, Grace: grace})
	if err != nil {
		t.Fatal(err)
	}
	d := &driver{JetStream: j, t: t, reports: make(chan store.Report, 1024)}
	j.Start(func(r store.Report) { d.reports <- r })
	t.Cleanup(func() { j.Close() })
	return d
}

// await takes reports until one is as wanted.
func (d *driver) await(what string, good func(store.Report) bool) {
	d.t.Helper()
	deadline := time.NewTimer(time.Minute)
	defer deadline.Stop()
	for {
		select {
		case r := <-d.reports:
			if good(r) {
				return
			}
		case <-deadline.C:
			d.t.Fatalf("not reported: %s", what)
		}
	}
}

func (d *driver) claim() {
	d.t.Helper()
	d.ref++
	if _, _, err := d.Claim(d.ref, "hall"); err != nil {
		d.t.Fatal(err)
	}
	d.await("the room", func(r store.Report) bool { return len(r.Claimed) == 1 && r.Claimed[0].Err == nil })
}

// begin begins an Enter.
func (d *driver) begin(id, name string) store.Ref {
	d.t.Helper()
	d.ref++
	sum := sha256.Sum256([]byte(session(name)))
	e := store.Entry{User: store.User{ID: id, Name: name, Nick: name, Room: "hall"}, Session: sum[:], Limit: 9}
	if err := d.Enter(d.ref, e); err != nil {
		d.t.Fatal(err)
	}
	return d.ref
}

func (d *driver) entered(ref store.Ref) (out store.Entered) {
	d.t.Helper()
	d.await("the outcome of an Enter", func(r store.Report) bool {
		for _, e := range r.Entered {
			if e.Ref == ref {
				out = e
				return true
			}
		}
		return false
	})
	return out
}

func (d *driver) awaitChange(kind store.ChangeKind, id string) {
	d.t.Helper()
	d.await("a change", func(r store.Report) bool {
		for _, c := range r.Changes {
			if c.Kind == kind && c.Member.ID == id {
				return true
			}
		}
		return false
	})
}

// A login is given up while it is on its way to NATS, and its node holds the room no longer when it is carried out:
// its user is in the room for the grace period, and then leaves.
func TestStray(t *testing.T) {
	url := natstest.Server(t, t.TempDir())
	link := hubtest.NewProxy(t, strings.TrimPrefix(url, "nats://"))
	a, b := openDriver(t, "nats://"+link.Addr()), openDriver(t, url)
	b.claim()
	b.entered(b.begin("1", "Bob")) // so that the room is open
	a.claim()
	link.Each(func(l *hubtest.Link) { l.Freeze(hubtest.ToClient) })
	ref := a.begin("2", "Ann")
	b.awaitChange(store.Arrived, "2")
	a.Cancel(ref)
	if out := a.entered(ref); out.Err == nil {
		t.Fatal("it was not given up")
	}
	a.Release("hall")
	link.Each(func(l *hubtest.Link) { l.Thaw(hubtest.ToClient) })
	b.awaitChange(store.Left, "2")
}

// The same when the node's hub releases the room before it has heard of the user.
func TestStrayOfReleasedRoom(t *testing.T) {
	url := natstest.Server(t, t.TempDir())
	a, b := openDriver(t, url), openDriver(t, url)
	a.claim()
	b.claim()
	ref := a.begin("1", "Ann")
	a.entered(ref)
	a.Release("hall")
	b.awaitChange(store.Arrived, "1")
	b.awaitChange(store.Left, "1")
}

// The end of an earlier connection, told while a later one comes in, does not concern that one.
func TestAwayBehindEnter(t *testing.T) {
	a := openDriver(t, natstest.Server(t, t.TempDir()))
	a.claim()
	a.entered(a.begin("1", "Ann"))
	again := a.begin("2", "Ann")
	a.Away("hall", "Ann", "1")
	a.Expire("hall", "Ann", "1")
	for _, ref := range []store.Ref{again, a.begin("3", "Ann")} { // the second is behind the others
		if out := a.entered(ref); out.Err != nil || !out.Resumed || out.ID != "1" {
			t.Errorf("%+v", out)
		}
	}
}

// takenUnheard has Ann, who came in by a, taken over by b; a hears nothing of that before it is told.
func takenUnheard(t *testing.T) (a, b *driver, tell func()) {
	t.Helper()
	url := natstest.Server(t, t.TempDir())
	link := hubtest.NewProxy(t, strings.TrimPrefix(url, "nats://"))
	a, b = openDriver(t, "nats://"+link.Addr()), openDriver(t, url)
	a.claim()
	b.claim()
	a.entered(a.begin("1", "Ann"))
	b.awaitChange(store.Arrived, "1")
	link.Each(func(l *hubtest.Link) { l.Freeze(hubtest.ToClient) })
	if out := b.entered(b.begin("2", "Ann")); out.Err != nil || !out.Resumed {
		t.Fatalf("%+v", out)
	}
	return a, b, func() { link.Each(func(l *hubtest.Link) { l.Thaw(hubtest.ToClient) }) }
}

// The newest login has the user, though its node has not heard yet that an older one took it elsewhere.
func TestTakenBackUnheard(t *testing.T) {
	a, b, tell := takenUnheard(t)
	ref := a.begin("3", "Ann")
	tell()
	if out := a.entered(ref); out.Err != nil || out.ID != "1" {
		t.Errorf("%+v", out)
	}
	b.await("that Ann is gone", func(r store.Report) bool {
		return slices.ContainsFunc(r.Changes, func(c store.Change) bool { return c.Kind == store.Moved && !c.Member.Here })
	})
}

// A connection ends on a node that has not heard yet that its user is on another one by now: that stays where it is.
func TestAwayOfTakenOver(t *testing.T) {
	a, b, tell := takenUnheard(t)
	a.Away("hall", "Ann", "1")
	ref := a.begin("3", "Bob") // behind it
	b.await("that Bob is there", func(r store.Report) bool {
		bob := false
		for _, c := range r.Changes {
			if c.Member.ID == "1" {
				t.Errorf("Ann is %+v", c)
			}
			bob = bob || c.Member.ID == "3"
		}
		return bob
	})
	tell()
	a.entered(ref)
}
