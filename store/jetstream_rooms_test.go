package store

import (
	"slices"
	"strings"
	"testing"
	"time"

	"parley/store/natstest"
)

// Messages that do not reach this node are read from the stream: before anything later is reported, and when nothing
// comes behind them.
func TestLostOnTheWay(t *testing.T) {
	for _, tc := range []struct {
		name string
		lost []string
	}{{"one in the middle", []string{"2"}}, {"some", []string{"1", "3", "4"}}, {"the last", []string{"5"}}, {"all", []string{"1", "2", "3", "4", "5"}}} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			j, err := OpenJetStream(t.Context(), JetStreamOptions{URL: natstest.Server(t, t.TempDir()), Lease: time.Minute})
			if err != nil {
				t.Fatal(err)
			}
			reports := make(chan Report, 64)
			j.Start(func(r Report) { reports <- r })
			defer j.Close()
			if _, _, err := j.Claim(1, "hall"); err != nil {
				t.Fatal(err)
			}
			<-reports
			for checking := make(chan bool, 1); ; { // what it looks for since it has the room
				j.tell(func() { checking <- j.rooms[token("hall")].checking })
				if !<-checking {
					break
				}
			}
			said := []string{"1", "2", "3", "4", "5"}
			j.tell(func() { // by loop, so that nobody else takes what comes
				for _, body := range said {
					s := stored{Message: Message{At: time.Now(), From: "Ann", Nick: "ann", Body: body}}
					if err := j.nc.Publish(j.names.messages+token("hall"), s.encode()); err != nil {
						t.Error(err)
					}
				}
				for come := 0; come < len(said); {
					m := <-j.live
					if !strings.HasPrefix(m.Subject, j.names.room) {
						j.message(m)
						continue
					}
					if !slices.Contains(tc.lost, said[come]) {
						j.message(m)
					}
					come++
				}
			})
			deadline := time.NewTimer(answerWithin)
			defer deadline.Stop()
			var heard []string
			for len(heard) < len(said) {
				select {
				case r := <-reports:
					for _, m := range r.Stored {
						heard = append(heard, m.Body)
					}
				case <-deadline.C:
					t.Fatalf("heard %v", heard)
				}
			}
			if !slices.Equal(heard, said) {
				t.Errorf("heard %v", heard)
			}
		})
	}
}
