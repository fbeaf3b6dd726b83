package hub

import (
	"fmt"
	"testing"
)

// laden is a peer with so many bytes queued, of which a writer has some in hand:
// they stay on the books for a while after the connection is closed.
type laden struct {
	paper
	bytes int
}

func (l *laden) size() int { return l.bytes }

// When all queues together are over their limit the slowest go, and no more of
// them than that takes.
func TestShedNoMoreThanNeeded(t *testing.T) {
	s := newStage(Config{QueuesLimit: 1000})
	defer s.h.writers.close()
	var peers []*laden
	for i := range 10 {
		name := fmt.Sprint(i)
		c := s.connect(name)
		peers = append(peers, &laden{bytes: 100 + i})
		c.out = peers[i]
		s.h.writers.unsent.Add(int64(100 + i))
	}
	for range 3 {
		s.do(nil)
		for i, p := range peers {
			if want := i == 9; p.closed != want { // 1,045 bytes are 45 too many
				t.Errorf("peer %d: closed is %v", i, p.closed)
			}
		}
	}
	s.h.writers.unsent.Add(110)
	s.do(nil)
	if !peers[8].closed || peers[7].closed {
		t.Error("the second slowest is to follow, and nobody else")
	}
}
