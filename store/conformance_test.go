package store

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
)

// TestMain lends the test binary to the tests that need another process (child_test.go).
func TestMain(m *testing.M) {
	if role := os.Getenv(childRole); role != "" {
		os.Exit(child(role))
	}
	flag.Parse()
	if err := flag.Set("rapid.shrinktime", "10h"); err != nil { // of the bubbles' clock: it runs fast
		panic(err)
	}
	goleak.VerifyTestMain(m)
}

// store is what a driver is.
type store interface {
	Log
	Directory
}

// driver is what the suite must know of a driver. A new one joins by its line in drivers.
type driver struct {
	name    string
	level   string // its durability
	durable bool   // it survives its process, and keys outlive their messages by a day and more
	open    func(dir string, opts Options) (store, error)
	// run runs a test with a clock that only settle moves, or with the real one.
	run func(t *testing.T, test func(*testing.T))
	// rest returns when what was asked is answered and, by a clock of the test's own, what is due is done.
	rest func(r *rig)
	// served: it goes by the clock of its servers, and one cannot wait for their retention.
	served bool
}

func (r *rig) settle() { r.rest(r) }

// settling is longer than every pause of a driver's background work under the suite's options, and every call
// of the suite is made at a multiple of it.
const settling = 4 * time.Second

func inBubble(*rig) { <-time.After(settling); synctest.Wait() }

var drivers = []driver{
	{
		name: "memory", level: "memory", run: synctest.Test, rest: inBubble,
		open: func(_ string, opts Options) (store, error) { return NewMemory(opts), nil },
	},
	{
		name: "sqlite", level: "disk", durable: true, run: synctest.Test, rest: inBubble,
		open: func(dir string, opts Options) (store, error) {
			s, err := OpenSQLite(context.Background(), filepath.Join(dir, "log.db"), opts)
			if err != nil {
				return nil, err // not a nil *SQLite in an interface
			}
			return s, nil
		},
	},
	{
		name: "jetstream", level: "disk", durable: true, served: true, run: withServer, rest: untilAnswered,
		open: openLonely,
	},
}

// failer is what *testing.T and *rapid.T have in common.
type failer interface {
	Helper()
	Fatalf(format string, args ...any)
}

// rig is a driver at work, and what it reported.
type rig struct {
	driver
	store
	dir  string
	opts Options
	skew atomic.Int64 // how far the clock that the driver is given is ahead
	ref  Ref
	base Ref // what was asked before the restart

	mu       sync.Mutex
	stored   []Message
	appended map[Ref]Appended
	claimed  map[Ref]Claimed
	trimmed  map[string]int64
	twice    []Ref
	removed  Removed       // the last
	removals int           // answered
	news     chan struct{} // holds one: something was reported
}

func newRig(t failer, d driver, dir string, opts Options) *rig {
	t.Helper()
	r := &rig{driver: d, dir: dir, opts: opts, news: make(chan struct{}, 1)}
	r.opts.Now = r.now
	r.reopen(t)
	return r
}

func (r *rig) now() time.Time { return time.Now().Add(time.Duration(r.skew.Load())) }

// reopen is a restart of the server.
func (r *rig) reopen(t failer) {
	t.Helper()
	r.close(t)
	s, err := r.open(r.dir, r.opts)
	if err != nil {
		t.Fatalf("open: %v", err)
	}
	r.store = s
	r.base, r.removals = r.ref, 0
	r.stored, r.twice = nil, nil
	r.appended, r.claimed = make(map[Ref]Appended), make(map[Ref]Claimed)
	r.trimmed = make(map[string]int64)
	s.Start(r.take)
}

func (r *rig) close(t failer) {
	t.Helper()
	if r.store == nil {
		return
	}
	if err := r.Close(); err != nil {
		t.Fatalf("close: %v", err)
	}
}

func (r *rig) take(rep Report) {
	defer func() {
		select {
		case r.news <- struct{}{}:
		default:
		}
	}()
	r.mu.Lock()
	defer r.mu.Unlock()
	r.stored = append(r.stored, rep.Stored...)
	for _, a := range rep.Appended {
		if _, ok := r.appended[a.Ref]; ok {
			r.twice = append(r.twice, a.Ref)
		}
		r.appended[a.Ref] = a
	}
	for _, c := range rep.Claimed {
		if _, ok := r.claimed[c.Ref]; ok {
			r.twice = append(r.twice, c.Ref)
		}
		r.claimed[c.Ref] = c
	}
	for _, out := range rep.Removed {
		r.removed = out
		r.removals++
	}
	for _, trim := range rep.Trimmed {
		r.trimmed[trim.Room] = max(r.trimmed[trim.Room], trim.Through)
	}
}

// newlyStored gives what was reported as stored since it was last asked.
func (r *rig) newlyStored() []Message {
	r.mu.Lock()
	defer r.mu.Unlock()
	stored := r.stored
	r.stored = nil
	return stored
}

// told gives the highest mark of the room that was reported.
func (r *rig) told(room string) int64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.trimmed[room]
}

// send appends without waiting.
func (r *rig) send(t failer, m Message) Ref {
	t.Helper()
	r.ref++
	m.At = r.now()
	out, done, err := r.Append(r.ref, m)
	if err != nil {
		t.Fatalf("append: %v", err)
	}
	if done {
		rep := Report{Appended: []Appended{out}}
		if out.Err == nil && !out.Duplicate {
			m.Seq, m.At = out.Seq, out.At
			rep.Stored = []Message{m}
		}
		r.take(rep)
	}
	return r.ref
}

// say appends and waits for the outcome, which must be a good one.
func (r *rig) say(t failer, room, nick, key, body string) Appended {
	t.Helper()
	ref := r.send(t, Message{Room: room, From: strings.ToUpper(nick), Nick: nick, UserID: "id-" + nick, Key: key, Body: body})
	r.settle()
	return r.outcome(t, ref)
}

func (r *rig) outcome(t failer, ref Ref) Appended {
	t.Helper()
	r.mu.Lock()
	defer r.mu.Unlock()
	out, ok := r.appended[ref]
	if !ok || out.Err != nil || len(r.twice) > 0 {
		t.Fatalf("append %d: reported %v, %v; twice: %v", ref, ok, out.Err, r.twice)
	}
	return out
}

func (r *rig) claim(t failer, room string) RoomState {
	t.Helper()
	r.ref++
	out, done, err := r.Claim(r.ref, room)
	if err != nil {
		t.Fatalf("claim: %v", err)
	}
	if !done {
		r.settle()
		r.mu.Lock()
		defer r.mu.Unlock()
		var ok bool
		if out, ok = r.claimed[r.ref]; !ok {
			t.Fatalf("claim %d of %s was not answered", r.ref, room)
		}
	}
	if out.Err != nil || out.Ref != r.ref {
		t.Fatalf("claim: %v, ref %d for %d", out.Err, out.Ref, r.ref)
	}
	return out.State
}

// remove removes the room and gives the number through which it did.
func (r *rig) remove(t failer, room string) int64 {
	t.Helper()
	r.ref++
	out, done, err := r.Remove(r.ref, room)
	if err != nil {
		t.Fatalf("remove: %v", err)
	}
	if !done {
		r.settle()
		r.mu.Lock()
		defer r.mu.Unlock()
		out = r.removed
	}
	if out.Err != nil || out.Ref != r.ref || out.Room != room {
		t.Fatalf("remove: %+v, ref %d, room %s", out, r.ref, room)
	}
	return out.Through
}

func (r *rig) mustLock(t failer, room string, access []byte) {
	t.Helper()
	if err := r.Lock(room, access); err != nil {
		t.Fatalf("lock: %v", err)
	}
}

func (r *rig) page(t failer, room string, q Query) Page {
	t.Helper()
	p, err := r.Read(context.Background(), room, q)
	if err != nil {
		t.Fatalf("read: %v", err)
	}
	return p
}

// served and unserved are what conform leaves out: a test that moves the clock by which messages age cannot do so
// with the servers', and some are about them alone.
func served(d driver) bool   { return d.served }
func unserved(d driver) bool { return !d.served }

// conform runs test over all drivers, but for those that are left out.
func conform(t *testing.T, opts Options, test func(t *testing.T, r *rig), without ...func(driver) bool) {
	for _, d := range drivers {
		if len(without) > 0 && without[0](d) {
			continue
		}
		t.Run(d.name, func(t *testing.T) {
			dir := t.TempDir()
			d.run(t, func(t *testing.T) {
				r := newRig(t, d, dir, opts)
				defer func() { r.close(t) }()
				test(t, r)
			})
		})
	}
}

func bodies(messages []Message) string {
	var out []string
	for _, m := range messages {
		out = append(out, m.Body)
	}
	return strings.Join(out, " ")
}

func TestMessageComesBackWhole(t *testing.T) {
	conform(t, Options{}, func(t *testing.T, r *rig) {
		if r.Durability() != r.level || r.Epoch() == "" || r.Ready() != nil {
			t.Fatalf("durability %q, epoch %q, ready %v", r.Durability(), r.Epoch(), r.Ready())
		}
		sent := Message{
			Room: "café ✉", From: "Änn", Nick: "änn", UserID: "id", Key: "0123456789abcdef",
			Body: "a\x00b\u2028'\"\\ 🎉",
		}
		from := r.now().Truncate(time.Millisecond)
		ref := r.send(t, sent)
		to := r.now().Truncate(time.Millisecond)
		r.settle()
		out := r.outcome(t, ref)
		if out.At.Before(from) || out.At.After(to) || !out.At.Equal(out.At.Truncate(time.Millisecond)) || out.At.Location() != time.UTC {
			t.Errorf("at %v, sent from %v to %v", out.At, from, to)
		}
		sent.Seq, sent.At = out.Seq, out.At
		for where, got := range map[string][]Message{
			"reported": r.newlyStored(),
			"read":     r.page(t, sent.Room, Query{Limit: 1}).Messages,
			"claimed":  r.claim(t, sent.Room).Recent,
		} {
			if len(got) != 1 || got[0] != sent {
				t.Errorf("%s: %+v, want %+v", where, got, sent)
			}
		}
	})
}

func TestOrderIsTheOrderOfNumbers(t *testing.T) {
	conform(t, Options{}, func(t *testing.T, r *rig) {
		for i := range 500 {
			r.send(t, Message{Room: fmt.Sprint("r", i%3), Nick: "ann", Body: fmt.Sprint(i)})
		}
		r.settle()
		stored := r.newlyStored()
		if len(stored) != 500 {
			t.Fatalf("%d stored", len(stored))
		}
		next, last := map[string]int{"r0": 0, "r1": 1, "r2": 2}, make(map[string]int64)
		for i, m := range stored {
			if m.Body != fmt.Sprint(next[m.Room]) || m.Seq <= last[m.Room] {
				t.Fatalf("stored[%d] is %q of %s with seq %d", i, m.Body, m.Room, m.Seq)
			}
			next[m.Room], last[m.Room] = next[m.Room]+3, m.Seq
		}
	})
}

func TestKeyIsStoredOnce(t *testing.T) {
	conform(t, Options{}, func(t *testing.T, r *rig) {
		m := Message{Room: "a", Nick: "ann", Key: "key", Body: "first"}
		again := m
		again.Body = "again"
		first, second := r.send(t, m), r.send(t, again) // in flight together
		r.settle()
		one, two := r.outcome(t, first), r.outcome(t, second)
		if one.Duplicate || !two.Duplicate || two.Seq != one.Seq || two.At != one.At {
			t.Fatalf("first %+v, second %+v", one, two)
		}
		for _, other := range []Message{
			{Room: "b", Nick: "ann", Key: "key"},
			{Room: "a", Nick: "bob", Key: "key"},
			{Room: "a", Nick: "ann", Key: "yek"},
			{Room: "a", Nick: "ann"},
			{Room: "a", Nick: "ann"},
		} {
			if out := r.say(t, other.Room, other.Nick, other.Key, "other"); out.Duplicate {
				t.Errorf("%+v counts as a duplicate", other)
			}
		}
		if got := bodies(r.page(t, "a", Query{Limit: 9}).Messages); got != "first other other other other" {
			t.Errorf("kept: %s", got)
		}
		if !r.durable {
			return
		}
		r.reopen(t)
		if out := r.say(t, "a", "ann", "key", "later"); !out.Duplicate || out.Seq != one.Seq || out.At != one.At {
			t.Errorf("after a restart: %+v, want %+v", out, one)
		}
	})
}

func TestPages(t *testing.T) {
	conform(t, Options{}, func(t *testing.T, r *rig) {
		var seq []int64
		for i := range 6 {
			r.say(t, "other", "ann", "", "x")
			seq = append(seq, r.say(t, "a", "ann", "", strings.Repeat(fmt.Sprint(i), 10)).Seq)
		}
		for _, c := range []struct {
			q    Query
			want string // first digits
			more bool
		}{
			{Query{Limit: 10}, "012345", false},
			{Query{Limit: 6}, "012345", false},
			{Query{Limit: 5}, "12345", true},
			{Query{Limit: 5, Oldest: true}, "01234", true},
			{Query{Limit: 0}, "", true},
			{Query{Limit: 3, Before: seq[4]}, "123", true},
			{Query{Limit: 4, Before: seq[4]}, "0123", false},
			{Query{Limit: 3, After: seq[1], Oldest: true}, "234", true},
			{Query{Limit: 4, After: seq[1], Oldest: true}, "2345", false},
			{Query{Limit: 9, After: seq[1], Before: seq[4]}, "23", false},
			{Query{Limit: 1, After: seq[1], Before: seq[4]}, "3", true},
			{Query{Limit: 9, After: seq[5]}, "", false},
			{Query{Limit: 9, Before: seq[0]}, "", false},
			{Query{Limit: 9, After: seq[4], Before: seq[2]}, "", false},
			{Query{Limit: 9, Bytes: 20}, "45", true},
			{Query{Limit: 9, Bytes: 29}, "45", true},
			{Query{Limit: 9, Bytes: 60}, "012345", false},
			{Query{Limit: 9, Bytes: 30, Oldest: true}, "012", true},
			{Query{Limit: 9, Bytes: 5}, "5", true},
		} {
			p := r.page(t, "a", c.q)
			got := ""
			for _, m := range p.Messages {
				got += m.Body[:1]
			}
			if got != c.want || p.More != c.more {
				t.Errorf("%+v: %q, more %v; want %q, %v", c.q, got, p.More, c.want, c.more)
			}
		}
		if p := r.page(t, "nowhere", Query{Limit: 9}); len(p.Messages) > 0 || p.More || p.Dropped != 0 {
			t.Errorf("an unknown room: %+v", p)
		}
	})
}

func TestClaimLoadsTheNewest(t *testing.T) {
	conform(t, Options{}, func(t *testing.T, r *rig) {
		if s := r.claim(t, "a"); s.Known || s.Seq != 0 || s.Dropped != 0 || s.From != 0 || s.Recent != nil {
			t.Fatalf("an unknown room: %+v", s)
		}
		r.mustLock(t, "a", nil)
		for i := range RecentMessages + 10 {
			r.send(t, Message{Room: "a", Nick: "ann", Body: fmt.Sprint(i)})
		}
		for range 3 {
			r.send(t, Message{Room: "large", Nick: "ann", Body: strings.Repeat("x", RecentBytes/2)})
		}
		r.settle()
		s := r.claim(t, "a")
		if !s.Known || len(s.Recent) != RecentMessages || s.Recent[0].Body != "10" || s.From != s.Recent[0].Seq-1 ||
			s.Seq != s.Recent[RecentMessages-1].Seq {
			t.Errorf("%d messages from %d to %d, known %v", len(s.Recent), s.From, s.Seq, s.Known)
		}
		if s := r.claim(t, "large"); len(s.Recent) != 2 || s.From != s.Recent[0].Seq-1 {
			t.Errorf("of large messages %d from %d", len(s.Recent), s.From)
		}
	})
}

func TestClosed(t *testing.T) {
	conform(t, Options{}, func(t *testing.T, r *rig) {
		ref := r.send(t, Message{Room: "a", Nick: "ann", Body: "last"})
		r.close(t)
		r.outcome(t, ref) // what was taken is finished
		_, _, err := r.Append(1, Message{Room: "a"})
		_, _, err2 := r.Claim(2, "a")
		_, err3 := r.Read(context.Background(), "a", Query{Limit: 1})
		r.Release("a")
		for _, err := range []error{err, err2, err3, r.Lock("a", nil), r.Ready()} {
			if !errors.Is(err, ErrClosed) {
				t.Errorf("%v, want ErrClosed", err)
			}
		}
		r.close(t) // once more does no harm
	})
}

// TestRetention: the oldest go, the room's owner hears of it, and the mark stays when the room is forgotten.
func TestRetention(t *testing.T) {
	conform(t, Options{History: 3, Retain: 21 * time.Second}, func(t *testing.T, r *rig) {
		r.claim(t, "a")
		r.mustLock(t, "a", nil)
		var refs []Ref
		for i := range 5 {
			refs = append(refs, r.send(t, Message{Room: "a", Nick: "ann", Body: fmt.Sprint(i)}))
		}
		r.settle()
		second, last := r.outcome(t, refs[1]).Seq, r.outcome(t, refs[4]).Seq
		if p := r.page(t, "a", Query{Limit: 9}); bodies(p.Messages) != "2 3 4" || p.Dropped != second || r.told("a") != second {
			t.Fatalf("by count: %s kept, mark %d, told %d; want %d", bodies(p.Messages), p.Dropped, r.told("a"), second)
		}
		r.skew.Add(int64(time.Minute))
		r.settle()
		if s := r.claim(t, "a"); len(s.Recent) > 0 || s.Dropped != last || s.Seq != last || r.told("a") != last || !s.Known {
			t.Fatalf("by age: %+v, told %d; want %d", s, r.told("a"), last)
		}
		r.Release("a")
		for _, room := range []string{"a", "never"} {
			if s := r.claim(t, room); s.Known || s.Dropped != last || s.Seq != last {
				t.Errorf("forgotten, %s: %+v, want mark %d", room, s, last)
			}
		}
		r.mustLock(t, "never", nil)
		if p := r.page(t, "never", Query{Limit: 1}); p.Dropped != last {
			t.Errorf("a room made since: mark %d, want %d", p.Dropped, last)
		}
	}, served)
}

// TestRetentionAfterAWrongClock: what was said while the clock was ahead does not keep what came later for ever.
func TestRetentionAfterAWrongClock(t *testing.T) {
	conform(t, Options{Retain: 21 * time.Second}, func(t *testing.T, r *rig) {
		const ahead = 10_000 * time.Hour
		r.skew.Add(int64(ahead))
		r.say(t, "a", "ann", "", "1")
		r.say(t, "alone", "ann", "", "1")
		r.skew.Add(-int64(ahead))
		r.say(t, "a", "ann", "", "2")
		last := r.say(t, "a", "ann", "", "3").Seq
		r.say(t, "b", "ann", "", "4")
		r.skew.Add(int64(time.Minute))
		r.settle()
		for room, want := range map[string]string{"a": "", "b": "", "alone": "1"} {
			if p := r.page(t, room, Query{Limit: 9}); bodies(p.Messages) != want || room == "a" && p.Dropped < last {
				t.Errorf("%s has %q, mark %d; want %q", room, bodies(p.Messages), p.Dropped, want)
			}
		}
		r.skew.Add(int64(ahead))
		r.settle()
		if p := r.page(t, "alone", Query{Limit: 9}); len(p.Messages) > 0 {
			t.Errorf("when its own time had come: %q", bodies(p.Messages))
		}
	}, served)
}

func TestRestartKeepsCounting(t *testing.T) {
	conform(t, Options{Retain: 21 * time.Second}, func(t *testing.T, r *rig) {
		epoch := r.Epoch()
		last := r.say(t, "a", "ann", "", "x").Seq
		r.skew.Add(int64(time.Hour))
		r.settle()
		if p := r.page(t, "a", Query{Limit: 1}); !r.served && (len(p.Messages) > 0 || p.Dropped != last) {
			t.Fatalf("after an hour: %+v", p)
		}
		r.reopen(t)
		if next := r.say(t, "a", "ann", "", "y").Seq; next <= last {
			t.Errorf("seq %d after %d", next, last)
		}
		if r.durable != (epoch == r.Epoch()) {
			t.Errorf("epoch %q after %q", r.Epoch(), epoch)
		}
	})
}

// TestRemove: nothing of the room is left but its mark, and not in the file either.
func TestRemove(t *testing.T) {
	conform(t, Options{}, func(t *testing.T, r *rig) {
		const text = "a text that somebody wants to be gone"
		r.claim(t, "a")
		r.mustLock(t, "a", []byte("0123456789abcdef0123456789abcdef"))
		r.say(t, "b", "ann", "key", "kept")
		last := r.say(t, "a", "ann", "key", text).Seq
		if through := r.remove(t, "a"); through < last {
			t.Errorf("through %d, not %d", through, last)
		}
		if s := r.claim(t, "a"); s.Known || s.Lock != nil || len(s.Recent) > 0 || s.Dropped < last {
			t.Errorf("known %v, lock %q, %d messages, mark %d of %d", s.Known, s.Lock, len(s.Recent), s.Dropped, last)
		}
		r.mustLock(t, "a", nil)
		if p := r.page(t, "a", Query{Limit: 9}); len(p.Messages) > 0 || p.Dropped < last {
			t.Errorf("opened anew: %d messages, mark %d of %d", len(p.Messages), p.Dropped, last)
		}
		if out := r.say(t, "a", "ann", "key", "anew"); out.Duplicate || out.Seq <= last {
			t.Errorf("its key is remembered: %+v", out)
		}
		if p := r.page(t, "b", Query{Limit: 9}); bodies(p.Messages) != "kept" {
			t.Errorf("another room has %q", bodies(p.Messages))
		}
		r.close(t)
		files, err := filepath.Glob(filepath.Join(r.dir, "*"))
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range files {
			if data, err := os.ReadFile(file); err != nil || strings.Contains(string(data), text) {
				t.Errorf("%s: the text is still there, or %v", filepath.Base(file), err)
			}
		}
	})
}

func TestLocks(t *testing.T) {
	conform(t, Options{}, func(t *testing.T, r *rig) {
		access := []byte("0123456789abcdef0123456789abcdef")
		open := func(room string, access []byte) {
			r.claim(t, room)
			r.mustLock(t, room, access)
		}
		check := func(when, room string, known bool, access []byte) {
			t.Helper()
			if s := r.claim(t, room); s.Known != known || !slices.Equal(s.Lock, access) || (s.Lock == nil) != (access == nil) {
				t.Errorf("%s: %s is known %v with lock %q; want %v, %q", when, room, s.Known, s.Lock, known, access)
			}
		}
		open("silent", access)
		r.Release("silent")
		check("released without messages", "silent", false, nil)

		open("locked", access)
		open("open", nil)
		r.say(t, "locked", "ann", "", "x")
		r.say(t, "open", "ann", "", "x")
		r.Release("locked")
		r.Release("open")
		check("released with messages", "locked", true, access)
		check("released with messages", "open", true, nil)

		open("waiting", access)
		if !r.durable {
			return
		}
		r.reopen(t)
		check("after a restart", "locked", true, access)
		check("after a restart", "waiting", true, access)
		r.reopen(t)
		r.skew.Add(int64(9 * time.Minute))
		r.settle()
		check("9 minutes after a restart", "waiting", true, access)
		r.reopen(t)
		r.skew.Add(int64(11 * time.Minute))
		r.settle()
		check("11 minutes after a restart", "locked", true, access)
		check("11 minutes after a restart", "waiting", false, nil)
	})
}
