package store

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestCodec(t *testing.T) {
	for _, m := range []stored{
		{Message: Message{At: time.UnixMilli(1795460400123).UTC(), From: "Änn", Nick: "änn", UserID: "id", Key: "k", Body: "\x00\r\n🎉"}, near: 7, far: -1},
		{Message: Message{At: time.UnixMilli(0).UTC()}},
	} {
		var got stored
		b := m.encode()
		if err := got.decode(b); err != nil || got != m {
			t.Errorf("%+v, %v; want %+v", got, err, m)
		}
		for n := range len(b) - len(m.Body) {
			if err := new(stored).decode(b[:n]); err == nil {
				t.Errorf("%d of %d bytes are a message", n, len(b))
			}
		}
	}
}

// No password of a URL is told, whichever server's it is.
func TestRedacted(t *testing.T) {
	for url, want := range map[string]string{
		"nats://a:4222,b:4222":                  "nats://a:4222,b:4222",
		"nats://ann:secret@a:4222,ann:secret@b": "nats://a:4222,b",
		"nats://ann:se@cret@a,tls://token@b:1":  "nats://a,tls://b:1",
		"ann:secret@a":                          "a",
	} {
		if got := redacted(url); got != want {
			t.Errorf("%s is told as %s", url, got)
		}
	}
}

func TestMessageIDs(t *testing.T) {
	seen := make(map[string]Message)
	for _, m := range []Message{{Room: "a", Nick: "bc", Key: "d"}, {Room: "ab", Nick: "c", Key: "d"}, {Room: "a", Nick: "b", Key: "cd"}} {
		id := messageID(&m, "")
		if other, ok := seen[id]; ok || strings.ContainsAny(id, " \r\n.*>") {
			t.Errorf("%q of %+v and %+v", id, m, other)
		}
		seen[id] = m
	}
	m := Message{Room: "a", Nick: "b", Key: "c"}
	if messageID(&m, "") == messageID(&m, "another life") {
		t.Error("a removed room's keys hold for the next")
	}
}

// A room of many messages, read backwards by hints however they are sized, is what it is read forwards.
func TestHints(t *testing.T) {
	conform(t, Options{}, func(t *testing.T, r *rig) {
		var seqs []int64
		for i := range 2500 {
			size := 10
			if i%7 == 0 {
				size = 3000
			}
			r.send(t, Message{Room: "a", Nick: "ann", Body: strings.Repeat("x", size)})
			if i%3 == 0 {
				r.send(t, Message{Room: "b", Nick: "ann", Body: "x"})
			}
			if i%500 == 499 {
				r.settle()
			}
		}
		r.settle()
		for _, m := range r.newlyStored() {
			if m.Room == "a" {
				seqs = append(seqs, m.Seq)
			}
		}
		for _, q := range []Query{
			{Limit: 50}, {Limit: 64}, {Limit: 200}, {Limit: 1000}, {Limit: 3000}, {Limit: 1000, Bytes: RecentBytes},
			{Limit: 50, Before: seqs[1234]}, {Limit: 1000, Before: seqs[1700], Bytes: 100_000},
			{Limit: 1000, Before: seqs[30]}, {Limit: 500, After: seqs[2300]}, {Limit: 100, Before: seqs[1000] + 1, After: seqs[950]},
		} {
			want := (&memoryRoom{messages: bare(seqs)}).page(Query{Limit: q.Limit, Before: q.Before, After: q.After})
			got := r.page(t, "a", q)
			from := len(want.Messages) - len(got.Messages)
			if from < 0 || q.Bytes == 0 && (from > 0 || got.More != want.More) || q.Bytes > 0 && from > 0 && !got.More {
				t.Errorf("%+v: %d messages, more %v; want %d, %v", q, len(got.Messages), got.More, len(want.Messages), want.More)
				continue
			}
			for i, m := range got.Messages {
				if m.Seq != want.Messages[from+i].Seq {
					t.Errorf("%+v: message %d is %d, want %d", q, i, m.Seq, want.Messages[from+i].Seq)
					break
				}
			}
		}
	}, unserved)
}

func bare(seqs []int64) (all []Message) {
	for _, seq := range seqs {
		all = append(all, Message{Seq: seq})
	}
	return all
}

// Messages beyond the number to keep go, but none that is younger than a day.
func TestTrim(t *testing.T) {
	conform(t, Options{History: 100}, func(t *testing.T, r *rig) {
		r.claim(t, "a")
		r.mustLock(t, "a", nil)
		for i := range 400 {
			r.send(t, Message{Room: "a", Nick: "ann", Body: fmt.Sprint(i)})
			if i%50 == 49 {
				r.settle()
			}
		}
		j := r.store.(*lonely).JetStream
		for _, when := range []struct {
			what  string
			skew  time.Duration
			least int
			most  int
		}{{"young", 0, 400, 400}, {"old", 25 * time.Hour, 100, 100 + 3*markEvery}} {
			r.skew.Store(int64(when.skew))
			if err := j.trim(context.Background(), "a"); err != nil {
				t.Fatal(err)
			}
			p := r.page(t, "a", Query{Limit: 1000})
			if n := len(p.Messages); n < when.least || n > when.most || p.More || n < 400 && p.Dropped != p.Messages[0].Seq-1 {
				t.Errorf("%s: %d messages, mark %d before %d", when.what, n, p.Dropped, p.Messages[0].Seq)
			}
		}
	}, unserved)
}

// What is no message of this server's, in a room's subject, is left out, and holds up nothing.
func TestForeignMessages(t *testing.T) {
	conform(t, Options{}, func(t *testing.T, r *rig) {
		j := r.store.(*lonely).JetStream
		foreign := func(n int) (seq int64) {
			t.Helper()
			for range n {
				answer, err := j.nc.Request(j.names.messages+token("a"), []byte("\x01not ours"), answerWithin)
				if err != nil {
					t.Fatal(err)
				}
				var ack pubAck
				if err := ack.decode(answer); err != nil {
					t.Fatal(err)
				}
				seq = ack.Seq
			}
			return seq
		}
		var want, told []int64
		say := func(n int) {
			t.Helper()
			for range n {
				out := r.say(t, "a", "ann", fmt.Sprint("key-of-message-", len(want)), "x")
				if again := r.say(t, "a", "ann", fmt.Sprint("key-of-message-", len(want)), "x"); !again.Duplicate || again.Seq != out.Seq {
					t.Fatalf("it was stored at %d and sent again for %+v", out.Seq, again)
				}
				want = append(want, out.Seq)
			}
		}
		say(2)
		foreign(3)
		say(70) // marks, and what they point at
		foreign(200)
		say(70)
		newest := foreign(2)
		for _, m := range r.newlyStored() {
			told = append(told, m.Seq)
		}
		if !slices.Equal(told, want) {
			t.Errorf("told %v, want %v", told, want)
		}
		for _, q := range []Query{
			{Limit: 1000}, {Limit: 50}, {Limit: 100}, {Limit: 50, Before: newest}, {Limit: 50, Before: want[72]}, {Limit: 1000, After: want[1]},
			{Limit: 1000, After: want[1], Oldest: true}, {Limit: 30, After: want[60], Oldest: true}, {Limit: 1000, After: want[141]},
		} {
			page := (&memoryRoom{messages: bare(want)}).page(q)
			got := r.page(t, "a", q)
			same := slices.EqualFunc(got.Messages, page.Messages, func(a, b Message) bool { return a.Seq == b.Seq })
			if !same || got.More != page.More {
				t.Errorf("%+v: %d messages, more %v; want %d, %v", q, len(got.Messages), got.More, len(page.Messages), page.More)
			}
		}
		r.reopen(t)
		if state := r.claim(t, "a"); state.Seq != want[141] && state.Seq != newest {
			t.Errorf("the room begins at %d", state.Seq)
		}
		say(1)
	}, unserved)
}
