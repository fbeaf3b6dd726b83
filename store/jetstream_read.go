package store

import (
	"context"
	"slices"
)

// The stream is read forwards only, and what is asked for are mostly the newest messages before some point. So
// every message says where to begin to have that many before it: see marks.

// markEvery is the distance of a room's marks, in messages.
const markEvery = 64

// marks remembers the seq of every 64th message of a room, the newest 18 of them, for the hints of the messages
// to come. Between two of them lie at least as many messages.
type marks struct {
	seqs  []int64 // oldest first
	since int     // messages since the last
}

// near and far are hints (see stored).
func (k *marks) near() int64 { return k.back(2) }
func (k *marks) far() int64  { return k.back(2 + (RecentMessages+markEvery-1)/markEvery) }

func (k *marks) back(n int) int64 {
	if len(k.seqs) < n {
		return 0
	}
	return k.seqs[len(k.seqs)-n]
}

// add takes the room's next message.
func (k *marks) add(seq int64) {
	if k.since++; k.since < markEvery && len(k.seqs) > 0 {
		return
	}
	k.since = 0
	k.seqs = append(k.seqs, seq)
	if most := 2 + (RecentMessages+markEvery-1)/markEvery; len(k.seqs) > most {
		k.seqs = slices.Delete(k.seqs, 0, len(k.seqs)-most)
	}
}

// reset takes the newest messages of a room whose older ones were not read.
func (k *marks) reset(newest []stored) {
	*k = marks{}
	for i, m := range newest {
		if i == 0 {
			for _, hint := range []int64{m.far, m.near} {
				if hint > 0 {
					k.seqs = append(k.seqs, hint)
				}
			}
		}
		k.add(m.Seq)
	}
}

// pageOf reads a page of the room's log, and the newest messages themselves for their hints.
func (j *JetStream) pageOf(ctx context.Context, room string, q Query) (Page, []stored, error) {
	t := token(room)
	var rec roomRecord
	_, known, err := j.load(ctx, roomKey(t), &rec)
	if err != nil {
		return Page{}, nil, err
	}
	page := Page{}
	if page.Dropped, err = j.dropped(ctx, t, known, rec); err != nil {
		return Page{}, nil, err
	}
	// From the leader: the message that the page ends before, or the newest. A replica that has it has all before.
	var end *rawMessage
	if q.Before > 0 {
		if end, err = j.get(ctx, j.names.log, getRequest{Seq: q.Before, NextFor: j.names.messages + t}); err != nil {
			return Page{}, nil, err
		}
	}
	if end == nil {
		if end, err = j.get(ctx, j.names.log, getRequest{LastFor: j.names.messages + t}); end == nil || err != nil {
			return page, nil, err
		}
	}
	r := roomReader{j: j, ctx: ctx, room: room, subject: j.names.messages + t, q: q}
	read := r.newest
	if q.Oldest {
		read = r.oldest
	}
	messages, err := read(end)
	if err != nil {
		return Page{}, nil, err
	}
	plain := &memoryRoom{dropped: page.Dropped, messages: make([]Message, len(messages))}
	for i, m := range messages {
		plain.messages[i] = m.Message
	}
	return plain.page(q), messages, nil
}

// dropped is the highest seq that may have been dropped from the room. What age takes, it takes from the whole
// stream's beginning: while that has not come to where the room began, nothing of the room is gone.
func (j *JetStream) dropped(ctx context.Context, t string, known bool, rec roomRecord) (int64, error) {
	first, _, err := j.ends(ctx, j.names.log)
	switch {
	case err != nil:
		return 0, err
	case !known:
		return first - 1, nil
	case first-1 <= rec.After:
		return rec.Dropped, nil
	}
	m, err := j.get(ctx, j.names.log, getRequest{NextFor: j.names.messages + t})
	if err != nil {
		return 0, err
	}
	if m == nil {
		return max(rec.Dropped, first-1), nil
	}
	return max(rec.Dropped, m.Seq-1), nil
}

// roomReader reads the messages of one room.
type roomReader struct {
	j       *JetStream
	ctx     context.Context
	room    string
	subject string
	q       Query
}

// want is how many messages tell whether there are more than were asked for.
func (r *roomReader) want() int { return max(r.q.Limit, 0) + 1 }

// enough reports whether so many messages make the page, and tell whether there are more.
func (r *roomReader) enough(n, size int) bool {
	return n >= r.want() || n > 1 && r.q.Bytes > 0 && size > r.q.Bytes
}

func (r *roomReader) within(seq int64) bool {
	return seq > r.q.After && (r.q.Before == 0 || seq < r.q.Before)
}

// decode reads a message. One that is not of this server's format, which somebody put into the stream, is not ours: it
// has a seq and no more, and is left out wherever messages are told.
func (r *roomReader) decode(raw *rawMessage) (m stored, ours bool) {
	if ours = m.decode(raw.Data) == nil; !ours {
		m = stored{}
	}
	m.Room, m.Seq = r.room, raw.Seq
	return m, ours
}

// oldest reads the first messages after q.After.
func (r *roomReader) oldest(end *rawMessage) (messages []stored, err error) {
	size := 0
	err = r.j.stretch(r.ctx, r.j.names.log, r.subject, r.q.After+1, end.Seq, func(raw *rawMessage) bool {
		if !r.within(raw.Seq) {
			return false
		}
		if m, ours := r.decode(raw); ours {
			messages = append(messages, m)
			size += len(m.Body)
		}
		return !r.enough(len(messages), size)
	})
	return messages, err
}

// newest reads backwards, from hint to hint, until there is enough.
func (r *roomReader) newest(end *rawMessage) (messages []stored, err error) {
	top, ours := r.decode(end)
	size := 0
	if ours && r.within(top.Seq) {
		messages, size = append(messages, top), len(top.Body)
	}
	for far := false; top.Seq > r.q.After+1 && !r.enough(len(messages), size); {
		from := top.near
		if far && top.far > 0 {
			from = top.far
		}
		from = max(from, r.q.After+1, 1)
		before, err := r.between(from, top.Seq)
		if err != nil {
			return nil, err
		}
		if n := len(before); n > 0 && before[n-1].Seq == top.Seq {
			before = before[:n-1]
		}
		for _, m := range before {
			size += len(m.Body)
		}
		messages = append(before, messages...)
		if from == max(r.q.After+1, 1) {
			break // there are none before
		}
		if len(before) == 0 { // these are gone, or not ours
			top = stored{Message: Message{Seq: from}}
			continue
		}
		top = before[0]
		// Small messages: one long step costs less than many.
		far = r.q.Bytes == 0 || size/len(messages)*r.want() < 2*r.q.Bytes
	}
	return messages, nil
}

// between reads the messages with from <= seq <= through, at which there is one.
func (r *roomReader) between(from, through int64) (messages []stored, err error) {
	err = r.j.stretch(r.ctx, r.j.names.log, r.subject, from, through, func(raw *rawMessage) bool {
		if raw.Seq > through {
			return false
		}
		if m, ours := r.decode(raw); ours {
			messages = append(messages, m)
		}
		return true
	})
	return messages, err
}
