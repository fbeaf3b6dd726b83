package store

import (
	"errors"
	"strings"
	"testing"
)

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
	s.mu.Lock()
	messages, bytes := s.messages, s.bytes
	s.mu.Unlock()
	if messages != 0 || bytes != 0 {
		t.Errorf("of an empty queue %d messages and %d bytes are counted", messages, bytes)
	}
	if groups < 3 || groups > 20 {
		t.Errorf("%d messages in %d groups", len(sizes), groups)
	}
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
