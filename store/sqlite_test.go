package store

import (
	"context"
	"database/sql"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func mustOpen(t *testing.T, dir string, opts Options) *SQLite {
	t.Helper()
	s, err := OpenSQLite(t.Context(), filepath.Join(dir, "log.db"), opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// damaged makes the file of a log with some messages, closed, and lets spoil at it.
func damaged(t *testing.T, spoil func(t *testing.T, path string)) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "log.db")
	s, err := OpenSQLite(t.Context(), path, Options{})
	if err != nil {
		t.Fatal(err)
	}
	reports := make(chan Report, 1)
	s.Start(func(r Report) { reports <- r })
	for i := range 100 {
		if _, _, err := s.Append(Ref(i), Message{Room: "a", Nick: "ann", Body: strings.Repeat("x", 1000)}); err != nil {
			t.Fatal(err)
		}
	}
	for n := 0; n < 100; {
		n += len((<-reports).Appended)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	spoil(t, path)
	return path
}

func execute(t *testing.T, path, query string) {
	t.Helper()
	db, err := sql.Open("sqlite", source(path))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if _, err := db.ExecContext(t.Context(), query); err != nil {
		t.Fatal(err)
	}
}

func write(t *testing.T, path string, offset int64, data string) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteAt([]byte(data), offset); err != nil {
		t.Fatal(err)
	}
}

func TestOpenSaysWhatToChange(t *testing.T) {
	dir := t.TempDir()
	for _, c := range []struct{ name, path, want string }{
		{"text", damaged(t, func(t *testing.T, path string) { write(t, path, 0, strings.Repeat("no database\n", 10)) }),
			"no SQLite database"},
		{"cut short", damaged(t, func(t *testing.T, path string) {
			if err := os.Truncate(path, 40_000); err != nil {
				t.Fatal(err)
			}
		}), "damaged"},
		{"another program's", damaged(t, func(t *testing.T, path string) { execute(t, path, `PRAGMA application_id = 7`) }),
			"another program"},
		{"newer", damaged(t, func(t *testing.T, path string) { execute(t, path, `PRAGMA user_version = 99`) }),
			"newer Parley"},
		{"a directory", dir, "choose a file"},
		{"in no directory", filepath.Join(dir, "missing", "log.db"), "make it, or"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s, err := OpenSQLite(t.Context(), c.path, Options{})
			if err == nil {
				t.Fatal("opened", s.Close())
			}
			if !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "\n") {
				t.Errorf("%v; want %q in one line", err, c.want)
			}
			_, again := OpenSQLite(t.Context(), c.path, Options{})
			if errors.Is(again, errInUse) {
				t.Errorf("the lock was kept: %v", again)
			}
		})
	}
}

func TestOpenedOnce(t *testing.T) {
	dir := t.TempDir()
	mustOpen(t, dir, Options{})
	link := filepath.Join(dir, "link.db")
	if err := os.Symlink("log.db", link); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{filepath.Join(dir, "log.db"), link} {
		if _, err := OpenSQLite(t.Context(), path, Options{}); !errors.Is(err, errInUse) {
			t.Errorf("%s opened twice: %v", path, err)
		}
	}
}

// TestFlushedBeforeItIsTold: whenever messages are reported the connection that stored them waits for the drive with each
// commit, whatever retention, which does not, did on it meanwhile.
func TestFlushedBeforeItIsTold(t *testing.T) {
	s := mustOpen(t, t.TempDir(), Options{History: 1})
	const full = 2 // PRAGMA synchronous
	levels, trimmed := make(chan int), make(chan struct{})
	s.Start(func(r Report) { // in the writer's goroutine, between its commit and what it does next
		if len(r.Trimmed) > 0 {
			trimmed <- struct{}{}
		}
		if len(r.Stored) == 0 {
			return
		}
		level := -1
		if err := s.writer.conn.QueryRowContext(t.Context(), "PRAGMA synchronous").Scan(&level); err != nil {
			t.Error(err)
		}
		levels <- level
	})
	if _, _, err := s.Claim(1, "a"); err != nil { // who holds a room hears of what is dropped
		t.Fatal(err)
	}
	for i := range 4 {
		if _, _, err := s.Append(Ref(i), Message{Room: "a", Nick: "ann", Body: "x"}); err != nil {
			t.Fatal(err)
		}
		if level := <-levels; level != full {
			t.Errorf("message %d was reported at level %d, want %d", i, level, full)
		}
		if i > 0 {
			<-trimmed
		}
	}
}

// TestLockWaits: after a restart a lock without messages ends with who came back and left, not with who was refused.
func TestLockWaits(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, drivers[1], dir, Options{})
		defer func() { r.close(t) }()
		access := []byte("0123456789abcdef0123456789abcdef")
		r.claim(t, "a")
		r.mustLock(t, "a", access)
		r.reopen(t)
		for range 2 {
			if st := r.claim(t, "a"); !st.Known || string(st.Lock) != string(access) {
				t.Fatalf("before anybody is back: %+v", st)
			}
			r.Release("a")
		}
		r.claim(t, "a")
		r.mustLock(t, "a", access)
		r.Release("a")
		if st := r.claim(t, "a"); st.Known {
			t.Errorf("after somebody came and went: %+v", st)
		}
	})
}

func TestKeyOutlivesItsText(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, drivers[1], dir, Options{History: 1, Retain: time.Hour})
		defer func() { r.close(t) }()
		first := r.say(t, "a", "ann", "key", "x")
		r.say(t, "a", "ann", "", "y")
		r.skew.Add(int64(25 * time.Hour))
		r.settle()
		r.reopen(t)
		if s := r.claim(t, "a"); len(s.Recent) > 0 {
			t.Fatalf("still there: %+v", s.Recent)
		}
		if out := r.say(t, "a", "ann", "key", "x"); !out.Duplicate || out.Seq != first.Seq || out.At != first.At {
			t.Errorf("after 25 hours: %+v, want %+v", out, first)
		}
		r.skew.Add(int64(24 * time.Hour))
		r.settle()
		if out := r.say(t, "a", "ann", "key", "x"); out.Duplicate {
			t.Errorf("after 49 hours: %+v", out)
		}
	})
}

// TestGroupSharesOneTransaction: what came while a group was under way is one group; and the queue is bounded.
func TestGroupSharesOneTransaction(t *testing.T) {
	s := mustOpen(t, t.TempDir(), Options{})
	reports, taken := make(chan Report), make(chan struct{})
	s.Start(func(r Report) {
		if len(r.Appended) > 0 {
			taken <- struct{}{}
			reports <- r
		}
	})
	add := func(ref Ref) error {
		_, _, err := s.Append(ref, Message{Room: "a", Nick: "ann", Body: "x"})
		return err
	}
	if err := add(0); err != nil {
		t.Fatal(err)
	}
	<-taken // the writer waits for us
	for i := range queuedMessages {
		if err := add(Ref(i + 1)); err != nil {
			t.Fatal(i, err)
		}
	}
	if err := add(9999); !errors.Is(err, ErrBusy) {
		t.Errorf("a full queue: %v", err)
	}
	if err := s.Lock("a", nil); err != nil {
		t.Errorf("a lock: %v", err)
	}
	if r := <-reports; len(r.Appended) != 1 {
		t.Errorf("%d in the first group", len(r.Appended))
	}
	<-taken
	if r := <-reports; len(r.Appended) != queuedMessages || len(r.Stored) != queuedMessages {
		t.Errorf("%d in the second group, %d stored", len(r.Appended), len(r.Stored))
	}
}

// TestGroupIsBounded: however much waits, no report has more than a connection's queue takes, but for a message that is
// more by itself; and the order stays.
func TestGroupIsBounded(t *testing.T) {
	s := mustOpen(t, t.TempDir(), Options{})
	reports, taken := make(chan Report), make(chan struct{})
	s.Start(func(r Report) {
		taken <- struct{}{}
		reports <- r
	})
	sizes := []int{1}
	for i := range 100 {
		sizes = append(sizes, 1000*(i%40))
	}
	sizes = append(sizes, groupBytes+1, 1, 1)
	for i, size := range sizes {
		if _, _, err := s.Append(Ref(i), Message{Room: "a", Nick: "ann", Body: strings.Repeat("x", size)}); err != nil {
			t.Fatal(err)
		}
		if i == 0 {
			<-taken // the writer waits for us
		}
	}
	groups, next := 0, 0
	for next < len(sizes) {
		if groups++; groups > 1 {
			<-taken
		}
		r, bytes := <-reports, 0
		for i, m := range r.Stored {
			if bytes += len(m.Body); len(m.Body) != sizes[next] || r.Appended[i].Ref != Ref(next) {
				t.Fatalf("message %d has %d bytes, want %d", next, len(m.Body), sizes[next])
			}
			next++
		}
		if bytes > groupBytes && len(r.Stored) > 1 {
			t.Errorf("%d messages of %d bytes in one report", len(r.Stored), bytes)
		}
	}
	if s.messages != 0 || s.bytes != 0 {
		t.Errorf("of an empty queue %d messages and %d bytes are counted", s.messages, s.bytes)
	}
	if groups < 3 || groups > 20 {
		t.Errorf("%d messages in %d groups", len(sizes), groups)
	}
}

// TestSchema1 opens a file that the first schema's code wrote (testdata/v1.db): what was promised then holds.
func TestSchema1(t *testing.T) {
	dir := t.TempDir()
	old, err := os.ReadFile("testdata/v1.db")
	if err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(dir, "log.db"), 0, string(old))
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, drivers[1], dir, Options{})
		defer func() { r.close(t) }()
		if r.Epoch() != "FIXTUREEPOCH" {
			t.Errorf("epoch %q", r.Epoch())
		}
		s := r.claim(t, "locked")
		if !s.Known || string(s.Lock) != "0123456789abcdef0123456789abcdef" || bodies(s.Recent) != "two three" ||
			s.Dropped != 1 || s.Seq != 3 {
			t.Errorf("locked: %+v", s)
		}
		if out := r.say(t, "locked", "ann", "key-one", "again"); !out.Duplicate || out.Seq != 1 {
			t.Errorf("the key of a dropped message: %+v", out)
		}
		if out := r.say(t, "open", "bob", "", "next"); out.Seq != 4 {
			t.Errorf("next: %+v", out)
		}
		if s := r.claim(t, "open"); !s.Known || s.Lock != nil {
			t.Errorf("open: %+v", s)
		}
	})
}

// makeSchema1 made testdata/v1.db; the newest schema's maker of such a file stands here for the next.
func makeSchema1(path string) error {
	s, err := OpenSQLite(context.Background(), path, Options{History: 2})
	if err != nil {
		return err
	}
	_, err = s.writer.conn.ExecContext(context.Background(), `UPDATE log SET epoch = 'FIXTUREEPOCH'`)
	trimmed := make(chan struct{})
	s.Start(func(r Report) {
		if len(r.Trimmed) > 0 {
			close(trimmed)
		}
	})
	_, _, err1 := s.Claim(1, "locked")
	err2 := s.Lock("locked", []byte("0123456789abcdef0123456789abcdef"))
	at := time.Date(2126, 1, 1, 0, 0, 0, 0, time.UTC) // so that its key is remembered for a while
	for i, body := range []string{"one", "two", "three"} {
		_, _, err3 := s.Append(Ref(i), Message{
			At: at, Room: "locked", From: "Ann", Nick: "ann", UserID: "id", Key: "key-" + body, Body: body,
		})
		err = errors.Join(err, err3)
	}
	_, _, err4 := s.Claim(2, "open")
	err5 := s.Lock("open", nil)
	<-trimmed
	return errors.Join(err, err1, err2, err4, err5, s.Close())
}

// TestRemovalWaitsForClaim: the outcome of a claim that saw the messages comes before that of their removal.
func TestRemovalWaitsForClaim(t *testing.T) {
	s := mustOpen(t, t.TempDir(), Options{})
	claimed, goOn := make(chan Claimed), make(chan struct{})
	rest := make(chan Report, 10)
	s.Start(func(r Report) {
		if len(r.Claimed) == 0 {
			rest <- r
			return
		}
		claimed <- r.Claimed[0]
		<-goOn // the outcome is not taken yet
	})
	add := func(room string) {
		if _, _, err := s.Append(1, Message{Room: room, Nick: "ann", Body: "x"}); err != nil {
			t.Fatal(err)
		}
	}
	add("a")
	<-rest
	if _, _, err := s.Claim(2, "a"); err != nil {
		t.Fatal(err)
	}
	if c := <-claimed; len(c.State.Recent) != 1 {
		t.Fatalf("claimed %+v", c)
	}
	if _, _, err := s.Remove(3, "a"); err != nil {
		t.Fatal(err)
	}
	add("b")
	if r := <-rest; len(r.Appended) != 1 || len(r.Removed) != 0 {
		t.Errorf("before the claim's outcome was taken: %+v", r)
	}
	close(goOn)
	if r := <-rest; len(r.Removed) != 1 || r.Removed[0].Ref != 3 || r.Removed[0].Err != nil {
		t.Errorf("after it: %+v", r)
	}
}

// TestTrimWaitsForClaim: what is dropped is told behind the state that does not know of it yet.
func TestTrimWaitsForClaim(t *testing.T) {
	s := mustOpen(t, t.TempDir(), Options{History: 1})
	claimed, goOn := make(chan Claimed), make(chan struct{})
	trimmed := make(chan Trim, 10)
	s.Start(func(r Report) {
		for _, c := range r.Claimed {
			claimed <- c
			if c.Ref == 2 {
				<-goOn // the outcome is not taken yet
			}
		}
		for _, trim := range r.Trimmed {
			trimmed <- trim
		}
	})
	for i, room := range []string{"free", "claimed"} {
		if _, _, err := s.Claim(Ref(i+1), room); err != nil {
			t.Fatal(err)
		}
		<-claimed
	}
	for i, room := range []string{"claimed", "claimed", "free", "free"} {
		if _, _, err := s.Append(Ref(i), Message{Room: room, Nick: "ann", Body: "x"}); err != nil {
			t.Fatal(err)
		}
	}
	early := []Trim{<-trimmed}
	if len(trimmed) > 0 {
		early = append(early, <-trimmed)
	}
	close(goOn)
	if len(early) != 1 || early[0].Room != "free" {
		t.Fatalf("told before the claim's outcome was taken: %+v", early)
	}
	if trim := <-trimmed; trim.Room != "claimed" {
		t.Errorf("told then: %+v", trim)
	}
}
