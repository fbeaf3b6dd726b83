package store

import (
	"context"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"parley/store/natstest"
)

// A stream that is there and does not do what it is needed for is named, with what is wrong, and left alone. One that
// differs in what does not matter is used.
func TestStreamsAreChecked(t *testing.T) {
	url := natstest.Server(t, t.TempDir())
	js := natstest.Streams(t, url)
	const log, bucket = "-log", "KV_"
	for _, tc := range []struct {
		name   string
		stream string
		change func(*jetstream.StreamConfig)
		wrong  string
	}{
		{"subjects", log, func(c *jetstream.StreamConfig) { c.Subjects = append(c.Subjects, "more.of.them") }, "subjects"},
		{"queue", log, func(c *jetstream.StreamConfig) { c.Retention = jetstream.WorkQueuePolicy }, "retention"},
		{"memory", log, func(c *jetstream.StreamConfig) { c.Storage = jetstream.MemoryStorage }, "storage"},
		{"subject", log, func(c *jetstream.StreamConfig) { c.MaxMsgsPerSubject = 1000 }, "max_msgs_per_subject"},
		{"messages", log, func(c *jetstream.StreamConfig) { c.MaxMsgs = 1000 }, "discard"},
		{"bytes", log, func(c *jetstream.StreamConfig) { c.MaxBytes = 1 << 20 }, "discard"},
		{"age", log, func(c *jetstream.StreamConfig) { c.MaxAge, c.Duplicates = time.Hour, time.Hour }, "max_age"},
		{"window", log, func(c *jetstream.StreamConfig) { c.Duplicates = time.Hour }, "duplicate_window"},
		{"republish", log, func(c *jetstream.StreamConfig) { c.RePublish = nil }, "republish"},
		{"direct", log, func(c *jetstream.StreamConfig) { c.AllowDirect = false }, "allow_direct"},
		{"acks", log, func(c *jetstream.StreamConfig) { c.NoAck = true }, "no_ack"},
		{"nobody", log, func(c *jetstream.StreamConfig) { c.Metadata = nil }, "is not of this server"},
		{"users-age", bucket, func(c *jetstream.StreamConfig) { c.MaxAge = 30 * 24 * time.Hour }, "max_age"},
		{"users-ttl", bucket, func(c *jetstream.StreamConfig) { c.AllowMsgTTL = false }, "allow_msg_ttl"},
		{"refuses", log, func(c *jetstream.StreamConfig) { c.MaxBytes, c.Discard = 1<<20, jetstream.DiscardNew }, ""},
		{"longer", log, func(c *jetstream.StreamConfig) { c.MaxAge = 90 * 24 * time.Hour }, ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			told := new(strings.Builder)
			opts := JetStreamOptions{URL: url, Prefix: tc.name, Logger: slog.New(slog.NewTextHandler(told, nil))}
			made, err := OpenJetStream(t.Context(), opts)
			if err != nil {
				t.Fatal(err)
			}
			made.Close()
			name := tc.name + tc.stream
			if tc.stream == bucket {
				name = bucket + tc.name
			}
			s, err := js.Stream(t.Context(), name)
			if err != nil {
				t.Fatal(err)
			}
			config := s.CachedInfo().Config
			if err := js.DeleteStream(t.Context(), name); err != nil {
				t.Fatal(err)
			}
			tc.change(&config)
			if s, err = js.CreateStream(t.Context(), config); err != nil {
				t.Fatal(err)
			}
			if keeps := tc.stream == log && !config.NoAck; keeps {
				if _, err := js.Publish(t.Context(), tc.name+".log.x", []byte("kept")); err != nil {
					t.Fatal(err)
				}
			}
			j, err := OpenJetStream(t.Context(), opts)
			switch {
			case tc.wrong == "":
				if err != nil {
					t.Fatal(err)
				}
				j.Close()
			case err == nil:
				j.Close()
				t.Error("it is used")
			case !strings.Contains(err.Error(), name) || !strings.Contains(err.Error(), tc.wrong) || strings.Contains(err.Error(), "\n"):
				t.Errorf("it says %v", err)
			}
			if info, err := s.Info(t.Context()); err != nil || tc.stream == log && !config.NoAck && info.State.Msgs != 1 {
				t.Errorf("the stream has %+v, %v", info, err)
			}
			if other := tc.name == "longer"; other != strings.Contains(told.String(), "another time to keep messages") {
				t.Errorf("it logged %s", told)
			}
		})
	}
}

// Servers without JetStream are waited for: it may be on its way. The line says what to look at.
func TestWithoutJetStream(t *testing.T) {
	url := natstest.Plain(t)
	natstest.WantRefused(t, "JetStream does not answer: is it turned on", opened(JetStreamOptions{URL: url}))
}

// A node is one when its log takes messages, no sooner: a new stream is not known at once to each server of a cluster.
func TestTakesMessages(t *testing.T) {
	nc, err := nats.Connect(natstest.Plain(t)) // the test answers for the stream
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	ctx, cancel := context.WithTimeout(t.Context(), answerWithin)
	defer cancel()
	asked := make(chan error, 1)
	go func() { asked <- (&JetStream{nc: nc, names: namesFor("parley")}).takesMessages(ctx) }()
	for nc.Stats().InMsgs < 3 { // nobody is there, as it was told that often
		select {
		case err := <-asked:
			t.Fatalf("it does not wait: %v", err)
		case <-time.After(time.Millisecond):
		}
	}
	if _, err := nc.Subscribe("parley.log.*", func(m *nats.Msg) {
		if m.Header.Get("Nats-Expected-Stream") == "" {
			t.Error("the stream would keep it")
		}
		m.Respond([]byte(`{"error":{"err_code":10060}}`))
	}); err != nil {
		t.Fatal(err)
	}
	if err := <-asked; err != nil {
		t.Error(err)
	}
}

// Who may not publish into the log is told so at the start.
func TestMayNotPublish(t *testing.T) {
	addr := natstest.Configured(t, `authorization { users: [{ user: u, password: p, permissions: { publish: { deny: "parley.log.>" } } }] }`)
	natstest.WantRefused(t, "may this user publish to parley.log.*?", opened(JetStreamOptions{URL: "nats://u:p@" + addr}))
}

// opened opens a node, and ends it at once when that works.
func opened(opts JetStreamOptions) func(context.Context, *slog.Logger) error {
	return func(ctx context.Context, logger *slog.Logger) error {
		opts.Logger = logger
		j, err := OpenJetStream(ctx, opts)
		if err == nil {
			j.Close()
		}
		return err
	}
}

func TestOldServers(t *testing.T) {
	for version, old := range map[string]bool{
		"2.10.29": true, "1.4.1": true, "2.11.0": false, "2.12.0-RC.3": false, "2.11": false, "3.0.0": false, "": false,
	} {
		if tooOld(version) != old {
			t.Errorf("%q: %v", version, !old)
		}
	}
}
