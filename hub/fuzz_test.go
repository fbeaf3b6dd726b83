package hub

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"parley/protocol"
)

// FuzzHub plays what any number of clients may send, in any order, into a hub with
// its log in memory, and checks after each line that the parts of its state agree
// and that every acknowledgement is asked for and given once. A line is
//
//	+a      a connects (the name is one character)
//	-a      ends its connection with a close frame of its own
//	!a      its connection breaks
//	@a      as many seconds go by as the letter's number in the alphabet
//	a{…}    a sends a frame, whatever it is
func FuzzHub(f *testing.F) {
	files, err := filepath.Glob("testdata/transcripts/*.txt")
	if err != nil || len(files) == 0 {
		f.Fatal("no transcripts", err)
	}
	for _, file := range files {
		script, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(fuzzLines(string(script)))
	}
	f.Fuzz(func(t *testing.T, lines string) {
		s := newStage(Config{UsersLimit: 3, RoomLimit: 4, MessageLimit: 1000, LoginTimeout: time.Minute, History: 10})
		defer s.h.writers.close()
		fuzz := &fuzzing{t: t, stage: s, asked: make(map[*client]map[int64]int)}
		for line := range strings.Lines(lines) {
			if line = strings.TrimSuffix(line, "\n"); len(line) > 1 {
				fuzz.play(line)
			}
		}
		for name := range s.clients {
			fuzz.play("!" + name)
		}
		s.pass(keepIdle + DefaultGrace + time.Second)
		if h := s.h; len(h.clients)+len(h.rooms)+len(h.members)+len(h.pending)+h.windows.bytes > 0 {
			t.Errorf("left over: %d clients, %d rooms, %d members", len(h.clients), len(h.rooms), len(h.members))
		}
	})
}

// fuzzLines makes a transcript's script one of FuzzHub.
func fuzzLines(script string) string {
	var out strings.Builder
	for line := range strings.Lines(script) {
		words := strings.SplitN(strings.TrimSpace(line), " ", 3)
		switch {
		case len(words) == 2 && strings.Contains("+-!", words[0]):
			out.WriteString(words[0] + words[1][:1] + "\n")
		case len(words) == 2 && words[0] == "@":
			out.WriteString("@b\n")
		case len(words) == 3 && words[1] == ">":
			out.WriteString(words[0][:1] + words[2] + "\n")
		}
	}
	return out.String()
}

type fuzzing struct {
	*stage
	t     *testing.T
	asked map[*client]map[int64]int // how often each ackId is to be answered yet
}

func (f *fuzzing) play(line string) {
	name := line[1:2]
	c := f.clients[name]
	switch line[0] {
	case '+':
		if c == nil {
			f.asked[f.connect(name)] = make(map[int64]int)
		}
	case '-', '!':
		if c != nil {
			f.do(disconnected{c: c, goodbye: line[0] == '-'})
			f.forget(name)
		}
	case '@':
		f.pass(time.Duration(name[0]%32) * time.Second)
	default:
		name = line[:1]
		if c = f.clients[name]; c != nil {
			f.send(name, c, line[1:])
		}
	}
	f.check()
}

func (f *fuzzing) send(name string, c *client, frame string) {
	ev, err := f.h.decode(c, []byte(frame))
	if err != nil { // the reader ends the connection
		f.do(disconnected{c: c})
		f.forget(name)
		return
	}
	if ev.ackID != protocol.NoAck {
		f.asked[c][ev.ackID]++
	}
	f.do(ev)
}

func (f *fuzzing) forget(name string) {
	f.check()
	delete(f.clients, name)
}

// check reads what the hub has sent, and looks at its state.
func (f *fuzzing) check() {
	f.t.Helper()
	for _, c := range f.clients {
		p := c.out.(*paper)
		for _, line := range p.lines {
			frame, sent := strings.CutPrefix(line, "< ")
			if !sent || frame == "ping" {
				continue
			}
			var d struct {
				Event string
				AckID int64
			}
			if err := json.NewDecoder(bytes.NewReader([]byte(frame))).Decode(&d); err != nil {
				f.t.Fatalf("%v: %s", err, frame)
			}
			if d.Event == "ack" {
				if f.asked[c][d.AckID]--; f.asked[c][d.AckID] < 0 {
					f.t.Fatalf("not asked for: %s", frame)
				}
			}
		}
		p.lines = nil
		if p.closed {
			continue
		}
		for id, n := range f.asked[c] {
			if n != 0 {
				f.t.Fatalf("%d answers with ackId %d are missing", n, id)
			}
		}
		clear(f.asked[c])
	}
	if err := f.h.invariants(); err != nil {
		f.t.Fatal(err)
	}
}
