package cluster

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"parley/store"
	"parley/store/natstest"
)

// A message is sent again, here and by another node, while the first one is on its way among the replicas: all get the
// answer of that one, and nobody a refusal.
func TestDuplicatesInFlight(t *testing.T) {
	urls := natstest.Cluster(t, 3)
	var nodes []*driver
	for range 2 {
		d := openDriver(t, urls)
		if d.Durability() != "replicated" {
			t.Errorf("durability %q", d.Durability())
		}
		d.claim()
		nodes = append(nodes, d)
	}
	const messages, copies = 20, 3
	at := time.UnixMilli(time.Now().UnixMilli()).UTC()
	firsts := make(map[int]int64) // message → seq
	for i := range messages {
		for copy := range copies {
			for n, d := range nodes {
				d.ref++
				m := store.Message{
					At: at.Add(time.Duration(copy*len(nodes)+n) * time.Second), Room: "hall", From: "Ann", Nick: "ann",
					Key: fmt.Sprint("key-of-message-", i), Body: strings.Repeat("x", 1000),
				}
				if _, _, err := d.Append(d.ref, m); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	times, fresh := make(map[int]time.Time), 0
	for _, d := range nodes {
		begin := d.ref - messages*copies + 1
		answered := 0
		d.await("all answers", func(r store.Report) bool {
			for _, out := range r.Appended {
				i := int(out.Ref-begin) / copies
				if firsts[i] == 0 {
					firsts[i], times[i] = out.Seq, out.At
				}
				if out.Err != nil || out.Seq != firsts[i] || !out.At.Equal(times[i]) {
					t.Errorf("message %d is at %d, %v, and was answered with %+v", i, firsts[i], times[i], out)
				}
				if !out.Duplicate {
					fresh++
				}
				answered++
			}
			return answered == messages*copies
		})
	}
	if fresh != messages {
		t.Errorf("%d of %d are no duplicates", fresh, messages)
	}
}
