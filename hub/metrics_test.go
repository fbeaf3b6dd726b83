package hub

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"parley/protocol"
	"parley/store"
)

// readings are all counters and gauges by name, with the value of the label, and the count of observations of histograms.
func readings(t *testing.T, registry *prometheus.Registry) map[string]float64 {
	t.Helper()
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	all := make(map[string]float64)
	for _, f := range families {
		for _, m := range f.GetMetric() {
			name := f.GetName()
			for _, l := range m.GetLabel() {
				name += " " + l.GetValue()
			}
			all[name] = m.GetCounter().GetValue() + m.GetGauge().GetValue() + float64(m.GetHistogram().GetSampleCount())
		}
	}
	return all
}

// Every metric of the hub tells what happened in a small conversation.
func TestMetrics(t *testing.T) {
	registry := prometheus.NewRegistry()
	s := newStage(Config{Metrics: registry, MessageLimit: 100})
	t.Cleanup(s.h.writers.close)
	for i, name := range []string{"ann", "bob", "eve"} {
		s.connect(name)
		if name != "eve" {
			s.say(t, name, fmt.Sprintf(`{"event":"login","data":{"name":%q,"room":"lobby","session":"session-%08d","since":0},"ackId":1}`, name, i))
		}
	}
	for i := range 3 {
		s.say(t, "ann", fmt.Sprintf(`{"event":"roomMessage","data":{"message":"hello","key":"key-%012d"},"ackId":2}`, i))
	}
	s.say(t, "ann", `{"event":"roomMessage","data":{"message":"hello","key":"key-000000000000"},"ackId":2}`) // again
	s.say(t, "eve", `{"event":"roomMessage","data":"hello"}`)
	s.say(t, "eve", `nonsense`)
	ann, bob := s.clients["ann"], s.clients["bob"]
	s.do(received{c: ann, ackID: 3, event: "ping", err: protocol.RateLimited(time.Second)})
	// What the log could not do.
	s.h.pending[99] = pendingAppend{c: ann, ackID: 4, room: ann.member.room, given: s.h.now, came: s.h.now}
	ann.inFlight++
	ann.member.room.pending++
	s.do(reported{store.Report{Appended: []store.Appended{{Ref: 99, Err: errors.New("the disk is full")}}}})
	ann.inFlight++
	s.do(paged{page{c: ann, ackID: 5, err: errors.New("the disk fails")}})
	s.h.slow = append(s.h.slow, bob)
	s.do(disconnected{c: s.clients["eve"], code: protocol.CloseNormal, goodbye: true})
	s.do(disconnected{c: bob, code: protocol.CloseTryLater})
	for code := range protocol.CloseCode(2) {
		s.connect("eve")
		s.do(disconnected{c: s.clients["eve"], code: 3000 + code})
	}
	s.h.countStep(time.Millisecond)

	got := readings(t, registry)
	for name, want := range map[string]float64{
		"parley_connections":                    1,
		"parley_users":                          2,
		"parley_rooms":                          1,
		"parley_messages_received_total":        4,
		"parley_deliveries_total":               6,
		"parley_connections_closed_total 1000":  1,
		"parley_connections_closed_total 1013":  1,
		"parley_connections_closed_total other": 2,
		"parley_errors_total not_logged_in":     1,
		"parley_errors_total bad_envelope":      1,
		"parley_errors_total rate_limited":      1,
		"parley_errors_total unavailable":       2,
		"parley_rate_limited_total":             1,
		"parley_resumes_total recovered":        2,
		"parley_slow_consumers_total":           1,
		"parley_queue_bytes":                    0,
		"parley_log_ready":                      1,
		"parley_ack_seconds":                    5,
		"parley_log_append_seconds":             5,
		"parley_hub_step_seconds":               1,
	} {
		if got[name] != want {
			t.Errorf("%s is %v, want %v", name, got[name], want)
		}
		delete(got, name)
	}
	if each := len(`{"event":"roomMessage","data":{"message":"hello","from":"ann","userId":`); got["parley_delivered_bytes_total"] < float64(6*each) {
		t.Error("delivered bytes:", got["parley_delivered_bytes_total"])
	}
	delete(got, "parley_delivered_bytes_total")
	if len(got) > 0 {
		t.Error("not looked at:", got)
	}

	if err := s.h.log.Close(); err != nil {
		t.Fatal(err)
	}
	if got := readings(t, registry)["parley_log_ready"]; got != 0 {
		t.Error("a closed log is ready:", got)
	}
}
