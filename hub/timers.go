package hub

import (
	"container/heap"
	"time"
)

// timers are the hub's deadlines, soonest first; those of one instant fire in
// the order in which they were set. Nothing is ever taken out before its time:
// what fires looks whether it still applies. Owned by Run.
type timers struct {
	heap timerHeap
	last uint64
}

type timer struct {
	at   time.Time
	seq  uint64
	fire func()
}

func (t *timers) set(at time.Time, fire func()) {
	t.last++
	heap.Push(&t.heap, timer{at, t.last, fire})
}

func (t *timers) next() (time.Time, bool) {
	if len(t.heap) == 0 {
		return time.Time{}, false
	}
	return t.heap[0].at, true
}

func (t *timers) due(now time.Time) (timer, bool) {
	if len(t.heap) == 0 || t.heap[0].at.After(now) {
		return timer{}, false
	}
	return heap.Pop(&t.heap).(timer), true
}

type timerHeap []timer

func (h timerHeap) Len() int { return len(h) }
func (h timerHeap) Less(i, j int) bool {
	if !h[i].at.Equal(h[j].at) {
		return h[i].at.Before(h[j].at)
	}
	return h[i].seq < h[j].seq
}
func (h timerHeap) Swap(i, j int) { h[i], h[j] = h[j], h[i] }
func (h *timerHeap) Push(x any)   { *h = append(*h, x.(timer)) }
func (h *timerHeap) Pop() any {
	old := *h
	n := len(old) - 1
	t := old[n]
	old[n] = timer{}
	*h = old[:n]
	return t
}
