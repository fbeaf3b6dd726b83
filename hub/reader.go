package hub

import (
	"bytes"
	"context"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"github.com/coder/websocket"

	"parley/protocol"
)

// A reader takes what one connection sends, frame by frame. While nothing comes
// it is a goroutine that waits with an almost empty stack of 2 KiB (await); what
// has come is read and decoded by a goroutine of the pool, whose stack has grown
// to what that takes (decoders). With a goroutine a connection for both, each
// would keep 4 KiB, or 8 once the library has gone deep: it buys 4 of 15 kB an
// idle connection, and spares a newcomer's stack its growing.
//
// It relies on the library's Reader being asked between messages only. A frame of
// which a part has come, or a ping, with nothing behind it, keeps its goroutine
// until the next message is there; one of a peer's pongs does not (skipPongs).
type reader struct {
	hub    *Hub
	client *client
	ws     *websocket.Conn
	socket *socket
	since  time.Time
	text   io.LimitedReader // the message that is being read, as far as it may go
}

// start begins to read.
func (r *reader) start() {
	if r.socket.o.raw == nil {
		go func() { // TLS: reading goes deep anyway
			for !r.readFrame() {
			}
		}()
		return
	}
	if r.socket.pending() {
		r.hub.decoders.run(r)
		return
	}
	go r.await()
}

// await waits until something has come in.
func (r *reader) await() {
	r.socket.await()
	r.hub.decoders.run(r)
}

// read takes the frames that have come in.
func (r *reader) read() {
	for {
		if r.readFrame() {
			return
		}
		if !r.socket.pending() {
			go r.await()
			return
		}
	}
}

// frames are the buffers into which readers read: one for each frame between
// reading and decoding.
var frames = sync.Pool{New: func() any { return new(bytes.Buffer) }}

// keepFrame is the largest buffer that is worth keeping.
const keepFrame = 64 << 10

// readFrame reads one frame and hands what it asks to the hub. It reports whether
// the connection has ended, which the hub has been told then.
func (r *reader) readFrame() (ended bool) {
	kind, text, err := r.ws.Reader(context.Background())
	if err == nil {
		err = r.handOver(kind, text)
	}
	if err != nil {
		r.end(err)
	}
	return err != nil
}

// handOver decodes a message for the hub. An error ends the connection.
func (r *reader) handOver(kind websocket.MessageType, text io.Reader) error {
	if kind != websocket.MessageText {
		return r.refuseRest(text, protocol.CloseUnsupported)
	}
	buf := frames.Get().(*bytes.Buffer)
	defer func() {
		if buf.Cap() <= keepFrame {
			buf.Reset()
			frames.Put(buf)
		}
	}()
	limit := readLimit(r.hub.cfg.MessageLimit)
	r.text = io.LimitedReader{R: text, N: limit + 1}
	if _, err := buf.ReadFrom(&r.text); err != nil {
		return err
	}
	if int64(buf.Len()) > limit {
		return r.refuseRest(text, protocol.CloseTooBig)
	}
	ev, err := r.hub.decode(r.client, buf.Bytes())
	if err != nil {
		return refuse(r.socket.o, r.ws, protocol.CloseNotUTF8)
	}
	if ev.err != nil && ev.err.Code == protocol.CodeRateLimited && r.client.abusive(ev.at, ev.err.RetryAfter) {
		return refuse(r.socket.o, r.ws, protocol.ClosePolicy)
	}
	r.hub.post(ev)
	return nil
}

// end tells the hub why the connection has ended.
func (r *reader) end(err error) {
	c, o := r.client, r.socket.o
	ev := disconnected{c: c, code: protocol.CloseCode(max(0, websocket.CloseStatus(err)))}
	by := "client"
	if code := o.closeCode(); code != 0 {
		ev.code, by = code, "server"
	} else if ev.code == 0 {
		by = "nobody" // it broke
	} else {
		ev.goodbye = ev.code == protocol.CloseNormal || ev.code == protocol.CloseNoStatus
	}
	o.finish()
	_ = r.ws.CloseNow() // else the library's finalizer, which stands in a cycle, would keep it for good
	r.hub.gate.leave(c.addr)
	r.hub.logger.Info("connection ended", "id", c.id, "address", c.addr.String(), "by", by, "code", int(ev.code),
		"reason", reason(ev.code, err), "after", time.Since(r.since).Round(time.Millisecond).String())
	r.hub.post(ev)
}

// refuseRest is refuse in the middle of a message. What is left of that is read and
// thrown away, or the library would take it for frames.
func (r *reader) refuseRest(text io.Reader, code protocol.CloseCode) error {
	r.socket.o.closeWith(code, code.Reason())
	if _, err := io.Copy(io.Discard, text); err != nil {
		return err
	}
	return refuse(r.socket.o, r.ws, code)
}

// refuse ends a connection from its reader, and waits until the peer has answered
// the close frame or the time for that is over.
func refuse(o *outlet, ws *websocket.Conn, code protocol.CloseCode) error {
	o.closeWith(code, code.Reason())
	for {
		_, r, err := ws.Reader(context.Background())
		if err != nil {
			return err
		}
		if _, err := io.Copy(io.Discard, r); err != nil {
			return err
		}
	}
}

// decoders are the goroutines that read and decode what has come in: as many as
// are at it, of which a few stay for the next. One that has to wait in the middle
// of a frame holds up nobody else.
type decoders struct {
	work    chan *reader
	kept    atomic.Int32
	stopped <-chan struct{}
}

// keptDecoders is how many wait for work at most.
const keptDecoders = 16

// run hands r to a goroutine that is free, or to a new one.
func (d *decoders) run(r *reader) {
	select {
	case d.work <- r:
	default:
		go d.loop(r)
	}
}

func (d *decoders) loop(r *reader) {
	for r != nil {
		r.read()
		r = d.next()
	}
}

// next waits for work, unless enough others do; then it is nil.
func (d *decoders) next() *reader {
	defer d.kept.Add(-1)
	if d.kept.Add(1) > keptDecoders {
		return nil
	}
	select {
	case r := <-d.work:
		return r
	case <-d.stopped:
		return nil
	}
}
