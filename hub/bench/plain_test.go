//go:build linux

package bench

import (
	"context"
	"encoding/json"
	"net/http"
	"strconv"
	"time"

	"github.com/coder/websocket"
	"github.com/go-chi/chi/v5"
)

// The plain server is a room chat as one would write it at once on coder/websocket:
// a hub goroutine with a map of rooms, two goroutines and a channel for each
// connection, encoding/json, one Write for each delivery.

type (
	plainUser struct {
		ID   string `json:"id"`
		Name string `json:"name"`
		Room string `json:"room"`
	}
	plainEnvelope struct {
		Event string          `json:"event"`
		AckID *int            `json:"ackId,omitempty"`
		Data  json.RawMessage `json:"data"`
	}
	plainClient struct {
		user plainUser
		out  chan []byte
		gone context.CancelFunc
	}
	plainEvent struct {
		from     *plainClient
		envelope *plainEnvelope // nil: it has left
	}
)

const (
	plainQueue   = 256              // messages that may wait for a client; one more disconnects it
	plainList    = 100              // users that a room may have for all to get the whole list
	plainTimeout = 10 * time.Second // for a Write, as the library's own example has it
)

func runPlain(addr string) {
	events := make(chan plainEvent, 256)
	go plainHub(events)
	router := chi.NewRouter()
	router.Get("/ws", func(w http.ResponseWriter, r *http.Request) {
		ws, err := websocket.Accept(w, r, nil)
		if err != nil {
			return
		}
		defer ws.CloseNow()
		ctx, cancel := context.WithCancel(r.Context())
		defer cancel()
		c := &plainClient{out: make(chan []byte, plainQueue), gone: cancel}
		go c.write(ctx, ws)
		for {
			_, text, err := ws.Read(ctx)
			var envelope plainEnvelope
			if err != nil || json.Unmarshal(text, &envelope) != nil {
				events <- plainEvent{from: c}
				return
			}
			events <- plainEvent{c, &envelope}
		}
	})
	must(http.ListenAndServe(addr, router))
}

func (c *plainClient) write(ctx context.Context, ws *websocket.Conn) {
	for {
		select {
		case text := <-c.out:
			timed, cancel := context.WithTimeout(ctx, plainTimeout)
			err := ws.Write(timed, websocket.MessageText, text)
			cancel()
			if err != nil {
				c.gone()
				return
			}
		case <-ctx.Done():
			return
		}
	}
}

func (c *plainClient) send(text []byte) {
	select {
	case c.out <- text:
	default:
		c.gone()
	}
}

func plainHub(events <-chan plainEvent) {
	rooms := make(map[string]map[*plainClient]bool)
	broadcast := func(room string, text []byte, except *plainClient) {
		for c := range rooms[room] {
			if c != except {
				c.send(text)
			}
		}
	}
	users := func(room string) {
		if len(rooms[room]) > plainList {
			return
		}
		list := make([]plainUser, 0, len(rooms[room]))
		for c := range rooms[room] {
			list = append(list, c.user)
		}
		broadcast(room, plainText("users", nil, list), nil)
	}
	last := 0
	for ev := range events {
		c := ev.from
		switch {
		case ev.envelope == nil:
			delete(rooms[c.user.Room], c)
			users(c.user.Room)
		case ev.envelope.Event == "login":
			if json.Unmarshal(ev.envelope.Data, &c.user) != nil {
				continue
			}
			last++
			c.user.ID = strconv.Itoa(last)
			room := c.user.Room
			if rooms[room] == nil {
				rooms[room] = make(map[*plainClient]bool)
			}
			rooms[room][c] = true
			if len(rooms[room]) <= plainList {
				broadcast(room, plainText("notification", nil, map[string]string{"title": "Somebody is here", "description": c.user.Name + " entered the room"}), c)
			}
			c.send(plainText("ack", ev.envelope.AckID, map[string]plainUser{"user": c.user}))
			users(room)
		case ev.envelope.Event == "roomMessage":
			var text string
			if json.Unmarshal(ev.envelope.Data, &text) != nil {
				continue
			}
			type message struct {
				Message string    `json:"message"`
				From    string    `json:"from"`
				At      time.Time `json:"at"`
			}
			broadcast(c.user.Room, plainText("roomMessage", nil, message{text, c.user.Name, time.Now()}), nil)
			if ev.envelope.AckID != nil {
				c.send(plainText("ack", ev.envelope.AckID, struct{}{}))
			}
		}
	}
}

func plainText(event string, ackID *int, data any) []byte {
	raw, err := json.Marshal(data)
	must(err)
	text, err := json.Marshal(plainEnvelope{event, ackID, raw})
	must(err)
	return text
}
