package store

import (
	"fmt"
	"runtime"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"parley/store/natstest"
)

// benchNode is a node that tells what it is answered.
func benchNode(b *testing.B, url string) (j *JetStream, claimed chan Claimed, entered chan Entered) {
	b.Helper()
	j, err := OpenJetStream(b.Context(), JetStreamOptions{URL: url})
	if err != nil {
		b.Fatal(err)
	}
	claimed, entered = make(chan Claimed, 1<<16), make(chan Entered, 1<<16)
	j.Start(func(r Report) {
		for _, c := range r.Claimed {
			claimed <- c
		}
		for _, e := range r.Entered {
			entered <- e
		}
	})
	b.Cleanup(func() { j.Close() })
	return j, claimed, entered
}

func benchUser(i int, room string) Entry {
	name := fmt.Sprint("user ", i)
	return Entry{User: User{ID: name, Name: name, Nick: name, Room: room}, Limit: 1 << 20}
}

// BenchmarkJetStreamRooms is a room that somebody enters as the first: -benchtime 10000x is a node with so many.
func BenchmarkJetStreamRooms(b *testing.B) {
	j, claimed, entered := benchNode(b, natstest.Server(b, b.TempDir()))
	before := heapInUse()
	rooms := 0
	for b.Loop() {
		room := fmt.Sprint("room ", rooms)
		rooms++
		if _, _, err := j.Claim(1, room); err != nil {
			b.Fatal(err)
		}
		if c := <-claimed; c.Err != nil {
			b.Fatal(c.Err)
		}
		if err := j.Enter(2, benchUser(0, room)); err != nil {
			b.Fatal(err)
		}
		if e := <-entered; e.Err != nil {
			b.Fatal(e.Err)
		}
	}
	b.ReportMetric(float64(heapInUse()-before)/float64(rooms), "B/room,server-included")
}

// BenchmarkJetStreamJoin is a user who enters a room that many are in, 64 at a time; then another node reads it.
func BenchmarkJetStreamJoin(b *testing.B) {
	url := natstest.Server(b, b.TempDir())
	j, claimed, entered := benchNode(b, url)
	if _, _, err := j.Claim(1, "hall"); err != nil {
		b.Fatal(err)
	}
	<-claimed
	users, open := 0, 0
	for b.Loop() {
		if err := j.Enter(Ref(users), benchUser(users, "hall")); err != nil {
			b.Fatal(err)
		}
		users++
		if open++; open == 64 || users == 1 {
			if e := <-entered; e.Err != nil {
				b.Fatal(e.Err)
			}
			open--
		}
	}
	for range open {
		if e := <-entered; e.Err != nil {
			b.Fatal(e.Err)
		}
	}
	other, claimed, _ := benchNode(b, url)
	begin := time.Now()
	if _, _, err := other.Claim(1, "hall"); err != nil {
		b.Fatal(err)
	}
	if c := <-claimed; c.Err != nil || len(c.State.Members) != users {
		b.Fatalf("%d of %d members, %v", len(c.State.Members), users, c.Err)
	}
	b.ReportMetric(float64(time.Since(begin).Milliseconds()), "ms/claim-by-another-node")
}

// BenchmarkJetStreamIDs is what the server remembers of a message's id: -benchtime 1000000x.
func BenchmarkJetStreamIDs(b *testing.B) {
	url := natstest.Server(b, b.TempDir())
	j, _, _ := benchNode(b, url)
	js, err := jetstream.New(j.nc, jetstream.WithPublishAsyncMaxPending(4096))
	if err != nil {
		b.Fatal(err)
	}
	before, n := heapInUse(), 0
	for b.Loop() {
		m := Message{Room: "r", Nick: "n", Key: fmt.Sprint(n)}
		if _, err := js.PublishMsgAsync(&nats.Msg{
			Subject: j.names.messages + "x", Header: nats.Header{"Nats-Msg-Id": {messageID(&m, "")}}, Data: []byte("x"),
		}, jetstream.WithStallWait(time.Minute)); err != nil {
			b.Fatal(err)
		}
		n++
	}
	<-js.PublishAsyncComplete()
	b.ReportMetric(float64(heapInUse()-before)/float64(n), "B/id")
}

func heapInUse() int64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapInuse)
}
