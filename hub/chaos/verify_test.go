package chaos

import (
	"math"
	"testing"

	"parley/hub/hubtest"
)

// readHistory reads all that a room's log has, page by page from the oldest, past the proxy.
func readHistory(t testing.TB, url, room string) (all []hubtest.Message) {
	t.Helper()
	c := hubtest.Dial(t, url)
	c.Login(hubtest.Login{Name: "auditor", Room: room})
	defer c.Ask("logout", nil, nil)
	after := int64(0)
	for {
		var page hubtest.HistoryPage
		c.Ask("history", hubtest.HistoryRequest{After: &after, Limit: 200}, &page)
		for _, msg := range page.Messages {
			if msg.Seq <= after {
				t.Fatalf("history of %s after %d brought %d", room, after, msg.Seq)
			}
			after = msg.Seq
			all = append(all, digested(msg))
		}
		if !page.More {
			return all
		}
	}
}

// verifyLog holds a room's log against what was written: every acknowledged message once and as acknowledged, every
// other once or not at all, each sender's in the order written, and nothing else.
func (w *world) verifyLog(room string, log []hubtest.Message, posts map[string]*post) {
	found := make(map[string]int64) // key → seq
	newest := make(map[string]int)  // sender → number
	for _, msg := range log {
		p := posts[msg.Key]
		switch {
		case p == nil || p.room != room || p.name != msg.From || digest(p.text) != msg.Message:
			w.violation("%s has a message at %d that nobody wrote", room, msg.Seq)
			continue
		case found[msg.Key] != 0:
			w.stats.duplicated.Add(1)
			w.violation("%s has a message of %s twice, at %d and at %d", room, p.name, found[msg.Key], msg.Seq)
		case p.number <= newest[p.name]:
			w.stats.outOfOrder.Add(1)
			w.violation("%s has number %d of %s at %d, after number %d", room, p.number, p.name, msg.Seq, newest[p.name])
		case p.acked != 0 && (p.acked != msg.Seq || !p.at.Equal(msg.At)):
			w.violation("%s has a message of %s at %d, %v; it was acknowledged as %d, %v", room, p.name, msg.Seq, msg.At, p.acked, p.at)
		}
		found[msg.Key], newest[p.name] = msg.Seq, p.number
	}
	for _, p := range posts {
		if p.room == room && p.acked != 0 && found[p.key] == 0 {
			w.stats.lost.Add(1)
			w.violation("%s has lost number %d of %s, acknowledged as %d", room, p.number, p.name, p.acked)
		}
	}
}

// verifyRecord holds what one life saw against the log: each message of its time once, but for the holes that it was
// told of and had no time to fill. That the live ones came in order was checked when they came.
func (w *world) verifyRecord(r *record, log []hubtest.Message) {
	seen := make(map[int64]hubtest.Message)
	for _, msgs := range [][]hubtest.Message{r.live, r.filled} {
		for _, msg := range msgs {
			if _, twice := seen[msg.Seq]; twice {
				w.stats.duplicated.Add(1)
				w.violation("%s saw seq %d twice", r.name, msg.Seq)
			}
			seen[msg.Seq] = msg
		}
	}
	for _, msg := range log {
		got, ok := seen[msg.Seq]
		delete(seen, msg.Seq)
		switch {
		case ok && got != msg:
			w.violation("%s saw another message at %d than the log has", r.name, msg.Seq)
		case !ok && r.asks(msg.Seq):
			w.stats.lost.Add(1)
			w.violation("%s never saw seq %d", r.name, msg.Seq)
		}
	}
	for seq := range seen {
		w.violation("%s saw a message at %d that the log does not have", r.name, seq)
	}
}

// asks tells whether this life has to have seen the message at seq.
func (r *record) asks(seq int64) bool {
	for _, h := range r.holes {
		if h.after < seq && seq < h.before {
			return false
		}
	}
	return r.start >= 0 && r.start < seq && seq <= r.end
}

// The verdict itself is put to the test: each kind of fault in what was seen or kept must be found.
func TestVerdictFindsFaults(t *testing.T) {
	at := func(seq int64, name, key string) hubtest.Message {
		return hubtest.Message{Seq: seq, From: name, Key: key, Message: digest(key)}
	}
	log := []hubtest.Message{at(3, "a", "k1"), at(5, "a", "k2"), at(9, "b", "k3")}
	posts := func() map[string]*post {
		return map[string]*post{
			"k1": {name: "a", room: "r", key: "k1", text: "k1", number: 1, acked: 3},
			"k2": {name: "a", room: "r", key: "k2", text: "k2", number: 2, acked: 5},
			"k3": {name: "b", room: "r", key: "k3", text: "k3", number: 1},
			"k4": {name: "b", room: "r", key: "k4", text: "k4", number: 2},
		}
	}
	for _, tc := range []struct {
		name                  string
		log                   []hubtest.Message
		lost, twice, disorder int64
		violations            int64
	}{
		{"as it should be", log, 0, 0, 0, 0},
		{"an unacknowledged one not kept", log[:2], 0, 0, 0, 0},
		{"an acknowledged one lost", log[1:], 1, 0, 0, 1},
		{"one twice", append(log[:3:3], at(10, "b", "k3")), 0, 1, 0, 1},
		{"another order", []hubtest.Message{at(3, "a", "k2"), at(5, "a", "k1")}, 0, 0, 1, 2},
		{"another seq", []hubtest.Message{at(3, "a", "k1"), at(6, "a", "k2")}, 0, 0, 0, 1},
		{"from nobody", append(log[:3:3], at(10, "c", "k5")), 0, 0, 0, 1},
		{"under another name", append(log[:3:3], at(10, "a", "k4")), 0, 0, 0, 1},
	} {
		t.Run("log, "+tc.name, func(t *testing.T) {
			w := world{t: silent{t}}
			w.verifyLog("r", tc.log, posts())
			w.expect(t, tc.lost, tc.twice, tc.disorder, tc.violations)
		})
	}
	for _, tc := range []struct {
		name              string
		record            record
		lost, twice, more int64
	}{
		{"all", record{start: 0, end: math.MaxInt64, live: log}, 0, 0, 0},
		{"from its login on", record{start: 4, end: 9, live: log[1:]}, 0, 0, 0},
		{"until its death", record{start: 0, end: 5, live: log[:2]}, 0, 0, 0},
		{"never logged in", record{start: -1, end: -1}, 0, 0, 0},
		{"filled", record{start: 0, end: 9, live: []hubtest.Message{log[0], log[2]}, filled: log[1:2]}, 0, 0, 0},
		{"told of a gap", record{start: 0, end: 9, live: []hubtest.Message{log[0], log[2]}, holes: []hole{{3, 9}}}, 0, 0, 0},
		{"a gap that nobody told of", record{start: 0, end: 9, live: []hubtest.Message{log[0], log[2]}}, 1, 0, 1},
		{"filled twice", record{start: 0, end: 9, live: log, filled: log[1:2]}, 0, 1, 1},
		{"a stranger's", record{start: 0, end: 9, live: append(log[:3:3], at(11, "c", "k"))}, 0, 0, 1},
		{"another text", record{start: 0, end: 9, live: append(log[:2:2], at(9, "b", "k4"))}, 0, 0, 1},
	} {
		t.Run("record, "+tc.name, func(t *testing.T) {
			w := world{t: silent{t}}
			w.verifyRecord(&tc.record, log)
			w.expect(t, tc.lost, tc.twice, 0, tc.more)
		})
	}
}

// silent is a test whose errors are only counted.
type silent struct{ testing.TB }

func (silent) Errorf(string, ...any) {}

func (w *world) expect(t *testing.T, lost, duplicated, outOfOrder, violations int64) {
	t.Helper()
	got := [4]int64{w.stats.lost.Load(), w.stats.duplicated.Load(), w.stats.outOfOrder.Load(), w.violations.Load()}
	if want := [4]int64{lost, duplicated, outOfOrder, violations}; got != want {
		t.Errorf("lost, duplicated, out of order, violations: %v, want %v", got, want)
	}
}
