package hub

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"net"
	"net/http"
	"slices"

	"github.com/coder/websocket"
)

// The library's buffers for one connection, in bytes. net/http's own are 4 KiB
// each: small ones save 7.6 KiB an idle connection. Longer payloads pass the
// read buffer by; the write buffer sees control frames only, and must take the
// longest of them (127 bytes) whole.
const (
	readBuffer  = 512
	writeBuffer = 128
)

// upgrade makes the request's connection a WebSocket. The library does the
// handshake, all reading, and answers pings and close frames; what the server
// has to say goes through the outlet, at most queueLimit bytes of it unsent.
// Compression is off, whatever opts says. On an error the request has been
// answered. No memory of the request is kept, so the handler should return.
func upgrade(w http.ResponseWriter, r *http.Request, opts *websocket.AcceptOptions, p *writers, queueLimit int) (*websocket.Conn, *outlet, error) {
	o := &outlet{pool: p, limit: queueLimit}
	accept := *opts
	accept.CompressionMode = websocket.CompressionDisabled
	ws, err := websocket.Accept(&hijacker{w, o}, r, &accept)
	if err != nil {
		return nil, nil, err
	}
	if p.library {
		o.lib = &corked{ws: ws}
	}
	return ws, o, nil
}

// hijacker is the ResponseWriter through which the library gets a connection of
// ours instead of net/http's.
type hijacker struct {
	http.ResponseWriter
	o *outlet
}

// Hijack implements [http.Hijacker].
func (h *hijacker) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	conn, rw, err := http.NewResponseController(h.ResponseWriter).Hijack()
	if err != nil {
		return nil, nil, err
	}
	h.o.conn = conn
	h.o.raw = rawConn(conn)
	s := &socket{conn, h.o}
	return s, bufio.NewReadWriter(carryOver(rw.Reader), bufio.NewWriterSize(s, writeBuffer)), nil
}

// carryOver is a small reader that holds what net/http has read already: a
// client that does not wait for the handshake's end may have sent its first
// frame. The library takes that out before it turns the reader to the socket,
// so it must be buffered, not only be about to be read.
func carryOver(from *bufio.Reader) *bufio.Reader {
	early, _ := from.Peek(from.Buffered())
	to := bufio.NewReaderSize(bytes.NewReader(early), max(readBuffer, len(early)))
	_, _ = to.Peek(len(early))
	return to
}

// socket is the connection as the library sees it.
type socket struct {
	net.Conn
	o *outlet
}

// Read notes that the peer is alive.
func (s *socket) Read(b []byte) (int, error) {
	n, err := s.Conn.Read(b)
	if n > 0 && !s.o.alive.Load() {
		s.o.alive.Store(true)
	}
	return n, err
}

// Write queues one frame: a pong or a close frame, as the library writes nothing
// else (see corked for the exception). It never waits for the socket, so a peer
// that does not read what it is sent can still be read from.
func (s *socket) Write(b []byte) (int, error) {
	switch {
	case s.o.lib != nil && s.o.lib.collect(b):
	case b[0]&0xf == opClose:
		s.o.libraryClose(slices.Clone(b))
	default:
		s.o.pong(slices.Clone(b))
	}
	return len(b), nil
}

// Close is the library's: the closing handshake is over as soon as the close
// frame is on the wire, or has failed.
func (s *socket) Close() error {
	s.o.awaitClose()
	if !s.o.leave() {
		return nil
	}
	return s.Conn.Close()
}

// finish ends a connection from its reader when the library reads no further. If
// that is because the library closed it (a frame too large, or against the
// protocol), what the peer still sends is read and thrown away until it has seen
// the close frame, for closeTimeout at the most: closing a socket with unread
// bytes resets it, and the close frame could be lost with it.
func (o *outlet) finish() {
	o.mu.Lock()
	linger := o.ours == 0 && o.stage != stageOpen && o.stage != stageGone
	o.mu.Unlock()
	if linger {
		o.awaitClose()
		_, _ = io.Copy(io.Discard, o.conn) // ended by the outlet's timer at the latest
	}
	o.abort()
}

// corked is the other way for data frames: through the library's own Write, as
// a comparison and as the proof that frame.go encodes as the library does. What
// it writes is kept until the writer puts it on the wire, still many frames in
// one system call. Only the writer that has the outlet uses it.
type corked struct {
	ws   *websocket.Conn
	buf  []byte
	rest int // bytes that the frame in progress lacks; guarded by the library's lock on writing
}

// collect takes a piece of a data frame; false: b is a control frame, which
// only comes between two of them.
func (c *corked) collect(b []byte) bool {
	if c.rest == 0 {
		if b[0]&0xf != opText {
			return false
		}
		_, c.rest = frameSize(b)
	}
	c.rest -= len(b)
	c.buf = append(c.buf, b...)
	return true
}

// encode has the library write the text frames of list again, and returns what
// it made of them. One that it refuses, because it has closed the connection, is
// left out.
func (c *corked) encode(list []entry) []entry {
	c.buf = nil
	for _, e := range list {
		for run := e.frames; len(run) > 0; {
			header, size := frameSize(run)
			frame := run[:size]
			run = run[size:]
			if frame[0]&0xf == opText {
				_ = c.ws.Write(context.Background(), websocket.MessageText, frame[header:])
			} else {
				c.buf = append(c.buf, frame...)
			}
		}
	}
	if len(c.buf) == 0 {
		return nil
	}
	return []entry{{frames: c.buf}}
}
