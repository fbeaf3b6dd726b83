package store

import (
	"fmt"
	"runtime"
	"strings"
	"testing"
)

// TestFloodCostsOnlyItsRoom: when all rooms together are too large, the largest pays.
func TestFloodCostsOnlyItsRoom(t *testing.T) {
	m := NewMemory(Options{Bytes: 64 << 10})
	defer m.Close()
	m.Start(func(Report) {})
	for i := range 1000 {
		if i < 3 {
			put(t, m, Message{Room: "quiet", Nick: "ann", Body: fmt.Sprint("quiet", i)})
		}
		put(t, m, Message{Room: "loud", Nick: "bob", Key: fmt.Sprint("key", i), Body: strings.Repeat("x", 1000)})
	}
	quiet, err := m.Read(t.Context(), "quiet", Query{Limit: 10})
	if err != nil || len(quiet.Messages) != 3 || quiet.Dropped != 0 {
		t.Errorf("quiet: %d messages, mark %d, %v", len(quiet.Messages), quiet.Dropped, err)
	}
	loud, err := m.Read(t.Context(), "loud", Query{Limit: 1000})
	if n := len(loud.Messages); err != nil || n < 40 || n > 64 || loud.Dropped == 0 {
		t.Errorf("loud: %d messages, mark %d, %v", n, loud.Dropped, err)
	}
	if m.bytes > 64<<10 || len(m.rooms.get("loud").keys) != len(loud.Messages) {
		t.Errorf("%d bytes, %d keys for %d messages", m.bytes, len(m.rooms.get("loud").keys), len(loud.Messages))
	}
}

func put(t *testing.T, m *Memory, msg Message) {
	t.Helper()
	if _, _, err := m.Append(1, msg); err != nil {
		t.Fatal(err)
	}
}

// TestShortLivedRoomsLeaveNothing: many rooms that come and go give their memory back.
func TestShortLivedRoomsLeaveNothing(t *testing.T) {
	t.Run("memory", func(t *testing.T) {
		const rooms = 100_000
		m := NewMemory(Options{})
		defer m.Close()
		before := inUse()
		comeAndGo(t, m, rooms, func(int) {})
		if grown := inUse() - before; grown > 1<<20 {
			t.Errorf("%d bytes are still in use", grown)
		}
		runtime.KeepAlive(m)
	})
	t.Run("sqlite", func(t *testing.T) {
		const rooms = 20_000
		s := mustOpen(t, memoryDir(t), Options{})
		// Claims are answered by several loaders, so by their number and not in their order.
		answered := make(chan struct{}, rooms)
		s.Start(func(r Report) {
			for range r.Claimed {
				answered <- struct{}{}
			}
		})
		wait := func(n int) {
			for range n {
				<-answered
			}
		}
		comeAndGo(t, s, rooms/2, wait) // what SQLite's connections and their queues take once, and keep
		before := inUse()
		comeAndGo(t, s, rooms, wait)
		var left int
		if err := s.read.QueryRow(`SELECT count(*) FROM rooms`).Scan(&left); err != nil || left != 0 {
			t.Errorf("%d rooms left in the file, %v", left, err)
		}
		if grown := inUse() - before; grown > 3<<20 {
			t.Errorf("%d bytes are still in use", grown)
		}
	})
}

// comeAndGo opens rooms, all of them at once, and leaves them, waiting for each thousand to be answered.
func comeAndGo(t *testing.T, d Directory, rooms int, wait func(n int)) {
	t.Helper()
	const batch = 1000
	for i := range rooms {
		name := fmt.Sprint("room", i)
		if _, _, err := d.Claim(Ref(i), name); err != nil {
			t.Fatal(err)
		}
		if err := d.Lock(name, nil); err != nil {
			t.Fatal(err)
		}
		if i%batch == batch-1 {
			wait(batch)
		}
	}
	for i := range rooms {
		d.Release(fmt.Sprint("room", i))
	}
	for _, fence := range []string{"fence", "another"} { // answered when all before it is done with, and let go of
		if _, _, err := d.Claim(0, fence); err != nil {
			t.Fatal(err)
		}
		wait(1)
	}
}
