package store

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// TestDamageWhileRunning: a page that cannot be read costs its readers and writers an error, and no more.
func TestDamageWhileRunning(t *testing.T) {
	path := damaged(t, func(t *testing.T, path string) {
		// All pages after those of the schema and the first of each table.
		info, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		for page := int64(12); page < info.Size()/4096; page++ {
			write(t, path, page*4096, strings.Repeat("\xff", 4096))
		}
	})
	s, err := OpenSQLite(t.Context(), path, Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	reports := make(chan Report, 10)
	s.Start(func(r Report) { reports <- r })
	if _, err := s.Read(t.Context(), "a", Query{Limit: 100}); err == nil {
		t.Error("read what is damaged")
	}
	if _, _, err := s.Claim(1, "a"); err != nil {
		t.Fatal(err)
	}
	if r := <-reports; len(r.Claimed) != 1 || r.Claimed[0].Err == nil {
		t.Error("claimed what is damaged")
	}
	secret := "the text of a message"
	if _, _, err := s.Append(2, Message{Room: "a", Nick: "ann", Body: secret}); err != nil {
		t.Fatal(err)
	}
	r := <-reports
	if len(r.Stored) > 0 || len(r.Appended) != 1 || r.Appended[0].Err == nil || s.Ready() == nil {
		t.Fatalf("stored in what is damaged: %d; ready: %v", len(r.Stored), s.Ready())
	}
	if strings.Contains(r.Appended[0].Err.Error(), secret) {
		t.Errorf("the text is in the error: %v", r.Appended[0].Err)
	}
}

// TestProbe: what tells whether the disk takes anything gives it something, at the opening too, and changes nothing.
func TestProbe(t *testing.T) {
	path := filepath.Join(t.TempDir(), "parley.db")
	open := func() *SQLite {
		s, err := OpenSQLite(t.Context(), path, Options{})
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	written := func() int64 {
		info, err := os.Stat(path + "-wal")
		if err != nil {
			t.Fatal(err)
		}
		return info.Size()
	}
	dropped := func(s *SQLite) (mark int64) {
		if err := s.writer.conn.QueryRowContext(t.Context(), `SELECT dropped FROM log`).Scan(&mark); err != nil {
			t.Fatal(err)
		}
		return mark
	}
	first := open()
	if _, err := first.writer.conn.ExecContext(t.Context(), `UPDATE log SET dropped = 7`); err != nil {
		t.Fatal(err)
	}
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	s := open()
	defer s.Close()
	before := written()
	if before == 0 {
		t.Error("nothing was written at the opening")
	}
	if err := s.writer.transaction(flushed, s.writer.probe); err != nil {
		t.Fatal(err)
	}
	if written() == before {
		t.Error("a probe writes nothing")
	}
	if got := dropped(s); got != 7 {
		t.Errorf("a probe changed 7 to %d", got)
	}
}

// allow lets the file have so many pages, but as many as it has now at the least. The writer must be idle.
func allow(t *testing.T, r *rig, pages int) {
	t.Helper()
	conn := r.store.(*SQLite).writer.conn
	if _, err := conn.ExecContext(t.Context(), fmt.Sprintf("PRAGMA max_page_count = %d", pages)); err != nil {
		t.Fatal(err)
	}
}

// asOneGroup sends messages that the writer finds together: one before them keeps it waiting with its report.
func asOneGroup(t *testing.T, r *rig, messages ...Message) {
	t.Helper()
	s := r.store.(*SQLite)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.send(t, Message{Room: "another", Nick: "ann"})
	for taken := false; !taken; runtime.Gosched() {
		s.mu.Lock()
		taken = len(s.queue) == 0
		s.mu.Unlock()
	}
	for _, m := range messages {
		r.send(t, m)
	}
}

// TestFullDisk: while the file can grow no more, messages are refused; room makes it well without a restart,
// and what was told of locks meanwhile holds.
func TestFullDisk(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, drivers[1], dir, Options{})
		defer func() { r.close(t) }()
		s := r.store.(*SQLite)
		r.say(t, "a", "ann", "", "before")
		allow(t, r, 1)
		r.claim(t, "locked")
		access := []byte("0123456789abcdef0123456789abcdef")
		var refs []Ref
		for i := range 20 {
			refs = append(refs, r.send(t, Message{Room: "a", Nick: "ann", Key: fmt.Sprint("key", i), Body: strings.Repeat("x", 5000)}))
		}
		r.mustLock(t, "locked", access)
		for answered := 0; answered < 1+len(refs); {
			<-time.After(time.Millisecond) // a step at a time: soon a probe comes, which needs no more of the disk
			synctest.Wait()
			r.mu.Lock()
			answered = len(r.appended)
			r.mu.Unlock()
		}
		for _, ref := range refs {
			if out := r.appended[ref]; out.Err == nil || !strings.Contains(out.Err.Error(), "full") {
				t.Fatalf("on a full disk: %+v", out)
			}
		}
		if s.Ready() == nil {
			t.Error("ready on a full disk")
		}
		if got := bodies(r.newlyStored()); got != "before" {
			t.Errorf("stored %q", got)
		}
		allow(t, r, 1<<20)
		r.settle()
		if err := s.Ready(); err != nil {
			t.Errorf("with room again: %v", err)
		}
		for i := range 20 {
			if out := r.say(t, "a", "ann", fmt.Sprint("key", i), "retry"); out.Duplicate {
				t.Fatalf("retry %d: %+v", i, out)
			}
		}
		r.reopen(t)
		if st := r.claim(t, "locked"); !st.Known || string(st.Lock) != string(access) {
			t.Errorf("the lock told on the full disk: %+v", st)
		}
	})
}

// TestFailureIsUndone: what the writer knew of rooms before a group that failed, it knows after it. A room whose first
// message failed has no row yet, and one with messages no more of them.
func TestFailureIsUndone(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, drivers[1], dir, Options{History: 3})
		defer func() { r.close(t) }()
		for _, room := range []string{"old", "new"} {
			r.claim(t, room)
		}
		for _, text := range []string{"one", "two"} {
			r.say(t, "old", "ann", "", text)
		}
		allow(t, r, 1)
		asOneGroup(t, r, Message{Room: "new", Nick: "ann", Body: "x"}, Message{Room: "old", Nick: "ann", Body: "x"},
			Message{Room: "old", Nick: "ann", Body: strings.Repeat("x", 100_000)})
		r.settle()
		allow(t, r, 1<<20)
		r.settle()
		r.say(t, "old", "ann", "", "three")
		r.say(t, "new", "ann", "", "first")
		for range 2 {
			for room, want := range map[string]string{"old": "one two three", "new": "first"} {
				if p := r.page(t, room, Query{Limit: 9}); bodies(p.Messages) != want || p.Dropped != 0 {
					t.Errorf("%s: %q, mark %d; want %q", room, bodies(p.Messages), p.Dropped, want)
				}
			}
			r.reopen(t)
		}
		r.say(t, "old", "ann", "", "four") // counted right: one too many
		r.settle()
		if got := bodies(r.page(t, "old", Query{Limit: 9}).Messages); got != "two three four" {
			t.Errorf("old: %q", got)
		}
	})
}

// TestMarkAboveTheNumbers: a room removed on a full disk leaves a mark above every number that is stored; none is given
// below it after a restart.
func TestMarkAboveTheNumbers(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, drivers[1], dir, Options{})
		defer func() { r.close(t) }()
		r.say(t, "a", "ann", "", "before")
		r.say(t, "b", "ann", "", "before")
		allow(t, r, 1)
		asOneGroup(t, r, Message{Room: "b", Nick: "ann", Body: "x"}, Message{Room: "b", Nick: "ann", Body: strings.Repeat("x", 100_000)})
		r.settle()
		mark := r.remove(t, "a")
		r.reopen(t)
		if out := r.say(t, "c", "ann", "", "after"); out.Seq <= mark {
			t.Errorf("seq %d, below the mark %d", out.Seq, mark)
		}
		if s := r.claim(t, "c"); bodies(s.Recent) != "after" || s.Dropped >= s.Seq {
			t.Errorf("of a room made since: %+v", s)
		}
	})
}
