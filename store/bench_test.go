package store

import (
	"fmt"
	"path/filepath"
	"testing"
	"time"
)

func benchMessage(room string, n int) Message {
	return Message{
		At: time.Now(), Room: room, From: "Ann", Nick: "ann", UserID: "c0vq4kkd8q1s73d6b1rg",
		Key:  fmt.Sprintf("5e0f2a9c-1d7b-4c51-9f5e-%012d", n),
		Body: "p1.mVq3x0oB5mJm1Yt7bG9s2lKcUe4rWnHd6aPz8iXvTfQyLjRkSgNhMwCbEoDuAaBbCcDdEeFfGgHhIiJjKkLlMmNnOoPpQqRrSsTtUuVvWwXxYyZz0123456789-_p1.mVq3x0oB5mJm1Yt7bG9s2lKcUe4rWnHd6aPz8iXvTfQyLjRkSgNhMw",
	}
}

func BenchmarkAppendMemory(b *testing.B) {
	m := NewMemory(Options{History: 10_000})
	defer m.Close()
	n := 0
	for b.Loop() {
		n++
		if _, _, err := m.Append(Ref(n), benchMessage("lobby", n)); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkAppendSQLite gives the time a message takes when so many come at once and the next as many come when
// these are answered.
func BenchmarkAppendSQLite(b *testing.B) {
	for _, group := range []int{1, 10, 100, 1000} {
		b.Run(fmt.Sprintf("group=%d", group), func(b *testing.B) {
			s := benchSQLite(b, Options{History: 10_000})
			answered := make(chan int, group)
			s.Start(func(r Report) {
				if len(r.Appended) > 0 {
					answered <- len(r.Appended)
				}
			})
			n := 0
			var worst time.Duration
			for b.Loop() {
				start := time.Now()
				for range group {
					n++
					if _, _, err := s.Append(Ref(n), benchMessage(fmt.Sprint("room", n%20), n)); err != nil {
						b.Fatal(err)
					}
				}
				for waiting := group; waiting > 0; {
					waiting -= <-answered
				}
				worst = max(worst, time.Since(start))
			}
			b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(n), "µs/message")
			b.ReportMetric(float64(worst.Microseconds()), "µs-worst")
		})
	}
}

func benchSQLite(b *testing.B, opts Options) *SQLite {
	s, err := OpenSQLite(b.Context(), filepath.Join(b.TempDir(), "bench.db"), opts)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		if err := s.Close(); err != nil {
			b.Error(err)
		}
	})
	return s
}

// BenchmarkClaim loads a room with a thousand messages and more.
func BenchmarkClaim(b *testing.B) {
	b.Run("memory", func(b *testing.B) {
		m := NewMemory(Options{})
		defer m.Close()
		for n := range 1500 {
			if _, _, err := m.Append(Ref(n), benchMessage("lobby", n)); err != nil {
				b.Fatal(err)
			}
		}
		for b.Loop() {
			if _, _, err := m.Claim(1, "lobby"); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("sqlite", func(b *testing.B) {
		s := benchSQLite(b, Options{})
		claimed := make(chan Claimed, 1)
		s.Start(func(r Report) {
			for _, c := range r.Claimed {
				claimed <- c
			}
		})
		for n := range 1500 {
			if _, _, err := s.Append(Ref(n), benchMessage("lobby", n)); err != nil {
				b.Fatal(err)
			}
		}
		for b.Loop() {
			if _, _, err := s.Claim(1, "lobby"); err != nil {
				b.Fatal(err)
			}
			if c := <-claimed; c.Err != nil || len(c.State.Recent) == 0 {
				b.Fatal(c.Err)
			}
		}
	})
}
