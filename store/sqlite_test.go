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
