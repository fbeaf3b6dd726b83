package store

import (
	"context"
	"fmt"
	"slices"
	"testing"

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
	for _, tc := range []struct {
		name  string
		parts [][]int64 // what the replicas that are asked have, one after the other
		left  []bool    // whether the leader has more, when one had nothing
		until int64
		want  []int64
	}{
		{"all at once", [][]int64{{1, 2, 3}}, nil, 3, []int64{1, 2, 3}},
		{"more than was asked for", [][]int64{{1, 2, 3}}, nil, 2, []int64{1, 2, 3}},
		{"parts", [][]int64{{1}, {2, 3}, {5}}, nil, 5, []int64{1, 2, 3, 5}},
		{"replicas that lag", [][]int64{{1}, {}, {}, {2}, {}, {3}}, []bool{true, true, true}, 3, []int64{1, 2, 3}},
		{"the newest is gone", [][]int64{{1}, {}}, []bool{false}, 3, []int64{1}},
		{"all is gone", [][]int64{{}}, []bool{false}, 3, nil},
	} {
		t.Run(tc.name, func(t *testing.T) {
			const stream = "log"
			parts, left := tc.parts, tc.left
			replicas, err := j.nc.Subscribe("$JS.API.DIRECT.GET."+stream, func(ask *nats.Msg) {
				for _, seq := range parts[0] {
					ask.RespondMsg(&nats.Msg{Header: nats.Header{"Nats-Sequence": {fmt.Sprint(seq)}, "Nats-Subject": {"x"}}, Data: []byte("x")})
				}
				parts = parts[1:]
				ask.RespondMsg(&nats.Msg{Header: nats.Header{"Status": {"204"}}})
			})
			if err != nil {
				t.Fatal(err)
			}
			defer replicas.Unsubscribe()
			leader, err := j.nc.Subscribe("$JS.API.STREAM.MSG.GET."+stream, func(ask *nats.Msg) {
				answer := fmt.Sprintf(`{"error":{"err_code":%d}}`, codeNotFound)
				if left[0] {
					answer = `{"message":{"subject":"x","seq":9}}`
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
				read = append(read, m.Seq)
				return true
			})
			if err != nil || !slices.Equal(read, tc.want) {
				t.Errorf("read %v, %v", read, err)
			}
		})
	}
}
