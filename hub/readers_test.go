package hub

import (
	"strings"
	"testing"

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
