//go:build linux

package bench

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"time"
)

// What the generator looks for in texts, and writes. Servers write event, ackId and
// data in this order.
const (
	messageStart      = `{"event":"roomMessage","data":"`
	messageEventStart = `{"event":"roomMessage","data":{"message":"`
	ackStart          = `{"event":"ack","ackId":`
	loginAck          = 1
	firstAck          = 1000 // of the messages' acknowledgements
)

// A message begins with its number, its sender's place in the room, and when it was
// sent (or was to be), in hexadecimal.
const (
	seqDigits, senderDigits, timeDigits = 8, 4, 16
	markLength                          = seqDigits + senderDigits + timeDigits
)

func (l *load) text(c *conn, text []byte, now time.Duration) {
	if mark, ok := bytes.CutPrefix(text, []byte(messageEventStart)); ok {
		l.delivery(c, mark, now)
		return
	}
	if rest, ok := bytes.CutPrefix(text, []byte(ackStart)); ok {
		id := 0
		for _, d := range rest[:bytes.IndexByte(rest, ',')] {
			id = 10*id + int(d-'0')
		}
		switch {
		case bytes.Contains(rest, []byte(`"error":`)):
			l.t.Fatalf("refused: %s", text)
		case id == loginAck:
			l.loggedIn++
		case id >= firstAck:
			l.acks = append(l.acks, now-time.Duration(id-firstAck)*time.Microsecond)
		}
	}
}

// delivery checks that c gets the messages of each sender of its room one by one.
func (l *load) delivery(c *conn, mark []byte, now time.Duration) {
	seq, sender := hex(mark[:seqDigits]), hex(mark[seqDigits:seqDigits+senderDigits])
	if c.next == nil {
		c.next = make([]uint32, len(c.room.members))
	}
	if sender >= uint64(len(c.next)) || uint64(c.next[sender]) != seq {
		l.t.Fatalf("%s: member %d got message %d of %d out of order", c.room.name, c.place, seq, sender)
	}
	c.next[sender]++
	l.delivered++
	if l.sampling > 0 && l.delivered%l.sampling == 0 {
		l.late = append(l.late, now-time.Duration(hex(mark[seqDigits+senderDigits:markLength])))
	}
	if l.whole != nil {
		r := c.room
		for int(seq) >= len(r.seen) {
			r.seen = append(r.seen, 0)
		}
		r.seen[seq]++
		for r.oldest < r.sent && r.oldest < len(r.seen) && r.seen[r.oldest] == len(r.members) {
			r.oldest++
			l.whole(r)
		}
	}
}

func hex(digits []byte) (n uint64) {
	for _, d := range digits {
		if d > '9' {
			d -= 'a' - '9' - 1
		}
		n = n<<4 | uint64(d-'0')
	}
	return n
}

// message appends the frame of c's next message, sent at the time at. Its
// acknowledgement, if one is asked for, has that time for a number.
func (l *load) message(dst []byte, c *conn, size int, at time.Duration, ack bool) []byte {
	l.mark = fmt.Appendf(l.mark[:0], "%0*x%0*x%0*x", seqDigits, c.sent, senderDigits, c.place, timeDigits, at.Nanoseconds())
	end := []byte(`"}`)
	if ack {
		end = fmt.Appendf(nil, `","ackId":%d}`, firstAck+at.Microseconds())
	}
	c.sent++
	if c.place == 0 {
		c.room.sent++
	}
	return appendFrame(dst, true, []byte(messageStart), l.mark, filler[:size-markLength], end)
}

// appendFrame appends a text frame; a client's is masked with zeros, which leaves
// the text as it is.
func appendFrame(dst []byte, client bool, text ...[]byte) []byte {
	n, mask := 0, byte(0)
	if client {
		mask = 0x80
	}
	for _, t := range text {
		n += len(t)
	}
	dst = append(dst, 0x81)
	if n < 126 {
		dst = append(dst, mask|byte(n))
	} else {
		dst = binary.BigEndian.AppendUint16(append(dst, mask|126), uint16(n))
	}
	if client {
		dst = append(dst, 0, 0, 0, 0)
	}
	for _, t := range text {
		dst = append(dst, t...)
	}
	return dst
}

// filler is what messages are made longer with.
var filler = bytes.Repeat([]byte("m"), 64<<10)

// frameLength is the length of the header of a server's frame and of its payload;
// more than there is when the header is not whole.
func frameLength(b []byte) (header, payload int) {
	switch n := int(b[1]); {
	case n == 126 && len(b) >= 4:
		return 4, int(binary.BigEndian.Uint16(b[2:]))
	case n == 127 && len(b) >= 10:
		return 10, int(binary.BigEndian.Uint64(b[2:]))
	default: // 126 and 127 are more than the rest of such a header
		return 2, n
	}
}
