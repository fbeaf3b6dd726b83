package store

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

const (
	duplicateWindow = 24 * time.Hour
	epochKey        = "parley-epoch" // in the stream's metadata
)

// setUp makes the streams or checks them.
func (j *JetStream) setUp(ctx context.Context) error {
	js, err := jetstream.New(j.nc)
	if err != nil {
		return err
	}
	replicas := 1
	if j.nc.ConnectedClusterName() != "" {
		replicas = 3
	}
	log, err := j.stream(ctx, js, jetstream.StreamConfig{
		Name: j.names.log, Subjects: []string{j.names.messages + "*"}, Replicas: replicas,
		Storage: jetstream.FileStorage, AllowDirect: true,
		MaxAge: j.maxAge(), Duplicates: duplicateWindow, MaxMsgs: -1, MaxBytes: -1, MaxMsgsPerSubject: -1,
		RePublish: &jetstream.RePublish{Source: j.names.messages + "*", Destination: j.names.room + "{{wildcard(1)}}.log"},
		Metadata:  map[string]string{epochKey: rand.Text()},
	})
	if err != nil {
		return err
	}
	if _, err := j.stream(ctx, js, jetstream.StreamConfig{
		Name: j.names.bucket, Subjects: []string{j.names.keys + ">"}, Replicas: replicas,
		Storage: jetstream.FileStorage, AllowDirect: true, AllowRollup: true, DenyDelete: true, AllowMsgTTL: true,
		Discard: jetstream.DiscardNew, MaxMsgs: -1, MaxBytes: -1, MaxMsgsPerSubject: 1,
		RePublish: &jetstream.RePublish{Source: j.names.keys + ">", Destination: j.names.feed + ">"},
	}); err != nil {
		return err
	}
	if j.epoch = log.Metadata[epochKey]; j.epoch == "" {
		return &configError{fmt.Errorf("the stream %s is not of this server: choose another --nats-prefix", log.Name)}
	}
	j.durability = "disk"
	if log.Replicas >= 3 {
		j.durability = "replicated"
	}
	if log.MaxAge != j.maxAge() {
		j.opts.Logger.Warn("the stream was made with another time to keep messages, which holds: change it with the nats tool",
			"stream", log.Name, "kept", log.MaxAge.String(), "asked", j.maxAge().String())
	}
	return nil
}

// takesMessages waits until the log's stream takes what is published: not every server of a cluster knows at once of a
// new stream, or of its new leader. It is asked by a message that it refuses for the stream that it names.
func (j *JetStream) takesMessages(ctx context.Context) error {
	for {
		probe := &nats.Msg{Subject: j.names.messages + "probe", Header: nats.Header{"Nats-Expected-Stream": {"none"}}}
		_, err := j.nc.RequestMsgWithContext(ctx, probe)
		if err == nil {
			return nil
		}
		if !errors.Is(err, nats.ErrNoResponders) {
			return fmt.Errorf("the stream %s does not answer: may this user publish to %s*? %w", j.names.log, j.names.messages, err)
		}
		pause := time.NewTimer(busyPause)
		select {
		case <-pause.C:
		case <-ctx.Done():
			pause.Stop()
			return fmt.Errorf("the stream %s has no leader: are most of its servers up? %w", j.names.log, err)
		}
	}
}

// maxAge is how long the stream keeps messages; 0: forever. The engine rebuilds its window of message ids from
// messages that are stored, so none goes sooner.
func (j *JetStream) maxAge() time.Duration {
	if j.opts.Retain == 0 {
		return 0
	}
	return max(j.opts.Retain, duplicateWindow)
}

// stream makes a stream, or checks the one that is there.
func (j *JetStream) stream(ctx context.Context, js jetstream.JetStream, want jetstream.StreamConfig) (jetstream.StreamConfig, error) {
	s, err := js.Stream(ctx, want.Name)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		if s, err = js.CreateStream(ctx, want); errors.Is(err, jetstream.ErrStreamNameAlreadyInUse) {
			s, err = js.Stream(ctx, want.Name) // another node was faster
		}
	}
	if errors.Is(err, jetstream.ErrJetStreamNotEnabled) || errors.Is(err, jetstream.ErrJetStreamNotEnabledForAccount) {
		return want, &configError{fmt.Errorf("the NATS servers run without JetStream: start them with it: %w", err)}
	}
	if errors.Is(err, nats.ErrNoResponders) {
		return want, fmt.Errorf("JetStream does not answer: is it turned on in the NATS servers, and are most of them up? %w", err)
	}
	if err != nil {
		return want, fmt.Errorf("stream %s: %w", want.Name, err)
	}
	have := s.CachedInfo().Config
	if wrong := differs(have, want); wrong != "" {
		return want, &configError{fmt.Errorf("the stream %s is there with other settings (%s): choose another --nats-prefix, or move it away", want.Name, wrong)}
	}
	return have, nil
}

// differs names a setting of the stream with which it does not do what it is needed for; "" when it does.
func differs(have, want jetstream.StreamConfig) string {
	for _, setting := range []struct {
		name string
		good bool
	}{
		{"subjects", slices.Equal(have.Subjects, want.Subjects)},
		{"retention", have.Retention == want.Retention},
		{"storage", have.Storage == want.Storage},
		{"max_msgs_per_subject", have.MaxMsgsPerSubject == want.MaxMsgsPerSubject},
		{"discard", have.Discard == jetstream.DiscardNew || have.MaxMsgs <= 0 && have.MaxBytes <= 0}, // else they drop what is needed
		{"max_age", have.MaxAge == 0 || want.Duplicates > 0 && have.MaxAge >= want.Duplicates},
		{"duplicate_window", have.Duplicates >= want.Duplicates},
		{"republish", have.RePublish != nil && *have.RePublish == *want.RePublish},
		{"allow_direct", have.AllowDirect},
		{"allow_msg_ttl", have.AllowMsgTTL == want.AllowMsgTTL},
		{"no_ack", !have.NoAck},
		{"sealed", !have.Sealed},
	} {
		if !setting.good {
			return setting.name
		}
	}
	return ""
}
