package hub

import (
	"errors"
	"os"
	"sync"
	"time"
)

const (
	// stallTimeout is how long a socket may take nothing at all before its
	// connection is given up.
	stallTimeout = 10 * time.Second
	// slowChunk is what goes to a slow connection at a time, unless one frame is
	// longer: so much is finished before a close frame passes what is queued. It
	// is the size of a TLS record.
	slowChunk = 16 << 10
)

// remainder is what a writer has taken and not written yet.
type remainder struct {
	list  []entry
	off   int // bytes of list[0] that are written
	bytes int // what the list counted in the queue, less what is written
}

// peek returns what to write next: whole frames (or the rest of one and whole
// ones), as many as fit into buf but one at the least; nothing when all is
// written. It is valid until buf is used again.
func (r *remainder) peek(buf []byte) []byte {
	if len(r.list) == 0 {
		return nil
	}
	run := r.list[0].frames
	if len(run)-r.off > len(buf) {
		end := frameEnd(run, r.off+1)
		for end-r.off < len(buf) {
			_, size := frameSize(run[end:])
			if end+size-r.off > len(buf) {
				break
			}
			end += size
		}
		return run[r.off:end]
	}
	if len(r.list) == 1 {
		return run[r.off:]
	}
	n := copy(buf, run[r.off:])
	for _, e := range r.list[1:] {
		if n+len(e.frames) > len(buf) {
			break
		}
		n += copy(buf[n:], e.frames)
	}
	return buf[:n]
}

// skip notes that n bytes more are written.
func (r *remainder) skip(n int) {
	r.bytes -= n
	r.off += n
	for len(r.list) > 0 && r.off >= len(r.list[0].frames) {
		r.off -= len(r.list[0].frames)
		r.list[0] = entry{}
		r.list = r.list[1:]
	}
}

// cut gives up all but the rest of the frame that is partly written. It returns
// how many bytes less there are.
func (r *remainder) cut() (dropped int) {
	was := r.bytes
	r.bytes = 0
	if r.off > 0 {
		run := r.list[0].frames
		end := frameEnd(run, r.off)
		r.list = []entry{{frames: run[:end]}}
		r.bytes = end - r.off
		r.skip(0)
	} else {
		r.list = nil
	}
	return was - r.bytes
}

var slowBuffers = sync.Pool{New: func() any { return new([slowChunk]byte) }}

// writeSlowly writes r and all that is queued meanwhile with writes that block,
// and ends when there is no more. It is the goroutine of a connection that does
// not take what it is sent at once, for as long as that is so, and the only way
// to write where a socket cannot be asked not to block.
func (o *outlet) writeSlowly(r remainder) {
	buf := slowBuffers.Get().(*[slowChunk]byte)
	defer slowBuffers.Put(buf)
	for {
		o.refill(&r)
		if len(r.list) == 0 {
			o.account(r.bytes)
			r.bytes = 0
			_ = o.conn.SetWriteDeadline(time.Time{}) // before another writer may have the socket
			if !o.release(0) {
				return
			}
			continue
		}
		chunk := r.peek(buf[:])
		if err := o.writeAll(chunk); err != nil {
			o.abort()
			o.account(r.bytes)
			return
		}
		o.account(len(chunk))
		r.skip(len(chunk))
	}
}

// refill cuts r short when the hub wants that, and goes on to the queue when it
// is through.
func (o *outlet) refill(r *remainder) {
	if o.wantsCut() {
		o.account(r.cut())
	}
	if len(r.list) == 0 {
		o.account(r.bytes) // of frames that the library refused
		*r = o.take(nil)
	}
}

// writeAll writes b with a deadline that moves on with each byte that the socket
// takes.
func (o *outlet) writeAll(b []byte) error {
	for len(b) > 0 {
		if err := o.conn.SetWriteDeadline(time.Now().Add(stallTimeout)); err != nil {
			return err
		}
		n, err := o.conn.Write(b)
		if err != nil && (n == 0 || !errors.Is(err, os.ErrDeadlineExceeded)) {
			return err
		}
		b = b[n:]
	}
	return nil
}
