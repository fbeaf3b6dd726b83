package store

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// A copy of a log that is being written is whole: everything reported as stored
// before it began is in it, in an epoch of its own, and it opens as a log.
func TestBackupOfALiveLog(t *testing.T) {
	dir := t.TempDir()
	live, copied := filepath.Join(dir, "live.db"), filepath.Join(dir, "copy.db")
	log, err := OpenSQLite(t.Context(), live, Options{})
	if err != nil {
		t.Fatal(err)
	}
	stored := make(chan int64, 1000)
	log.Start(func(r Report) {
		for _, m := range r.Stored {
			stored <- m.Seq
		}
	})
	send := func(i int) {
		m := Message{Room: "room", From: "Ann", Nick: "ann", UserID: "id", Key: fmt.Sprintf("key-%012d", i), Body: `"text"`, At: time.Now()}
		if _, _, err := log.Append(Ref(i), m); err != nil {
			t.Error(err)
		}
	}
	var last int64
	for i := range 100 {
		send(i)
		last = <-stored
	}
	done := make(chan error, 1)
	go func() { done <- Backup(t.Context(), live, copied) }()
	for i := 100; i < 200; i++ {
		send(i)
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	epoch := log.Epoch()
	if err := log.Close(); err != nil {
		t.Fatal(err)
	}

	restored, err := OpenSQLite(t.Context(), copied, Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer restored.Close()
	if restored.Epoch() == epoch {
		t.Error("the copy counts in the same epoch")
	}
	page, err := restored.Read(t.Context(), "room", Query{Limit: 1000, Oldest: true})
	if err != nil {
		t.Fatal(err)
	}
	if n := len(page.Messages); n < 100 || page.Messages[99].Seq != last {
		t.Errorf("%d messages, of which 100 were stored before", n)
	}
	info, err := os.Stat(copied)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Error("the copy can be read by others:", info.Mode(), err)
	}
}

// A copy that is put where the log of a killed server was is not mixed with what that one had not folded in yet.
func TestRestoreAfterACrash(t *testing.T) {
	dir := t.TempDir()
	live, copied, place := filepath.Join(dir, "live.db"), filepath.Join(dir, "copy.db"), filepath.Join(dir, "parley.db")
	log, err := OpenSQLite(t.Context(), live, Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	stored := make(chan int64, 1)
	log.Start(func(r Report) {
		for _, m := range r.Stored {
			stored <- m.Seq
		}
	})
	send := func(from, to int) {
		for i := from; i < to; i++ {
			m := Message{Room: "room", From: "Ann", Nick: "ann", UserID: "id", Body: `"` + strings.Repeat("text ", 500) + `"`, At: time.Now()}
			if _, _, err := log.Append(Ref(i), m); err != nil {
				t.Fatal(err)
			}
			<-stored
		}
	}
	send(0, 50)
	if err := Backup(t.Context(), live, copied); err != nil {
		t.Fatal(err)
	}
	send(50, 250)
	for from, to := range map[string]string{copied: place, live + "-wal": place + "-wal", live + "-shm": place + "-shm"} {
		raw, err := os.ReadFile(from)
		if err == nil {
			err = os.WriteFile(to, raw, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}

	restored, err := OpenSQLite(t.Context(), place, Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer restored.Close()
	page, err := restored.Read(t.Context(), "room", Query{Limit: 1000, Oldest: true})
	if err != nil || len(page.Messages) != 50 {
		t.Errorf("%d messages of 50, %v", len(page.Messages), err)
	}
}

func TestBackupRefuses(t *testing.T) {
	dir := t.TempDir()
	there, rubbish := filepath.Join(dir, "there"), filepath.Join(dir, "rubbish.db")
	for _, f := range []string{there, rubbish} {
		if err := os.WriteFile(f, []byte(strings.Repeat("no database ", 100)), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, tt := range []struct{ path, file, want string }{
		{filepath.Join(dir, "none.db"), filepath.Join(dir, "copy"), "no such file"},
		{rubbish, there, "it is there already"},
		{rubbish, filepath.Join(dir, "copy"), "rubbish.db"},
		{rubbish, filepath.Join(dir, "no", "copy"), "no such file"},
	} {
		err := Backup(t.Context(), tt.path, tt.file)
		if err == nil || !strings.Contains(err.Error(), tt.want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s to %s: %v, want %s", tt.path, tt.file, err, tt.want)
		}
	}
	if left, _ := filepath.Glob(filepath.Join(dir, "*.part")); len(left) > 0 {
		t.Error("left behind:", left)
	}
}
