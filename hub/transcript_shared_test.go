package hub

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"parley/store"
	"parley/store/natstest"
)

// sharedStage is what a stage on JetStream has besides.
type sharedStage struct {
	*store.JetStream
	reports chan store.Report
	going   map[string]struct{} // ids of those who are to be taken out
}

// Expire, Leave and Kick are noted: nothing but the change itself tells that they are done. (Away changes nothing that
// anybody is sent, and what comes after it for the same name is done after it.)
func (s *sharedStage) Expire(room, nick, id string) {
	s.going[id] = struct{}{}
	s.JetStream.Expire(room, nick, id)
}

func (s *sharedStage) Leave(room, nick, id string) {
	s.going[id] = struct{}{}
	s.JetStream.Leave(room, nick, id)
}

func (s *sharedStage) Kick(room, nick, id, reason string) {
	s.going[id] = struct{}{}
	s.JetStream.Kick(room, nick, id, reason)
}

// settle takes what the driver reports until it has answered everything.
func (s *sharedStage) settle(on *stage) {
	h := on.h
	for {
		for id := range s.going {
			if h.members[id] == nil {
				delete(s.going, id)
			}
		}
		if len(h.pending)+len(h.opening)+len(h.entering)+len(h.leaving)+len(h.removals)+len(s.going) == 0 {
			return
		}
		h.step(reported{<-s.reports})
		h.flush()
		on.read()
	}
}

func newSharedStage(t *testing.T, url, prefix string, cfg Config) *stage {
	t.Helper()
	now := func() time.Time { return start }
	j, err := store.OpenJetStream(t.Context(), store.JetStreamOptions{
		Options: store.Options{History: cfg.History, Now: now}, URL: url, Prefix: prefix, Lease: time.Hour, Grace: DefaultGrace,
	})
	if err != nil {
		t.Fatal(err)
	}
	s := &sharedStage{JetStream: j, reports: make(chan store.Report, 1024), going: make(map[string]struct{})}
	j.Start(func(r store.Report) { s.reports <- r })
	t.Cleanup(func() { j.Close() })
	cfg.Log, cfg.Shared = j, s
	on := stageOf(cfg)
	on.shared = s
	return on
}

// Two scripts cannot be played here.
var notShared = map[string]string{
	"drain": "in a cluster each connection is closed at its own turn, drawn by lot (section 7); see TestRoll in hub/cluster",
	"gaps":  "it asks for a seq from before the log began, and a stream begins with 1; it has the log drop messages, and a stream does so for their age only; see the drivers' conformance suite",
}

// TestTranscriptsOverJetStream plays the same scripts with a hub that is one of several. It says the same to
// everybody, but for the numbers: seqs count from 1 here, and an identifier is made up for each login, whether it is
// somebody new or not.
func TestTranscriptsOverJetStream(t *testing.T) {
	files, err := filepath.Glob("testdata/transcripts/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatal("no transcripts", err)
	}
	url := natstest.Server(t, t.TempDir())
	for _, file := range files {
		name := strings.TrimSuffix(filepath.Base(file), ".txt")
		if notShared[name] != "" {
			continue
		}
		t.Run(name, func(t *testing.T) {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			want := countFromOne(string(text))
			got := play(t, want, func(cfg Config) *stage { return newSharedStage(t, url, name, cfg) })
			compare(t, sameIDs(want), sameIDs(got))
		})
	}
}

// enterWhenOpened begins a login into a room that has to be opened first.
func (s *stage) enterWhenOpened(t *testing.T) *client {
	t.Helper()
	c := s.connect("ann")
	s.send(t, c, loginAnn)
	return c
}

const (
	loginAnn  = `{"event":"login","data":{"name":"Ann","room":"lobby","session":"ann-session-0001","since":0},"ackId":1}`
	logoutAnn = `{"event":"logout","ackId":2}`
)

// send has the hub take a frame, and nothing of what the directory and the log readers do about it.
func (s *stage) send(t *testing.T, c *client, frame string) {
	t.Helper()
	ev, err := s.h.decode(c, []byte(frame))
	if err != nil {
		t.Fatal(err)
	}
	s.h.step(ev)
}

// A login that waits for its room when its connection ends is not carried out afterwards: its user may be elsewhere.
func TestConnectionEndsBeforeRoomOpens(t *testing.T) {
	s := newSharedStage(t, natstest.Server(t, t.TempDir()), "parley", Config{})
	defer s.h.writers.close()
	c := s.enterWhenOpened(t)
	s.do(disconnected{c: c})
	if len(s.h.members) != 0 || len(s.h.clients) != 0 || len(s.h.rooms) != 0 {
		t.Errorf("%d members, %d connections, %d rooms", len(s.h.members), len(s.h.clients), len(s.h.rooms))
	}
}

// A room that was asked for when all was lost is held like any other once it comes.
func TestLostWhileRoomOpens(t *testing.T) {
	s := newSharedStage(t, natstest.Server(t, t.TempDir()), "parley", Config{})
	defer s.h.writers.close()
	c := s.enterWhenOpened(t)
	s.do(reported{store.Report{Lost: true}})
	if r := s.h.rooms["lobby"]; r == nil || r.count != 1 || c.member == nil {
		t.Errorf("the room is %+v, Ann is %+v", r, c.member)
	}
}

// unheard is a directory that answers no Enter: the test does.
type unheard struct{ *sharedStage }

func (unheard) Enter(store.Ref, store.Entry) error { return nil }

// Somebody new comes in by a login here, and is on another node by the time that this is answered: those who are here
// are told of the list all the same.
func TestNewcomerGoesOnAtOnce(t *testing.T) {
	s := newSharedStage(t, natstest.Server(t, t.TempDir()), "parley", Config{})
	defer s.h.writers.close()
	login := func(name string) *client {
		c := s.connect(name)
		ev, err := s.h.decode(c, []byte(`{"event":"login","data":{"name":"`+name+`","room":"lobby","session":"a session of theirs"},"ackId":1}`))
		if err != nil {
			t.Fatal(err)
		}
		s.h.step(ev)
		return c
	}
	ann := login("Ann")
	s.do(nil)
	s.pass(time.Second)
	ann.out.(*paper).lines = nil
	s.h.shared = unheard{s.shared}
	login("Bob")
	bob := store.Member{User: store.User{ID: "bob", Name: "Bob", Nick: "bob", Room: "lobby", Arrival: 1 << 40}, Here: true, Ref: s.h.lastRef}
	gone := bob
	gone.Here, gone.Ref = false, 0
	s.h.step(reported{store.Report{
		Changes: []store.Change{{Kind: store.Arrived, Member: bob}, {Kind: store.Moved, Member: gone}},
		Entered: []store.Entered{{Ref: s.h.lastRef, ID: "bob"}},
	}})
	s.pass(time.Second)
	if told := strings.Join(ann.out.(*paper).lines, "\n"); !strings.Contains(told, `"event":"users"`) {
		t.Errorf("Ann is told\n%s", told)
	}
}

// countFromOne makes the memory log's seqs those of a stream.
func countFromOne(text string) string {
	first := fmt.Sprint(start.UnixMicro())
	seqs := regexp.MustCompile(first[:10] + `0*([1-9]\d*|0)\b`)
	return strings.ReplaceAll(seqs.ReplaceAllString(text, "$1"), `"durability":"memory"`, `"durability":"disk"`)
}

// sameIDs numbers identifiers in the order in which they are first seen.
func sameIDs(text string) string {
	names := make(map[string]string)
	return regexp.MustCompile(`\bid\d+`).ReplaceAllStringFunc(text, func(id string) string {
		if names[id] == "" {
			names[id] = fmt.Sprint("id", len(names)+1)
		}
		return names[id]
	})
}

// Who leaves while another connection takes the user over leaves first: what the directory does last must not fall on
// the newcomer, and each is answered.
func TestLeavingDuringTakeOver(t *testing.T) {
	url := natstest.Server(t, t.TempDir())
	for name, leave := range map[string]func(*testing.T, *stage, *client){
		"logout":  func(t *testing.T, s *stage, c *client) { s.send(t, c, logoutAnn) },
		"goodbye": func(_ *testing.T, s *stage, c *client) { s.h.step(disconnected{c: c, goodbye: true}) },
	} {
		t.Run(name, func(t *testing.T) {
			s := newSharedStage(t, url, name, Config{})
			defer s.h.writers.close()
			old := s.enterWhenOpened(t)
			s.do(nil)
			c := s.connect("again")
			s.send(t, c, loginAnn)
			leave(t, s, old)
			s.do(nil)
			s.wantFresh(t, old, c)
			s.send(t, c, logoutAnn)
			s.do(nil)
			if c.entering || len(s.h.members) != 0 {
				t.Errorf("the logout was not carried out, %d members", len(s.h.members))
			}
		})
	}
}

// The same while the log is read for the newcomer: the user that was taken over is no more when that is done.
func TestLeavingWhileLoginReads(t *testing.T) {
	s := newSharedStage(t, natstest.Server(t, t.TempDir()), "parley", Config{})
	defer s.h.writers.close()
	old := s.enterWhenOpened(t)
	s.do(nil)
	s.send(t, old, `{"event":"roomMessage","data":"hello"}`)
	s.do(nil)
	r := s.h.rooms["lobby"]
	s.h.windows.remove(r)
	r.window = window{seq: r.window.seq, from: r.window.seq} // the message is in the log only
	c := s.connect("again")
	s.send(t, c, loginAnn)
	for len(s.h.readers.asked) == 0 {
		s.h.step(reported{<-s.shared.reports})
	}
	s.send(t, old, logoutAnn)
	for len(s.h.members) > 0 {
		s.h.step(reported{<-s.shared.reports})
	}
	s.do(nil)
	s.wantFresh(t, old, c)
}

// A connection that breaks while another takes its user over does not leave it behind as away: its name could be taken.
func TestConnectionBreaksDuringTakeOver(t *testing.T) {
	s := newSharedStage(t, natstest.Server(t, t.TempDir()), "parley", Config{})
	defer s.h.writers.close()
	old := s.enterWhenOpened(t)
	s.do(nil)
	c := s.connect("again")
	s.send(t, c, loginAnn)
	var last store.Report
	for len(last.Entered) == 0 { // it is on its way to the hub when the connection breaks
		last = <-s.shared.reports
	}
	s.h.step(disconnected{c: old})
	s.h.step(reported{last})
	s.do(nil)
	other := s.connect("other")
	s.send(t, other, `{"event":"login","data":{"name":"Ann","room":"lobby"},"ackId":1}`)
	s.do(nil)
	if c.member == nil || c.ended || other.member != nil {
		t.Errorf("Ann is %+v, the other %+v", c.member, other.member)
	}
}

// wantFresh looks whether c has come in as somebody new, and old has been answered.
func (s *stage) wantFresh(t *testing.T, old, c *client) {
	t.Helper()
	m := c.member
	if c.ended || m == nil || s.h.members[m.ID] != m || m.client != c {
		t.Errorf("the newcomer is %+v, ended %v; %v", m, c.ended, c.out.(*paper).lines)
	}
	if old.entering || old.member != nil || len(s.h.members) != 1 {
		t.Errorf("the old one waits %v, is %+v; %d members", old.entering, old.member, len(s.h.members))
	}
}
