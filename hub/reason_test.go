package hub

import (
	"bytes"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/coder/websocket"
)

// notes is a log that is read while it is written.
type notes struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (n *notes) Write(line []byte) (int, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.text.Write(line)
}

// take is what was written since the last time.
func (n *notes) take() string {
	n.mu.Lock()
	defer n.mu.Unlock()
	defer n.text.Reset()
	return n.text.String()
}

// The log has a line for each connection's end, with why and how long.
func TestEndsAreTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log notes
		v := newPipeVenue(t, Config{Logger: slog.New(slog.NewTextHandler(&log, nil))}, ServeOptions{})
		for _, tt := range []struct {
			end  func(*guest)
			want string
		}{
			{func(g *guest) { _ = g.ws.CloseNow() }, `by=nobody code=0 reason="the connection broke" after=0s`},
			{func(g *guest) { _ = g.ws.Close(websocket.StatusNormalClosure, "") }, `by=client code=1000 reason=bye after=0s`},
			{func(g *guest) { _ = g.ws.Close(websocket.StatusNoStatusRcvd, "") }, `by=client code=1005 reason=bye after=0s`},
			{func(g *guest) { <-time.After(2 * time.Minute) }, `by=nobody code=0 reason="given up: no sign of life, or nothing taken of what it was sent" after=`},
			{func(g *guest) { _ = g.ws.Write(t.Context(), websocket.MessageBinary, nil); g.closed() }, `by=server code=1003 reason="send text messages, not binary ones" after=0s`},
		} {
			g := v.connect()
			log.take()
			tt.end(g)
			synctest.Wait()
			if got := log.take(); strings.Count(got, "\n") != 1 || !strings.Contains(got, `msg="connection ended" id=`) || !strings.Contains(got, tt.want) {
				t.Errorf("want %s, got\n%s", tt.want, got)
			}
		}
	})
}
