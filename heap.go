package main

import (
	"os"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"sync"
)

// heapFloor is what the heap may take before the garbage collector runs, in bytes.
// By its own rule it would wait until the heap has doubled, which a small one does
// often, and each time it walks all stacks. The floor buys a quarter more logins a
// second of processor time while thousands come in at once. Above half of it the
// rule is as before, so what a large server takes stays as it was.
const heapFloor = 64 << 20

var holdCollectorOnce = sync.OnceFunc(holdCollector)

// holdCollector keeps the heap's floor for as long as the program runs. It does
// nothing where GOGC is set. A memory limit (GOMEMLIMIT, or the container's) comes
// before it.
func holdCollector() {
	if os.Getenv("GOGC") != "" {
		return
	}
	current := 0
	hold := func(percent int) {
		if percent != current {
			debug.SetGCPercent(percent)
			current = percent
		}
	}
	sizes := []metrics.Sample{
		{Name: "/gc/heap/live:bytes"}, {Name: "/gc/scan/stack:bytes"}, {Name: "/gc/scan/globals:bytes"},
	}
	var afterNext func()
	afterNext = func() {
		runtime.AddCleanup(new([2]*byte), func(struct{}) {
			metrics.Read(sizes)
			hold(gcPercent(sizes[0].Value.Uint64(), sizes[1].Value.Uint64()+sizes[2].Value.Uint64()))
			afterNext()
		}, struct{}{})
	}
	hold(gcPercent(0, 0))
	afterNext()
}

// gcPercent is the GOGC with which the next collection comes at heapFloor, or the
// usual 100 if that is later. live is the heap that was found to be in use, roots
// the stacks and globals that were looked at, both in bytes; the collector lets the
// heap grow by this percentage of their sum.
func gcPercent(live, roots uint64) int {
	const least = 4 << 20 // by the collector's own rule, times GOGC/100
	if live >= heapFloor {
		return 100
	}
	return max(100, int(100*(heapFloor-live)/max(live+roots, least)))
}
