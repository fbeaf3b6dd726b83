package store

import (
	"context"
	"encoding/base64"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"parley/store/natstest"
)

// What is read of a stretch has no hole, though the replicas that are asked lag behind; what is gone since is not
// waited for.
func TestStretch(t *testing.T) {
	nc, err := nats.Connect(natstest.Plain(t)) // the test answers for JetStream
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	j := &JetStream{nc: nc}
	reason := base64.StdEncoding.EncodeToString([]byte("NATS/1.0\r\n" + reasonHeader + ": " + base64.StdEncoding.EncodeToString([]byte("spam")) + "\r\n\r\n"))
	for _, tc := range []struct {
		name  string
		parts [][]int64 // what the replicas that are asked have, one after the other; nil: one does not answer
		left  []int64   // what the leader has then; 0: nothing
		until int64
		want  []int64
	}{
		{"all at once", [][]int64{{1, 2, 3}}, nil, 3, []int64{1, 2, 3}},
		{"more than was asked for", [][]int64{{1, 2, 3}}, nil, 2, []int64{1, 2, 3}},
		{"parts", [][]int64{{1}, {2, 3}, {5}}, nil, 5, []int64{1, 2, 3, 5}},
		{"a replica that lags", [][]int64{{1}, {}}, []int64{2, 3}, 3, []int64{1, 2, 3}},
		{"one that says nothing", [][]int64{nil}, []int64{1, 3}, 2, []int64{1, 3}},
		{"the newest is gone", [][]int64{{1}, {}}, []int64{0}, 3, []int64{1}},
		{"all is gone", [][]int64{{}}, []int64{0}, 3, nil},
	} {
		t.Run(tc.name, func(t *testing.T) {
			const stream = "log"
			parts, left := tc.parts, tc.left
			if !slices.ContainsFunc(parts, func(has []int64) bool { return has == nil }) {
				defer func(before time.Duration) { partTimeout = before }(partTimeout)
				partTimeout = answerWithin
			}
			replicas, err := j.nc.Subscribe("$JS.API.DIRECT.GET."+stream, func(ask *nats.Msg) {
				has := parts[0]
				if parts = parts[1:]; has == nil {
					return
				}
				for _, seq := range has {
					ask.RespondMsg(&nats.Msg{Header: nats.Header{"Nats-Sequence": {fmt.Sprint(seq)}, "Nats-Subject": {"x"}}, Data: []byte("x")})
				}
				ask.RespondMsg(&nats.Msg{Header: nats.Header{"Status": {"204"}}})
			})
			if err != nil {
				t.Fatal(err)
			}
			defer replicas.Unsubscribe()
			leader, err := j.nc.Subscribe("$JS.API.STREAM.MSG.GET."+stream, func(ask *nats.Msg) {
				answer := fmt.Sprintf(`{"error":{"err_code":%d}}`, codeNotFound)
				if left[0] > 0 {
					answer = fmt.Sprintf(`{"message":{"subject":"x","seq":%d,"hdrs":%q}}`, left[0], reason)
				}
				left = left[1:]
				ask.Respond([]byte(answer))
			})
			if err != nil {
				t.Fatal(err)
			}
			defer leader.Unsubscribe()
			ctx, cancel := context.WithTimeout(t.Context(), answerWithin)
			defer cancel()
			var read []int64
			err = j.stretch(ctx, stream, "x", 1, tc.until, func(m *rawMessage) bool {
				if told := len(m.Data) > 0; told == (m.reason == "spam") {
					t.Errorf("%d has the reason %q", m.Seq, m.reason)
				}
				read = append(read, m.Seq)
				return true
			})
			if err != nil || !slices.Equal(read, tc.want) {
				t.Errorf("read %v, %v", read, err)
			}
		})
	}
}

// A room that is removed while its old messages are looked for has none.
func TestTrimOfARemovedRoom(t *testing.T) {
	nc, err := nats.Connect(natstest.Plain(t)) // the test answers for JetStream
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	j := &JetStream{nc: nc, names: namesFor("parley"), opts: JetStreamOptions{Options: Options{History: 100}}}
	newest := stored{near: 100, far: 50}
	answers := make(chan string, 2)
	answers <- fmt.Sprintf(`{"message":{"subject":"x","seq":200,"data":%q}}`, base64.StdEncoding.EncodeToString(newest.encode()))
	answers <- fmt.Sprintf(`{"error":{"err_code":%d}}`, codeNotFound)
	if _, err := nc.Subscribe("$JS.API.STREAM.MSG.GET.parley-log", func(ask *nats.Msg) {
		ask.Respond([]byte(<-answers))
	}); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), answerWithin)
	defer cancel()
	if err := j.trim(ctx, "a"); err != nil || len(answers) > 0 {
		t.Errorf("%v, with %d answers left", err, len(answers))
	}
}

// A renewal of the lease that fails takes the node out of service, unless the connection was mended since it was sent.
func TestFailedRenewal(t *testing.T) {
	nc, err := nats.Connect(natstest.Plain(t)) // the test answers for the bucket
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	for _, mended := range []bool{false, true} {
		j := &JetStream{nc: nc, names: namesFor("parley"), ctx: t.Context(), slots: make(chan struct{}, 1), wake: make(chan struct{}, 1)}
		j.lease = lease{id: "this", held: true}
		asked := make(chan *nats.Msg, 1)
		sub, err := nc.ChanSubscribe(j.names.keys+nodeKey("this"), asked)
		if err != nil {
			t.Fatal(err)
		}
		j.lease.renew(j, time.Now())
		ask := <-asked
		if mended {
			j.lease.reconnected(j)
		}
		ask.Respond([]byte(`{"error":{"err_code":10008}}`))
		j.working.Wait()
		for _, do := range j.take() {
			do()
		}
		if out := j.Ready() != nil; out == mended {
			t.Errorf("mended %v: %v", mended, j.Ready())
		}
		sub.Unsubscribe()
	}
}
