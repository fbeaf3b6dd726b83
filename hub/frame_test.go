package hub

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/coder/websocket"

	"parley/protocol"
)

// recorder is a connection that keeps what is written; nobody is at its end.
type recorder struct {
	net.Conn
	wrote bytes.Buffer
}

func (c *recorder) Write(b []byte) (int, error) { return c.wrote.Write(b) }
func (c *recorder) Read([]byte) (int, error)    { return 0, io.EOF }
func (c *recorder) Close() error                { return nil }

// hijackable is a ResponseWriter whose connection is conn.
type hijackable struct {
	*httptest.ResponseRecorder
	conn net.Conn
}

func (w hijackable) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	return w.conn, bufio.NewReadWriter(bufio.NewReader(w.conn), bufio.NewWriter(w.conn)), nil
}

func handshake() *http.Request {
	r := httptest.NewRequest(http.MethodGet, "/ws", nil)
	r.Header.Set("Connection", "Upgrade")
	r.Header.Set("Upgrade", "websocket")
	r.Header.Set("Sec-WebSocket-Version", "13")
	r.Header.Set("Sec-WebSocket-Key", "AAECAwQFBgcICQoLDA0ODw==")
	return r
}

// libraryBytes is what the library by itself puts on the wire when it does what
// say asks.
func libraryBytes(t *testing.T, say func(*websocket.Conn)) []byte {
	t.Helper()
	conn := &recorder{}
	ws, err := websocket.Accept(hijackable{httptest.NewRecorder(), conn}, handshake(), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer ws.CloseNow()
	say(ws)
	return conn.wrote.Bytes()
}

func TestTextFrameIsTheLibrarys(t *testing.T) {
	for _, n := range []int{0, 1, 124, 125, 126, 127, 128, 65534, 65535, 65536, 65537, 1 << 20} {
		payload := bytes.Repeat([]byte("parley"), n/6+1)[:n]
		want := libraryBytes(t, func(ws *websocket.Conn) {
			if err := ws.Write(context.Background(), websocket.MessageText, payload); err != nil {
				t.Error(err)
			}
		})
		got := appendText(nil, payload)
		if !bytes.Equal(got, want) {
			t.Errorf("%d bytes of payload: got %d bytes starting % x, want %d starting % x",
				n, len(got), got[:min(16, len(got))], len(want), want[:min(16, len(want))])
		}
		if header, size := frameSize(got); header != len(got)-n || size != len(got) {
			t.Errorf("frameSize of %d bytes of payload: %d, %d", n, header, size)
		}
	}
}

func TestCloseFrameIsTheLibrarys(t *testing.T) {
	for _, reason := range []string{"", "too slow", strings.Repeat("x", 123)} {
		want := libraryBytes(t, func(ws *websocket.Conn) { _ = ws.Close(websocket.StatusTryAgainLater, reason) })
		if got := closeFrame(protocol.CloseTryLater, reason); !bytes.Equal(got, want) {
			t.Errorf("reason %q: got % x, want % x", reason, got, want)
		}
	}
}

func TestCloseFrameCutsTheReason(t *testing.T) {
	got := closeFrame(protocol.CloseTryLater, strings.Repeat("x", 122)+"é")
	if want := closeFrame(protocol.CloseTryLater, strings.Repeat("x", 122)); !bytes.Equal(got, want) {
		t.Errorf("got % x", got)
	}
}

func TestPingFrame(t *testing.T) {
	// The library's own pings carry a number; the header is what can be compared.
	if got, want := pingFrame, appendHeader(nil, opPing, 0); !bytes.Equal(got, want) {
		t.Errorf("got % x, want % x", got, want)
	}
}

func TestFrameEnd(t *testing.T) {
	run := appendText(nil, make([]byte, 10)) // 12 bytes
	run = appendText(run, make([]byte, 200)) // 204
	run = appendText(run, nil)               // 2
	for n, want := range map[int]int{0: 0, 1: 12, 12: 12, 13: 216, 215: 216, 216: 216, 217: 218, 218: 218} {
		if got := frameEnd(run, n); got != want {
			t.Errorf("frameEnd(%d) = %d, want %d", n, got, want)
		}
	}
}
