package store

import (
	"context"
	"errors"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
)

// publish is a message on its way to the stream.
type publish struct {
	ref      Ref
	msg      Message
	out      *nats.Msg // as it is sent
	deadline time.Time // to be acknowledged by
}

// busyPause is how long a message whose like is on its way waits before it is sent again.
const busyPause = 20 * time.Millisecond

var errUnanswered = errors.New("the message log did not answer: the message may be stored or not")

// publish sends a message. It is sent once: what is not acknowledged is reported as failed, and a retry under the
// same key decides. (Retries made here could overtake the messages behind them.)
func (j *JetStream) publish(p *publish) {
	r := j.rooms[token(p.msg.Room)]
	if r == nil || r.loading {
		j.settle(p, Appended{Err: ErrAway})
		return
	}
	s := stored{Message: p.msg, near: r.marks.near(), far: r.marks.far()}
	j.lastPub++
	p.out = &nats.Msg{
		Subject: j.names.messages + r.token, Reply: j.ackInbox + "." + strconv.FormatUint(j.lastPub, 10), Data: s.encode(),
	}
	if p.msg.Key != "" {
		p.out.Header = nats.Header{"Nats-Msg-Id": {messageID(&p.msg, r.record.Life)}}
	}
	p.deadline = time.Now().Add(serverTimeout)
	j.pending[j.lastPub] = p
	j.send(j.lastPub, p)
}

func (j *JetStream) send(id uint64, p *publish) {
	if err := j.nc.PublishMsg(p.out); err != nil {
		delete(j.pending, id)
		j.settle(p, Appended{Err: ErrAway})
	}
}

// settle answers an Append.
func (j *JetStream) settle(p *publish, out Appended) {
	out.Ref = p.ref
	j.mu.Lock()
	j.appends--
	j.mu.Unlock()
	j.report.Appended = append(j.report.Appended, out)
}

// acknowledged takes the stream's answer to a message.
func (j *JetStream) acknowledged(m *nats.Msg) {
	id, err := strconv.ParseUint(m.Subject[strings.LastIndexByte(m.Subject, '.')+1:], 10, 64)
	p := j.pending[id]
	if err != nil || p == nil {
		return // given up
	}
	var ack pubAck
	err = ack.decode(m)
	switch {
	case errorCode(err) == codeDuplicateBusy:
		time.AfterFunc(busyPause, func() {
			j.tell(func() {
				if j.pending[id] == p {
					j.send(id, p)
				}
			})
		})
		return
	case err != nil:
		delete(j.pending, id)
		j.settle(p, Appended{Err: err})
		return
	}
	delete(j.pending, id)
	out := Appended{Seq: ack.Seq, At: p.msg.At, Duplicate: ack.Duplicate}
	if !ack.Duplicate {
		j.acked(p, out)
		return
	}
	work(j, serverTimeout, func(ctx context.Context) (first stored, err error) {
		m, err := j.get(ctx, j.names.log, getRequest{Seq: ack.Seq})
		if err != nil {
			return first, err
		}
		if m == nil {
			return first, errors.New("the first message under this key is gone")
		}
		return first, first.decode(m.Data)
	}, func(first stored, err error) {
		if err != nil {
			j.settle(p, Appended{Err: err})
			return
		}
		out.At = first.At
		j.acked(p, out)
	})
}

// acked answers an Append once its message has been reported.
func (j *JetStream) acked(p *publish, out Appended) {
	r := j.rooms[token(p.msg.Room)]
	if r == nil {
		j.settle(p, out)
		return
	}
	r.after(j, out.Seq, func(err error) {
		if err != nil {
			out = Appended{Err: err}
		}
		j.settle(p, out)
	})
}

// expirePublishes gives up on messages that were not acknowledged in time.
func (j *JetStream) expirePublishes(now time.Time) {
	for id, p := range j.pending {
		if now.After(p.deadline) {
			delete(j.pending, id)
			j.settle(p, Appended{Err: errUnanswered})
		}
	}
}

func (j *JetStream) failPublishes(err error) {
	for id, p := range j.pending {
		delete(j.pending, id)
		j.settle(p, Appended{Err: err})
	}
}
