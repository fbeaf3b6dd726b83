package hub

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/http"
	"slices"
	"sync"

	"github.com/coder/websocket"
)

// The library's buffers for one connection, in bytes. net/http's own are 4 KiB
// each: small ones save 7.9 KiB an idle connection. The read buffer only has to
// hold a header, since what has come in is in a chunk already, and payloads pass
// it by; the write buffer sees control frames only, and must take the longest of
// them (127 bytes) whole.
const (
	readBuffer  = 16
	writeBuffer = 128
)

// upgrade makes the request's connection a WebSocket. The library does the
// handshake, all reading, and answers pings and close frames; what the server
// has to say goes through the outlet, at most queueLimit bytes of it unsent.
// Compression is off, whatever opts says. On an error the request has been
// answered. No memory of the request is kept, so the handler should return.
func upgrade(w http.ResponseWriter, r *http.Request, opts *websocket.AcceptOptions, p *writers, queueLimit int) (*websocket.Conn, *socket, error) {
	s := &socket{o: &outlet{pool: p, limit: queueLimit}}
	accept := *opts
	accept.CompressionMode = websocket.CompressionDisabled
	ws, err := websocket.Accept(&hijacker{w, s}, r, &accept)
	if err != nil {
		return nil, nil, err
	}
	if p.library {
		s.o.lib = &corked{ws: ws}
	}
	return ws, s, nil
}

// hijacker is the ResponseWriter through which the library gets a connection of
// ours instead of net/http's.
type hijacker struct {
	http.ResponseWriter
	s *socket
}

// WriteHeader leaves the switch of protocols to Hijack, which is to come.
func (h *hijacker) WriteHeader(status int) {
	if status != http.StatusSwitchingProtocols {
		h.ResponseWriter.WriteHeader(status)
	}
}

// Hijack implements [http.Hijacker]. What net/http has read already is kept: a
// client that does not wait for the handshake's end may have sent its first frame.
// The answer to the handshake is written here: net/http's way to do it costs a
// login a tenth more.
func (h *hijacker) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	conn, rw, err := http.NewResponseController(h.ResponseWriter).Hijack()
	if err != nil {
		return nil, nil, err
	}
	_, _ = rw.WriteString("HTTP/1.1 101 Switching Protocols\r\n")
	_ = h.Header().Write(rw)
	_, _ = rw.WriteString("\r\n")
	if err := rw.Flush(); err != nil {
		_ = conn.Close()
		return nil, nil, err
	}
	s := h.s
	s.Conn, s.o.conn = conn, conn
	s.o.raw = rawConn(conn)
	s.attempt = s.receive
	early, _ := rw.Reader.Peek(rw.Reader.Buffered())
	s.ahead = slices.Clone(early)
	s.library = bufio.NewReaderSize(s, readBuffer)
	return s, bufio.NewReadWriter(s.library, bufio.NewWriterSize(s, writeBuffer)), nil
}

// socket is the connection as the library sees it. Its reader owns it, but for
// Write and Close.
type socket struct {
	net.Conn
	o       *outlet
	library *bufio.Reader                // through which the library reads
	ahead   []byte                       // has come in, and the library has not taken it yet
	chunk   *chunk                       // what ahead is in; nil when it is not of the pool
	attempt func(fd uintptr) (done bool) // receive
}

// chunk is what one read(2) takes, in bytes. Only connections from which something
// has come hold one.
type chunk [4 << 10]byte

var chunks = sync.Pool{New: func() any { return new(chunk) }}

// await waits until there is something for the library to read, or an error.
func (s *socket) await() { _ = s.o.raw.Read(s.attempt) }

// receive reads what is there. False: nothing but pongs, so it is to be waited.
func (s *socket) receive(fd uintptr) (done bool) {
	b := chunks.Get().(*chunk)
	for {
		n, again := tryRead(fd, b[:])
		if n <= 0 {
			chunks.Put(b)
			return !again
		}
		s.heard()
		if s.ahead = skipPongs(b[:n]); len(s.ahead) > 0 {
			s.chunk = b
			return true
		}
	}
}

// skipPongs passes over the pongs at the start of b, which is where a frame starts.
// They have said what they have to by having come. The library would ask for what
// is behind them, and the goroutine in which it does wait there.
func skipPongs(b []byte) []byte {
	const masked, header = 0x80, 2 + 4
	for len(b) >= header && b[0] == finBit|opPong && b[1]&masked != 0 && b[1]&^masked <= maxControl && len(b) >= header+int(b[1]&^masked) {
		b = b[header+int(b[1]&^masked):]
	}
	return b
}

// pending reports whether something has come in that has not been taken.
func (s *socket) pending() bool { return len(s.ahead) > 0 || s.library.Buffered() > 0 }

// Read gives the library what has come in, and waits when that is not enough.
func (s *socket) Read(b []byte) (n int, err error) {
	if len(s.ahead) > 0 {
		n = copy(b, s.ahead)
		s.ahead = s.ahead[n:]
		if len(s.ahead) == 0 && s.chunk != nil {
			chunks.Put(s.chunk)
			s.chunk = nil
		}
		return n, nil
	}
	if n, err = s.Conn.Read(b); n > 0 {
		s.heard()
	}
	return n, err
}

// heard notes that the peer is alive.
func (s *socket) heard() {
	if !s.o.alive.Load() {
		s.o.alive.Store(true)
	}
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
// that is because the library closed it (the peer broke the rules of RFC 6455),
// what the peer still sends is read and thrown away until it has seen the close
// frame, for closeTimeout at the most: closing a socket with unread bytes resets
// it, and the close frame could be lost with it.
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
