package store

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"
)

// What this driver asks of JetStream it asks by its plain requests: they say exactly who answers. A leader's word
// is the newest there is; any replica's may be old, and is checked against a leader's (see stretch).

// Codes of JetStream's errors.
const (
	codeNotFound      = 10037
	codeWrongLast     = 10071
	codeWrongLastBusy = 10164
	codeDuplicateBusy = 10158 // the first message with this id is on its way
)

// apiError is JetStream's answer that something did not work.
type apiError struct {
	Code        int    `json:"err_code"`
	Description string `json:"description"`
}

func (e *apiError) Error() string { return fmt.Sprintf("JetStream: %s (%d)", e.Description, e.Code) }

func errorCode(err error) int {
	if e, ok := errors.AsType[*apiError](err); ok {
		return e.Code
	}
	return 0
}

// getRequest selects messages of a stream.
type getRequest struct {
	Seq      int64  `json:"seq,omitempty"`
	LastFor  string `json:"last_by_subj,omitempty"`
	NextFor  string `json:"next_by_subj,omitempty"`
	Batch    int    `json:"batch,omitempty"`
	MaxBytes int    `json:"max_bytes,omitempty"`

	StartTime *time.Time `json:"start_time,omitempty"`
}

// rawMessage is one message of a stream.
type rawMessage struct {
	Subject string `json:"subject"`
	Seq     int64  `json:"seq"`
	Data    []byte `json:"data"`
	Header  []byte `json:"hdrs"` // as it is written, of one that a leader gave
	reason  string // of a deletion
}

// deleted reports whether the message stands for a deleted key of the bucket.
func (m *rawMessage) deleted() bool { return len(m.Data) == 0 }

// request asks JetStream's API and decodes the answer.
func (j *JetStream) request(ctx context.Context, subject string, ask, answer any) error {
	data, err := json.Marshal(ask)
	if err != nil {
		return err
	}
	m, err := j.nc.RequestWithContext(ctx, "$JS.API."+subject, data)
	if err != nil {
		return err
	}
	var failed struct {
		Error *apiError `json:"error"`
	}
	if err := json.Unmarshal(m.Data, &failed); err != nil {
		return err
	}
	if failed.Error != nil {
		return failed.Error
	}
	return json.Unmarshal(m.Data, answer)
}

// get asks the stream's leader for one message, nil when there is none.
func (j *JetStream) get(ctx context.Context, stream string, ask getRequest) (*rawMessage, error) {
	var answer struct {
		Message *rawMessage `json:"message"`
	}
	err := j.request(ctx, "STREAM.MSG.GET."+stream, ask, &answer)
	if errorCode(err) == codeNotFound {
		return nil, nil
	}
	if m := answer.Message; m != nil && len(m.Header) > 0 {
		header, err := nats.DecodeHeadersMsg(m.Header)
		if err != nil {
			return nil, err
		}
		m.reason = reasonOf(header)
	}
	return answer.Message, err
}

// last asks the leader for the newest seq among the subjects, 0 when there is none.
func (j *JetStream) last(ctx context.Context, stream, filter string) (int64, error) {
	m, err := j.get(ctx, stream, getRequest{LastFor: filter})
	if m == nil || err != nil {
		return 0, err
	}
	return m.Seq, nil
}

// ends asks for the first seq that the stream has, or will have, and for its last.
func (j *JetStream) ends(ctx context.Context, stream string) (first, last int64, err error) {
	var answer struct {
		State struct {
			Messages int64 `json:"messages"`
			First    int64 `json:"first_seq"`
			Last     int64 `json:"last_seq"`
		} `json:"state"`
	}
	err = j.request(ctx, "STREAM.INFO."+stream, struct{}{}, &answer)
	s := answer.State
	if s.Messages == 0 {
		s.First = s.Last + 1
	}
	return s.First, s.Last, err
}

// The parts in which a stretch is read.
const (
	partMessages = 256
	partBytes    = 1 << 20
)

// partTimeout is how long the next message of a part is waited for. A test whose replicas all answer waits longer.
var partTimeout = time.Second

// stretch reads the messages of the subjects with a seq of at least from, in order, until take returns false or
// one with a seq of at least until has been read, which the leader is known to have had: so what is read has no hole,
// whichever replica answers. One that lags behind, or says nothing, may do so for long, and it is the nearest that
// answers each time: then the leader is asked for the rest. What that has lost since, to age or a removal, is left out.
func (j *JetStream) stretch(ctx context.Context, stream, filter string, from, until int64, take func(*rawMessage) bool) error {
	for replica := true; from <= until; {
		if replica {
			last, stop, err := j.part(ctx, stream, getRequest{Seq: from, NextFor: filter, Batch: partMessages, MaxBytes: partBytes}, take)
			if err != nil || stop {
				return err
			}
			replica = last >= from
			from = max(from, last+1)
			continue
		}
		m, err := j.get(ctx, stream, getRequest{Seq: from, NextFor: filter})
		if m == nil || err != nil || !take(m) {
			return err
		}
		from = m.Seq + 1
	}
	return nil
}

// part reads one part of a stretch from some replica, or what of it comes. last is the seq of its last message, 0 when
// there is none.
func (j *JetStream) part(ctx context.Context, stream string, ask getRequest, take func(*rawMessage) bool) (last int64, stop bool, err error) {
	data, err := json.Marshal(ask)
	if err != nil {
		return 0, false, err
	}
	inbox := j.nc.NewInbox()
	sub, err := j.nc.SubscribeSync(inbox)
	if err != nil {
		return 0, false, err
	}
	defer func() { _ = sub.Unsubscribe() }() // it fails only when the connection is closed
	if err := j.nc.PublishRequest("$JS.API.DIRECT.GET."+stream, inbox, data); err != nil {
		return 0, false, err
	}
	for {
		m, err := nextMessage(ctx, sub)
		if m == nil {
			return last, false, err
		}
		switch status := m.Header.Get("Status"); status {
		case "":
		case "204", "404", "503": // the part's end; nothing there; nobody who serves it at this moment
			return last, false, nil
		default:
			return last, false, fmt.Errorf("JetStream: a read failed with %s %s", status, m.Header.Get("Description"))
		}
		raw, err := rawOf(m)
		if err != nil {
			return last, false, err
		}
		last = raw.Seq
		if !take(raw) {
			return last, true, nil
		}
	}
}

// nextMessage is nil when none comes for a while.
func nextMessage(ctx context.Context, sub *nats.Subscription) (*nats.Msg, error) {
	soon, cancel := context.WithTimeout(ctx, partTimeout)
	defer cancel()
	m, err := sub.NextMsgWithContext(soon)
	if err != nil && soon.Err() != nil {
		return nil, ctx.Err()
	}
	return m, err
}

// rawOf is a message that was read directly, or republished.
func rawOf(m *nats.Msg) (*rawMessage, error) {
	seq, err := strconv.ParseInt(m.Header.Get("Nats-Sequence"), 10, 64)
	if err != nil {
		return nil, fmt.Errorf("JetStream: a message without a sequence: %w", err)
	}
	return &rawMessage{Subject: m.Header.Get("Nats-Subject"), Seq: seq, Data: m.Data, reason: reasonOf(m.Header)}, nil
}

func reasonOf(h nats.Header) string {
	reason, _ := base64.StdEncoding.DecodeString(h.Get(reasonHeader)) // a broken one is none
	return string(reason)
}

// pubAck is JetStream's answer to a message.
type pubAck struct {
	Seq       int64     `json:"seq"`
	Duplicate bool      `json:"duplicate"`
	Error     *apiError `json:"error"`
}

func (a *pubAck) decode(m *nats.Msg) error {
	if m.Header.Get("Status") == "503" {
		return nats.ErrNoResponders
	}
	if err := json.Unmarshal(m.Data, a); err != nil {
		return err
	}
	if a.Error != nil {
		return a.Error
	}
	return nil
}

// tombstoneTTL is how long a deleted key is remembered: longer than any node is without news of the bucket.
const tombstoneTTL = time.Hour

// put writes a key of the bucket, if revision expected is the last that was written to it, its deletion counted; 0:
// none. It blocks until that is stored, and returns its revision.
func (j *JetStream) put(ctx context.Context, key string, value any, expected int64) (rev int64, err error) {
	data, err := json.Marshal(value)
	if err != nil {
		return 0, err
	}
	return j.write(ctx, &nats.Msg{Subject: j.names.keys + key, Data: data, Header: nats.Header{}}, expected)
}

// reasonHeader tells in a deletion why somebody was removed.
const reasonHeader = "Parley-Reason"

// remove deletes a key of the bucket, on the same condition.
func (j *JetStream) remove(ctx context.Context, key, reason string, expected int64) (rev int64, err error) {
	m := &nats.Msg{Subject: j.names.keys + key, Header: nats.Header{
		"KV-Operation": {"DEL"}, "Nats-TTL": {tombstoneTTL.String()},
	}}
	if reason != "" {
		m.Header.Set(reasonHeader, base64.StdEncoding.EncodeToString([]byte(reason)))
	}
	return j.write(ctx, m, expected)
}

func (j *JetStream) write(ctx context.Context, m *nats.Msg, expected int64) (rev int64, err error) {
	m.Header.Set("Nats-Expected-Last-Subject-Sequence", strconv.FormatInt(expected, 10))
	answer, err := j.nc.RequestMsgWithContext(ctx, m)
	if err != nil {
		return 0, err
	}
	var ack pubAck
	err = ack.decode(answer)
	return ack.Seq, err
}

// conflict reports whether a write failed because another came first.
func conflict(err error) bool {
	code := errorCode(err)
	return code == codeWrongLast || code == codeWrongLastBusy
}

// load reads a key of the bucket from its leader into value, and gives the revision of the last write; found is
// false when the key is not there, though a deletion may be.
func (j *JetStream) load(ctx context.Context, key string, value any) (rev int64, found bool, err error) {
	m, err := j.get(ctx, j.names.bucket, getRequest{LastFor: j.names.keys + key})
	if m == nil || err != nil {
		return 0, false, err
	}
	if m.deleted() {
		return m.Seq, false, nil
	}
	return m.Seq, true, json.Unmarshal(m.Data, value)
}
