package store

import (
	"slices"
	"sort"
	"time"
)

// messageCost is what a message takes beside its strings: its place, and its key's in the map.
const messageCost = 256

// memoryRoom is one room of [Memory], under its lock.
type memoryRoom struct {
	name     string
	held     bool
	opened   bool
	lock     []byte
	dropped  int64
	messages []Message       // oldest first
	keys     map[keyOf]int64 // to the sequence number of a message that is kept
	bytes    int64
	index    int // in the heap, while there are messages
}

type keyOf struct{ nick, key string }

func size(m *Message) int64 {
	return int64(messageCost + len(m.From) + len(m.Nick) + len(m.UserID) + len(m.Key) + len(m.Body))
}

// find gives the message stored under that key.
func (r *memoryRoom) find(nick, key string) (Message, bool) {
	seq, ok := r.keys[keyOf{nick, key}]
	if !ok {
		return Message{}, false
	}
	return r.messages[r.after(seq-1)], true
}

func (r *memoryRoom) add(m Message) {
	r.messages = append(r.messages, m)
	r.bytes += size(&m)
	if m.Key == "" {
		return
	}
	if r.keys == nil {
		r.keys = make(map[keyOf]int64)
	}
	r.keys[keyOf{m.Nick, m.Key}] = m.Seq
}

// drop takes out the n oldest messages and says how many bytes they were.
func (r *memoryRoom) drop(n int) int64 {
	before := r.bytes
	for i := range r.messages[:n] {
		m := &r.messages[i]
		r.dropped = m.Seq
		r.bytes -= size(m)
		if m.Key != "" {
			delete(r.keys, keyOf{m.Nick, m.Key})
		}
	}
	clear(r.messages[:n]) // the array lives on: let go of the texts
	r.messages = r.messages[n:]
	if len(r.messages) == 0 {
		r.messages, r.keys = nil, nil
	}
	return before - r.bytes
}

// older counts the room's oldest messages from before cutoff, looking at no more than limit. One from a time when the
// clock was ahead goes with one behind it: within a room it is always the oldest that go.
func (r *memoryRoom) older(cutoff, now time.Time, limit int) (n int) {
	for i := range r.messages[:min(limit, len(r.messages))] {
		at := r.messages[i].At
		if at.After(now) {
			continue
		}
		if !at.Before(cutoff) {
			break
		}
		n = i + 1
	}
	return n
}

// after gives the index of the first message with a larger number.
func (r *memoryRoom) after(seq int64) int {
	return sort.Search(len(r.messages), func(i int) bool { return r.messages[i].Seq > seq })
}

func (r *memoryRoom) page(q Query) Page {
	from, to := r.after(q.After), len(r.messages)
	if q.Before > 0 {
		to = r.after(q.Before - 1)
	}
	page := Page{Dropped: r.dropped}
	if from >= to {
		return page
	}
	messages := r.messages[from:to]
	bytes := 0
	fits := func(m *Message) bool {
		bytes += len(m.Body)
		n := len(page.Messages)
		return n < q.Limit && (n == 0 || q.Bytes == 0 || bytes <= q.Bytes)
	}
	for i := range messages {
		if !q.Oldest {
			i = len(messages) - 1 - i
		}
		if page.More = !fits(&messages[i]); page.More {
			break
		}
		page.Messages = append(page.Messages, messages[i])
	}
	if !q.Oldest {
		slices.Reverse(page.Messages)
	}
	return page
}

// roomState makes a claim's answer of the room's newest page.
func roomState(known bool, lock []byte, newest Page) RoomState {
	s := RoomState{Known: known, Lock: lock, Seq: newest.Dropped, Dropped: newest.Dropped, Recent: newest.Messages}
	if n := len(s.Recent); n > 0 {
		s.Seq = max(s.Seq, s.Recent[n-1].Seq)
		if newest.More {
			s.From = s.Recent[0].Seq - 1
		}
	}
	return s
}

// roomHeap implements heap.Interface: the room with the most bytes first.
type roomHeap []*memoryRoom

func (h roomHeap) Len() int           { return len(h) }
func (h roomHeap) Less(i, j int) bool { return h[i].bytes > h[j].bytes }
func (h roomHeap) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].index, h[j].index = i, j
}

func (h *roomHeap) Push(x any) {
	r := x.(*memoryRoom)
	r.index = len(*h)
	*h = append(*h, r)
}

func (h *roomHeap) Pop() any {
	last := len(*h) - 1
	r := (*h)[last]
	(*h)[last] = nil
	*h = (*h)[:last]
	return r
}
