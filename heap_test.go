package main

import (
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"testing"
)

func TestGCPercent(t *testing.T) {
	for _, c := range []struct {
		live, roots uint64
		want        int
	}{
		{0, 0, 1600},                     // the least heap, 4 MiB, times 16
		{1 << 20, 0, 1575},               // below the collector's least heap
		{16 << 20, 0, 300},               // 16 + 48
		{16 << 20, 8 << 20, 200},         // 16 + 2 × 24
		{heapFloor / 2, 0, 100},          // as the collector's own rule
		{heapFloor - 1, 1 << 20, 100},    //
		{heapFloor, 1 << 20, 100},        //
		{10 * heapFloor, 100 << 20, 100}, //
	} {
		if got := gcPercent(c.live, c.roots); got != c.want {
			t.Errorf("%d live, %d of roots: %d, want %d", c.live, c.roots, got, c.want)
		}
	}
}

// TestHoldCollector sees where the next collection is due, before and after one.
func TestHoldCollector(t *testing.T) {
	goal := func() uint64 {
		s := []metrics.Sample{{Name: "/gc/heap/goal:bytes"}}
		metrics.Read(s)
		return s[0].Value.Uint64()
	}
	defer debug.SetGCPercent(debug.SetGCPercent(100))
	t.Setenv("GOGC", "50")
	holdCollector()
	if got := debug.SetGCPercent(100); got != 100 {
		t.Errorf("with GOGC set: %d", got)
	}
	t.Setenv("GOGC", "")
	holdCollector()
	if got := goal(); got < heapFloor*9/10 {
		t.Errorf("at first the collector is due at %d", got)
	}
	// What is set after a collection may come too late to hear of the next one, if that was on its way already.
	live := make([]byte, heapFloor)
	for goal() <= heapFloor*3/2 {
		runtime.GC()
	}
	runtime.KeepAlive(live)
	live = nil
	for g := goal(); g <= heapFloor*9/10 || g >= heapFloor*11/10; g = goal() {
		runtime.GC()
	}
}
