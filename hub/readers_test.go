package hub

import (
	"slices"
	"strings"
	"testing"

	"parley/protocol"
	"parley/store"
)

// A page of history is at most 512 KiB of JSON, of which texts are only a part; what does not fit is left out at the
// far end, and said to be there.
func TestPageIsBounded(t *testing.T) {
	log := store.NewMemory(store.Options{})
	text := `"` + strings.Repeat("x", 2600) + `"`
	var seqs []int64
	for range 200 {
		out, _, err := log.Append(0, store.Message{Room: "r", From: "Ann", Nick: "ann", UserID: "id", Body: text})
		if err != nil {
			t.Fatal(err)
		}
		seqs = append(seqs, out.Seq)
	}
	for _, oldest := range []bool{false, true} {
		p := page{room: "r", query: store.Query{Limit: 200, Bytes: answerBytes, Oldest: oldest}}
		p.read(t.Context(), log)
		size, n := 0, len(p.messages)
		for _, m := range p.messages {
			size += len(m) + 1
		}
		if size > answerBytes || size+2*len(text) < answerBytes || !p.more || len(p.seqs) != n {
			t.Errorf("oldest %v: %d messages, %d bytes, more %v", oldest, n, size, p.more)
		}
		want := seqs[len(seqs)-n:]
		if oldest {
			want = seqs[:n]
		}
		if p.seqs[0] != want[0] || p.seqs[n-1] != want[n-1] {
			t.Errorf("oldest %v: from %d to %d, want %d to %d", oldest, p.seqs[0], p.seqs[n-1], want[0], want[n-1])
		}
	}
}

// What a connection has waiting behind a page of history is bounded in bytes, whatever they are part of.
func TestWhatWaitsIsBounded(t *testing.T) {
	long := strings.Repeat("x", 60000)
	for what, frame := range map[string]string{
		"messages": `{"event":"roomMessage","data":"` + long + `"}`,
		"epochs":   `{"event":"login","data":{"name":"Ann","room":"lobby","epoch":"` + long + `"},"ackId":3}`,
		"tokens":   `{"event":"login","data":{"name":"Ann","room":"lobby","token":"` + long + `"},"ackId":3}`,
	} {
		s := newStage(Config{MessageLimit: MaxMessageLimit})
		defer s.h.writers.close()
		c := s.connect("ann")
		s.say(t, "ann", `{"event":"login","data":{"name":"Ann","room":"lobby"},"ackId":1}`)
		s.say(t, "ann", `{"event":"roomMessage","data":"hello"}`)
		for _, frame := range append([]string{`{"event":"history","ackId":2}`}, slices.Repeat([]string{frame}, 100)...) {
			ev, err := s.h.decode(c, []byte(frame))
			if err != nil {
				t.Fatal(err)
			}
			s.h.step(ev)
		}
		most := maxWaitingBytes / len(long)
		if n := len(c.waiting); n == 0 || n > most {
			t.Errorf("%d %s wait, want %d at most", n, what, most)
		}
		if lines := c.out.(*paper).lines; !strings.Contains(lines[len(lines)-1], string(protocol.CodeUnavailable)) {
			t.Errorf("%s: the last one is answered with %.200s", what, lines[len(lines)-1])
		}
	}
}

// A login whose messages were read before an operator removed the room, or they went for their age, is told none of
// them.
func TestDroppedSinceItWasRead(t *testing.T) {
	for trimmed, want := range map[int64][]int64{0: {3, 5, 7}, 5: {7}, 7: nil} {
		r := &room{trimmed: trimmed}
		r.window.seq, r.window.from = 7, 7
		read := &page{seqs: []int64{3, 5, 7}, messages: make([][]byte, 3), more: true}
		read.query.Before = 8
		p, whole := r.past(50, -1, read)
		var seqs []int64
		for _, m := range p.messages {
			seqs = append(seqs, m.seq)
		}
		if !whole || !slices.Equal(seqs, want) || p.older != (trimmed == 0) {
			t.Errorf("with %d dropped it has %v, older ones %v, whole %v", trimmed, seqs, p.older, whole)
		}
	}
}
