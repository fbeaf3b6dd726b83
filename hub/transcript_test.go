package hub

import (
	"bufio"
	"context"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"parley/protocol"
	"parley/store"
)

var update = flag.Bool("update", false, "write the transcripts anew from what the hub does")

// start is when every transcript begins.
var start = time.Date(2026, 11, 23, 19, 0, 0, 0, time.UTC)

// TestTranscripts plays the scripts in testdata and compares the whole
// conversation with the file: lines of the script, and below each what it made
// the hub send, to whom.
//
//	set users-limit 3     a setting, at the top
//	+ ann                 somebody connects
//	ann > {…}             sends a frame
//	ann < {…}             is sent one
//	ann x 4501 …          is closed with a code
//	- ann                 ends the connection with a close frame of its own
//	! ann                 the connection breaks
//	? ann                 gives a sign of life
//	@ 100ms               time goes by
//	drain                 the server is about to end
//	trimmed lobby 17      the log tells that it has dropped the room's messages up to there
func TestTranscripts(t *testing.T) {
	files, err := filepath.Glob("testdata/transcripts/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatal("no transcripts", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			want, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			got := play(t, string(want), newStage)
			if *update {
				if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			compare(t, string(want), got)
		})
	}
}

func compare(t *testing.T, want, got string) {
	t.Helper()
	w, g := strings.Split(want, "\n"), strings.Split(got, "\n")
	for i := range max(len(w), len(g)) {
		var a, b string
		if i < len(w) {
			a = w[i]
		}
		if i < len(g) {
			b = g[i]
		}
		if a != b {
			t.Fatalf("line %d\nwant %s\ngot  %s", i+1, a, b)
		}
	}
}

// stage is a hub without goroutines, and the people who talk to it.
type stage struct {
	h       *Hub
	clients map[string]*client
	names   []string // of clients, in order of appearance
	ids     int
	shared  *sharedStage // nil: the hub is the only one
}

func newStage(cfg Config) *stage {
	memory := store.NewMemory(store.Options{History: cfg.History, Now: func() time.Time { return start }})
	cfg.Log, cfg.Directory = memory, memory
	return stageOf(cfg)
}

func stageOf(cfg Config) *stage {
	if cfg.Grace == 0 {
		cfg.Grace = DefaultGrace
	}
	s := &stage{h: New(cfg), clients: make(map[string]*client)}
	s.h.now = start
	s.h.newID = func() string { s.ids++; return fmt.Sprintf("id%d", s.ids) }
	return s
}

// do lets the hub take one event, and everything that follows from it at once.
func (s *stage) do(ev event) {
	if ev != nil {
		s.h.step(ev)
	}
	s.h.advance()
	s.h.flush()
	s.read()
	if s.shared != nil {
		s.shared.settle(s)
	}
}

// read does what the log readers are asked for.
func (s *stage) read() {
	for len(s.h.readers.asked) > 0 {
		p := <-s.h.readers.asked
		p.read(context.Background(), s.h.log)
		s.h.step(paged{p})
		s.h.flush()
	}
}

// pass lets time go by, deadline by deadline.
func (s *stage) pass(d time.Duration) {
	end := s.h.now.Add(d)
	for next := s.h.nextDeadline(); !next.After(end); next = s.h.nextDeadline() {
		if next.After(s.h.now) {
			s.h.now = next
		}
		s.do(nil)
	}
	s.h.now = end
	s.do(nil)
}

func (s *stage) connect(name string) *client {
	c := &client{id: s.h.newID(), out: &paper{}}
	if _, known := s.clients[name]; !known {
		s.names = append(s.names, name)
	}
	s.clients[name] = c
	s.do(connected{c})
	return c
}

// collect takes what everybody was sent since the last time.
func (s *stage) collect(out *strings.Builder) {
	for _, name := range s.names {
		p := s.clients[name].out.(*paper)
		for _, line := range p.lines {
			fmt.Fprintf(out, "%s %s\n", name, line)
		}
		p.lines = nil
	}
}

func play(t *testing.T, script string, open func(Config) *stage) string {
	t.Helper()
	var cfg Config
	var s *stage
	var out strings.Builder
	lines := bufio.NewScanner(strings.NewReader(script))
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		line := lines.Text()
		words := strings.SplitN(line, " ", 3)
		if len(words) == 3 && (words[1] == "<" || words[1] == "x") || len(words) == 2 && words[1] == "abort" {
			continue // what the hub did when the file was written
		}
		fmt.Fprintln(&out, line)
		if line == "" || line[0] == '#' {
			continue
		}
		if words[0] == "set" {
			set(t, &cfg, words[1], words[2])
			continue
		}
		if s == nil {
			s = open(cfg)
			defer s.h.writers.close()
		}
		s.act(t, line, words)
		s.collect(&out)
	}
	return strings.ReplaceAll(out.String(), s.h.log.Epoch(), "EPOCH")
}

func (s *stage) act(t *testing.T, line string, words []string) {
	t.Helper()
	switch {
	case words[0] == "+":
		s.connect(words[1])
	case words[0] == "-" || words[0] == "!":
		s.do(disconnected{c: s.clients[words[1]], goodbye: words[0] == "-"})
	case words[0] == "?":
		s.clients[words[1]].out.(*paper).alive = true
	case words[0] == "@":
		d, err := time.ParseDuration(words[1])
		if err != nil {
			t.Fatal(err)
		}
		s.pass(d)
	case words[0] == "drain":
		s.do(drainRequested{})
	case words[0] == "trimmed":
		var through int64
		if _, err := fmt.Sscan(words[2], &through); err != nil {
			t.Fatal(err)
		}
		s.do(reported{store.Report{Trimmed: []store.Trim{{Room: words[1], Through: through}}}})
	case len(words) == 3 && words[1] == ">":
		ev, err := s.h.decode(s.clients[words[0]], []byte(words[2]))
		if err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		s.do(ev)
	default:
		t.Fatalf("what is this? %s", line)
	}
}

func set(t *testing.T, cfg *Config, name, value string) {
	t.Helper()
	n := 0
	if d, err := time.ParseDuration(value); err == nil && strings.Trim(value, "0123456789") != "" {
		switch name {
		case "grace":
			cfg.Grace = d
		case "login-timeout":
			cfg.LoginTimeout = d
		case "ping-interval":
			cfg.PingInterval = d
		default:
			t.Fatalf("no setting %s", name)
		}
		return
	}
	if _, err := fmt.Sscan(value, &n); err != nil {
		t.Fatal(err)
	}
	switch name {
	case "users-limit":
		cfg.UsersLimit = n
	case "room-limit":
		cfg.RoomLimit = n
	case "history":
		cfg.History = n
	case "message-limit":
		cfg.MessageLimit = n
	case "drain-rate":
		cfg.DrainRate = float64(n)
	default:
		t.Fatalf("no setting %s", name)
	}
}

// paper is a sender that writes down what it is given.
type paper struct {
	lines  []string
	alive  bool
	closed bool
	full   bool // nothing more fits

	waiting int    // what size tells
	dropped func() // called by closeNow
}

func (p *paper) push(frames []byte) bool {
	if p.full {
		return false
	}
	for len(frames) > 0 && !p.closed {
		header, size := frameSize(frames)
		if frames[0] == pingFrame[0] {
			p.lines = append(p.lines, "< ping")
		} else {
			p.lines = append(p.lines, "< "+string(frames[header:size]))
		}
		frames = frames[size:]
	}
	return true
}

func (p *paper) replace(_ slotKind, _ string, frame []byte) bool { return p.push(frame) }

func (p *paper) mergePresence(_ *protocol.Presence, frame []byte) bool { return p.push(frame) }

func (p *paper) closeWith(code protocol.CloseCode, reason string) {
	if !p.closed {
		p.lines = append(p.lines, fmt.Sprintf("x %d %s", code, reason))
	}
	p.closed = true
}

func (p *paper) closeNow(code protocol.CloseCode, reason string) {
	if p.dropped != nil {
		p.dropped()
	}
	p.closeWith(code, reason)
}

func (p *paper) abort() {
	if !p.closed {
		p.lines = append(p.lines, "abort")
	}
	p.closed = true
}

func (p *paper) size() int { return p.waiting }

func (p *paper) heard() bool {
	alive := p.alive
	p.alive = false
	return alive
}
