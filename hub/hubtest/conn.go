package hubtest

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/coder/websocket"
)

// Conn is the wire and nothing else: no goroutine, no test, frames read when asked for. A context that ends during a
// Read or a Write ends the connection too. One goroutine may read while another writes.
type Conn struct {
	Welcome Welcome

	ws   *websocket.Conn
	read int // frames so far
}

// Option changes the handshake.
type Option func(*websocket.DialOptions)

// Connect opens a connection and reads its welcome. An error that is a close frame of the server's instead (it is
// full, or drains: section 1) has the code that [CloseCode] tells.
func Connect(ctx context.Context, url string, opts ...Option) (*Conn, error) {
	o := websocket.DialOptions{Subprotocols: []string{"parley.v1"}}
	for _, opt := range opts {
		opt(&o)
	}
	ws, _, err := websocket.Dial(ctx, url, &o)
	if err != nil {
		return nil, err
	}
	ws.SetReadLimit(-1) // the server's own limits are what is under test
	c := &Conn{ws: ws}
	first, err := c.Read(ctx)
	if err == nil && first.Event != "welcome" {
		err = fmt.Errorf("the first frame is no welcome: %s", first)
	}
	if err == nil {
		err = first.Decode(&c.Welcome)
	}
	if err != nil {
		ws.CloseNow()
		return nil, err
	}
	return c, nil
}

// Read returns the next frame. Anything but one envelope in a text message is an error.
func (c *Conn) Read(ctx context.Context) (Frame, error) {
	kind, raw, err := c.ws.Read(ctx)
	if err != nil {
		return Frame{}, err
	}
	if kind != websocket.MessageText {
		return Frame{}, fmt.Errorf("the server sent a binary message of %d bytes", len(raw))
	}
	var e struct {
		Event string          `json:"event"`
		Data  json.RawMessage `json:"data"`
		AckID *int64          `json:"ackId"`
	}
	if err := json.Unmarshal(raw, &e); err != nil {
		return Frame{}, fmt.Errorf("the server sent no envelope: %.200q: %w", raw, err)
	}
	f := Frame{Event: e.Event, Data: e.Data, AckID: NoAck, Index: c.read}
	if e.AckID != nil {
		f.AckID = *e.AckID
	}
	c.read++
	return f, nil
}

// Write sends an envelope. data nil leaves the field out, and so does an ackID of NoAck.
func (c *Conn) Write(ctx context.Context, event string, data any, ackID int64) error {
	e := struct {
		Event string `json:"event"`
		Data  any    `json:"data,omitempty"`
		AckID *int64 `json:"ackId,omitempty"`
	}{Event: event, Data: data}
	if ackID != NoAck {
		e.AckID = &ackID
	}
	raw, err := json.Marshal(e)
	if err != nil {
		return err
	}
	return c.ws.Write(ctx, websocket.MessageText, raw)
}

// WriteRaw sends bytes as they are in one message.
func (c *Conn) WriteRaw(ctx context.Context, kind websocket.MessageType, raw []byte) error {
	return c.ws.Write(ctx, kind, raw)
}

// Close begins the closing handshake with code and waits for its end, at most about 5 s. Code 1000 makes the user
// leave at once, 1001 is a page that goes away and may come back (section 8).
func (c *Conn) Close(code websocket.StatusCode) error { return c.ws.Close(code, "") }

// Drop ends the connection without a close frame, as a lost network does.
func (c *Conn) Drop() { c.ws.CloseNow() }

// CloseCode is the close code that the server ended a connection with, told by the error of a Read or Connect; -1 when
// it ended without a close frame.
func CloseCode(err error) websocket.StatusCode { return websocket.CloseStatus(err) }
