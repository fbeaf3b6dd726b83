package hub

import (
	"fmt"
	"strings"
	"testing"

	"parley/protocol"
	"parley/store"
)

// nowhere is the way out to a client that is not there.
type nowhere struct{}

func (nowhere) push([]byte) bool                              { return true }
func (nowhere) replace(slotKind, string, []byte) bool         { return true }
func (nowhere) mergePresence(*protocol.Presence, []byte) bool { return true }
func (nowhere) closeWith(protocol.CloseCode, string)          {}
func (nowhere) closeNow(protocol.CloseCode, string)           {}
func (nowhere) abort()                                        {}
func (nowhere) heard() bool                                   { return true }
func (nowhere) size() int                                     { return 0 }

// bare is a hub without goroutines and sockets: what is left of a request is the
// work of this package and of those below it.
type bare struct {
	tb testing.TB
	h  *Hub
}

func newBare(tb testing.TB) bare {
	memory := store.NewMemory(store.Options{History: 100})
	h := New(Config{Log: memory, Directory: memory})
	tb.Cleanup(h.writers.close)
	return bare{tb, h}
}

func (b bare) connect(id string) *client {
	c := &client{id: id, out: nowhere{}}
	b.h.step(connected{c})
	return c
}

func (b bare) send(c *client, frame []byte) {
	ev, err := b.h.decode(c, frame)
	if err != nil || ev.err != nil {
		b.tb.Fatal(err, ev.err)
	}
	b.h.now = ev.at
	b.h.step(ev)
	b.h.flush()
}

// room logs n clients in and returns the first.
func (b bare) room(name string, n int) (first *client) {
	for i := range n {
		c := b.connect(fmt.Sprint(name, i))
		b.send(c, fmt.Appendf(nil, `{"event":"login","data":{"name":"Member %d","room":%q},"ackId":1}`, i, name))
		if c.member == nil {
			b.tb.Fatal("not logged in")
		}
		if first == nil {
			first = c
		}
	}
	return first
}

var benchMessage = []byte(`{"event":"roomMessage","data":"` + strings.Repeat("x", 200) + `","ackId":7}`)

// A login into a room of up to ten, with the session of a browser.
func BenchmarkLogin(b *testing.B) {
	s := newBare(b)
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		s.send(s.connect("c"), fmt.Appendf(nil,
			`{"event":"login","data":{"name":"Member %d","room":"Room %d","session":"6f1d2c7e-90ab-4cde-8f01-23456789abcd"},"ackId":1}`, i%10, i/10))
	}
}

// A message from its frame to the members' queues.
func BenchmarkRoomMessage(b *testing.B) {
	for _, n := range []int{1, 10, 1000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			s := newBare(b)
			c := s.room("lobby", n)
			b.ReportAllocs()
			for b.Loop() {
				s.send(c, benchMessage)
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*n), "ns/delivery")
		})
	}
}

// What a message allocates does not depend on how many get it (the outlets' part
// is in TestDeliveryDoesNotAllocate).
func TestDeliveryAllocations(t *testing.T) {
	s := newBare(t)
	measure := func(room string, n int) float64 {
		c := s.room(room, n)
		for range 2 * windowMessages { // until all that grows has grown
			s.send(c, benchMessage)
		}
		return testing.AllocsPerRun(1000, func() { s.send(c, benchMessage) })
	}
	if few, many := measure("few", 2), measure("many", 1000); many > few {
		t.Errorf("a message allocates %v times in a room of 1000, %v in a room of 2", many, few)
	}
}
