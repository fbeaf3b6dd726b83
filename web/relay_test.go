package web_test

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"sync"
	"testing"

	"github.com/coder/websocket"

	"parley/hub/hubtest"
)

// frame is an envelope on its way through a relay; Data is decoded, so that it can be forged.
type frame struct {
	Event string `json:"event"`
	Data  any    `json:"data,omitempty"`
	AckID *int64 `json:"ackId,omitempty"`
}

// message is the payload of a roomMessage, or of one within an answer.
type message = map[string]any

// messages are those that an answer to a login or to history carries.
func (f frame) messages() []any {
	answer, _ := f.Data.(map[string]any)
	list, _ := answer["messages"].([]any)
	return list
}

// relay is a malicious server: it serves the real one's page and stands between the page and the
// real server's /ws, where it does with frames what it likes.
type relay struct {
	t   *testing.T
	url string

	mu       sync.Mutex
	toClient func(frame) []frame // what becomes of a frame; nil passes all
	refuse   string              // the error code that answers messages in the server's place
	sent     []string            // what pages sent, as it was on the wire
	got      []string            // what pages were sent
	away     bool                // /ws answers nobody
	lost     string              // the path of a file that is not served
	open     map[*websocket.Conn]bool
}

func newRelay(t *testing.T, server *hubtest.Server) *relay {
	t.Helper()
	target, err := url.Parse(server.URL())
	if err != nil {
		t.Fatal(err)
	}
	r := &relay{t: t, open: make(map[*websocket.Conn]bool)}
	files := httputil.NewSingleHostReverseProxy(target)
	mux := http.NewServeMux()
	mux.HandleFunc("/ws", func(w http.ResponseWriter, request *http.Request) { r.serve(w, request, server.WS()) })
	mux.HandleFunc("/", func(w http.ResponseWriter, request *http.Request) {
		r.mu.Lock()
		lost := r.lost == request.URL.Path
		r.mu.Unlock()
		if lost {
			http.Error(w, "lost", http.StatusBadGateway)
			return
		}
		files.ServeHTTP(w, request)
	})
	front := httptest.NewServer(mux)
	t.Cleanup(func() {
		r.drop()
		front.Close()
	})
	r.url = front.URL
	return r
}

// tamper sets what becomes of the frames from now on; nil ends it.
func (r *relay) tamper(with func(frame) []frame) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.toClient = with
}

// leave makes /ws answer nobody, or everybody again, and ends what is open.
func (r *relay) leave(away bool) {
	r.mu.Lock()
	r.away = away
	r.mu.Unlock()
	if away {
		r.drop()
	}
}

// lose stops serving the file of that path; "" serves all again.
func (r *relay) lose(path string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.lost = path
}

// drop ends the open connections without a close frame.
func (r *relay) drop() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for conn := range r.open {
		_ = conn.CloseNow()
	}
}

// wire is everything that went over it so far, in either direction.
func (r *relay) wire() (sent, got []string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]string(nil), r.sent...), append([]string(nil), r.got...)
}

func (r *relay) serve(w http.ResponseWriter, request *http.Request, upstream string) {
	r.mu.Lock()
	away := r.away
	r.mu.Unlock()
	if away {
		http.Error(w, "away", http.StatusServiceUnavailable)
		return
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(request.Context()))
	defer cancel()
	client, err := websocket.Accept(w, request, &websocket.AcceptOptions{Subprotocols: []string{"parley.v1"}})
	if err != nil {
		return
	}
	defer client.CloseNow()
	server, _, err := websocket.Dial(ctx, upstream, &websocket.DialOptions{Subprotocols: []string{"parley.v1"}})
	if err != nil {
		return
	}
	defer server.CloseNow()
	client.SetReadLimit(-1)
	server.SetReadLimit(-1)
	r.mu.Lock()
	r.open[client] = true
	r.mu.Unlock()
	defer func() {
		r.mu.Lock()
		delete(r.open, client)
		r.mu.Unlock()
	}()
	var both sync.WaitGroup
	both.Go(func() {
		defer cancel()
		for {
			_, raw, err := client.Read(ctx)
			if err != nil {
				_ = server.Close(websocket.CloseStatus(err), "")
				return
			}
			if answer := r.take(raw); answer != nil {
				if client.Write(ctx, websocket.MessageText, answer) != nil {
					return
				}
				continue
			}
			if server.Write(ctx, websocket.MessageText, raw) != nil {
				return
			}
		}
	})
	both.Go(func() {
		defer cancel()
		for {
			_, raw, err := server.Read(ctx)
			if err != nil {
				_ = client.Close(websocket.CloseStatus(err), "")
				return
			}
			for _, raw := range r.pass(raw) {
				if client.Write(ctx, websocket.MessageText, raw) != nil {
					return
				}
			}
		}
	})
	both.Wait()
}

// take notes what a page sent, and is the answer to it that is given in the server's place, if any.
func (r *relay) take(raw []byte) []byte {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.sent = append(r.sent, string(raw))
	var f frame
	if r.refuse == "" || json.Unmarshal(raw, &f) != nil || f.Event != "roomMessage" {
		return nil
	}
	answer, err := json.Marshal(frame{Event: "ack", AckID: f.AckID, Data: map[string]any{"code": r.refuse, "error": "not today."}})
	if err != nil {
		r.t.Error(err)
	}
	return answer
}

// refusing answers messages with an error from now on; "" ends it.
func (r *relay) refusing(code string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.refuse = code
}

// pass is what the page gets in place of what the server sent.
func (r *relay) pass(raw []byte) [][]byte {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.got = append(r.got, string(raw))
	if r.toClient == nil {
		return [][]byte{raw}
	}
	var f frame
	if err := json.Unmarshal(raw, &f); err != nil {
		r.t.Errorf("the server sent %q: %v", raw, err)
		return nil
	}
	var passed [][]byte
	for _, f := range r.toClient(f) {
		forged, err := json.Marshal(f)
		if err != nil {
			r.t.Errorf("cannot forge %v: %v", f, err)
		}
		passed = append(passed, forged)
	}
	return passed
}

func decode(t *testing.T, raw string) frame {
	t.Helper()
	var f frame
	if err := json.Unmarshal([]byte(raw), &f); err != nil {
		t.Fatal(err)
	}
	return f
}
