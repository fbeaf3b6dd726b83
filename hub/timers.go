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

// alarm is what makes the hub take a step when a deadline passes: a tick in its
// inbox. One that is set already is left where it is when the next deadline has
// moved away, which is a tick too many then. A timer that the hub waits for or
// moves in every step wakes a thread of the runtime each time: 1.5 µs a delivery
// in rooms of 10. Owned by Run.
type alarm struct {
	timer *time.Timer
	at    time.Time // when it rings; zero: it is not set
}

// start has it ring at once.
func (a *alarm) start(now time.Time, ring func()) {
	a.at = now
	a.timer = time.AfterFunc(0, ring)
}

func (a *alarm) set(now, at time.Time) {
	if a.at.IsZero() || at.Before(a.at) {
		a.at = at
		a.timer.Reset(at.Sub(now))
	}
}

// rang notes that a tick has come.
func (a *alarm) rang() { a.at = time.Time{} }

func (a *alarm) stop() { a.timer.Stop() }
