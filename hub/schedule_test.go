package hub

import (
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"runtime/debug"
	"strings"
	"testing"
	"time"

	"parley/protocol"
)

var (
	schedules = flag.Int("schedules", 2000, "how many random schedules to play")
	firstSeed = flag.Uint64("seed", 1, "the seed of the first of them")
)

// TestSchedules plays random schedules of what clients, the log and time can do
// to a hub, and holds all that it says against the model. A schedule that goes
// wrong is cut down to what is needed for that, and printed.
func TestSchedules(t *testing.T) {
	for seed := *firstSeed; seed < *firstSeed+uint64(*schedules); seed++ {
		s := newSchedule(seed)
		if wrong := s.play(nil); wrong != "" {
			s.shrink()
			var script strings.Builder
			t.Fatalf("seed %d: %s\nshrunk to %+v: %s\n%s", seed, wrong, s.setting, s.play(&script), script.String())
		}
	}
}

// schedule is a list of steps, each of which means something whatever came before:
// so any of them can be left out.
type schedule struct {
	setting setting
	steps   []step
}

type setting struct {
	Quick                         bool
	Recent, UsersLimit, RoomLimit int
	LoginTimeout                  time.Duration
	Names                         int // different users at most
	Fault                         int // one group of so many fails
	Padding                       int // how often padding is in each message
}

// padding is a byte of a message that is as long in JSON as can be.
const padding = `\u0001`

// step is one event. What a to d mean depends on the kind.
type step struct {
	kind       kind
	a, b, c, d int
	flush      bool // it ends what the hub does at one go
}

type kind uint8

const (
	connects kind = iota
	logsIn
	sends
	types
	listsUsers
	pages
	pings
	logsOut
	errs
	ends
	clogs
	falls
	commits
	loads
	reports
	reads
	delivers
	trims
	breaks
	evicts
	passes
	drains
	kinds
)

var kindNames = [kinds]string{"connects", "logs in", "sends", "types", "lists users", "asks for history", "pings", "logs out", "errs",
	"ends", "takes no more", "falls silent", "commit", "load", "report", "read", "deliver", "trim", "break", "evict", "pass", "drain"}

// weights is how often each kind comes, in a schedule that favours none.
var weights = [kinds]int{connects: 10, logsIn: 20, sends: 30, types: 2, listsUsers: 3, pages: 5, pings: 1, logsOut: 4, errs: 2, ends: 7,
	clogs: 1, falls: 1, commits: 16, loads: 9, reports: 16, reads: 8, delivers: 8, trims: 3, breaks: 2, evicts: 3, passes: 6, drains: 0}

func newSchedule(seed uint64) *schedule {
	rng := rand.New(rand.NewPCG(seed, 0))
	s := &schedule{setting: setting{
		Quick:        rng.IntN(4) == 0,
		Recent:       []int{1, 3, 1000}[rng.IntN(3)],
		UsersLimit:   []int{100, 100, 2, 3}[rng.IntN(4)],
		RoomLimit:    []int{1000, 1000, 2, 3}[rng.IntN(4)],
		LoginTimeout: []time.Duration{5 * time.Minute, 40 * time.Second}[rng.IntN(2)],
		Names:        []int{len(modelNames), len(modelNames), 2, 1}[rng.IntN(4)],
		Fault:        []int{4, 12, 100}[rng.IntN(3)],
	}}
	if rng.IntN(50) == 0 {
		s.setting.Padding = 25000
	}
	favoured, total := weights, 0
	for k := range favoured {
		favoured[k] *= []int{0, 1, 2, 2, 3}[rng.IntN(5)]
	}
	for _, k := range []kind{connects, logsIn, sends, commits, loads, reports, reads, delivers} {
		favoured[k] = max(favoured[k], weights[k])
	}
	if rng.IntN(8) == 0 {
		favoured[drains] = 2
	}
	for _, w := range favoured {
		total += w
	}
	slots := []int{len(playing{}.slots), 4, 3}[rng.IntN(3)]
	for range 40 + rng.IntN(360) {
		n, k := rng.IntN(total), kind(0)
		for n >= favoured[k] {
			n -= favoured[k]
			k++
		}
		s.steps = append(s.steps, step{k, rng.IntN(slots), rng.IntN(1000), rng.IntN(1000), rng.IntN(1000), rng.IntN(3) > 0})
	}
	return s
}

// shrink leaves out what is not needed for the schedule to go wrong.
func (s *schedule) shrink() {
	s.steps = shrink(s.steps, func(less []step) bool { return (&schedule{s.setting, less}).play(nil) != "" })
}

// shrink leaves out steps that are not needed for them to go wrong: stretches
// first, of half the length each time.
func shrink(steps []step, wrong func([]step) bool) []step {
	for size := len(steps); size > 0; size /= 2 {
		for from := 0; from+size <= len(steps); {
			less := append(append([]step(nil), steps[:from]...), steps[from+size:]...)
			if wrong(less) {
				steps = less
			} else {
				from++
			}
		}
	}
	return steps
}

// play runs the schedule from the start to when everybody has left, and tells
// what is wrong, if anything is.
func (s *schedule) play(script *strings.Builder) (wrong string) {
	p := newPlay(s.setting, script)
	defer p.m.h.writers.close()
	defer func() {
		if crash := recover(); crash != nil {
			wrong = fmt.Sprintf("panic: %v\n%s", crash, debug.Stack())
		}
	}()
	for _, st := range s.steps {
		p.act(st)
		if p.m.wrong != "" {
			return p.m.wrong
		}
	}
	p.finish()
	return p.m.wrong
}

// playing is a schedule that is being played.
type playing struct {
	m       *model
	setting setting
	slots   [6]*talker
	script  *strings.Builder
}

func newPlay(set setting, script *strings.Builder) *playing {
	log := newSlowLog(set.Quick, set.Recent)
	h := New(Config{
		Log: log, Directory: log, Grace: 10 * time.Second, MessageLimit: MaxMessageLimit,
		UsersLimit: set.UsersLimit, RoomLimit: set.RoomLimit, LoginTimeout: set.LoginTimeout,
	})
	h.now = start
	m := &model{h: h, log: log, rooms: make(map[string]*modelRoom), ids: make(map[string]bool), cursors: make(map[string]int64), texts: make(map[string]*talker)}
	ids := 0
	h.newID = func() string { ids++; return fmt.Sprint("id", ids) }
	p := &playing{m: m, setting: set, script: script}
	log.appended = m.came
	return p
}

func (p *playing) note(format string, args ...any) {
	if p.script != nil {
		fmt.Fprintf(p.script, "%8s  ", p.m.h.now.Sub(start))
		fmt.Fprintf(p.script, format, args...)
		p.script.WriteByte('\n')
	}
}

// flush ends what the hub does at one go.
func (p *playing) flush() {
	h := p.m.h
	h.advance()
	h.flush()
	for len(h.readers.asked) > 0 {
		p.m.pages = append(p.m.pages, <-h.readers.asked)
	}
}

// pass lets time go by, deadline by deadline.
func (p *playing) pass(d time.Duration) {
	h := p.m.h
	end := h.now.Add(d)
	p.flush()
	for next := h.nextDeadline(); !next.After(end); next = h.nextDeadline() {
		if next.After(h.now) {
			h.now = next
		}
		p.flush()
	}
	h.now = end
	p.flush()
}

// rest lets everything that is under way come to its end.
func (p *playing) rest() {
	m := p.m
	m.log.busy, m.log.badReads, m.log.badLoads = 0, 0, 0
	for p.flush(); len(m.pages)+len(m.log.calls)+len(m.log.reports)+len(m.log.loading) > 0; p.flush() {
		m.log.group(len(m.log.calls), groupStored)
		for len(m.log.reports) > 0 {
			m.h.step(reported{m.log.report()})
		}
		for len(m.log.loading) > 0 {
			p.load()
		}
		for len(m.pages) > 0 {
			p.read(0)
			p.deliver(0)
		}
		m.settle(nil)
	}
}

// read has a log reader do its work, deliver has the hub hear of it.
func (p *playing) read(i int) {
	g := &p.m.pages[i%len(p.m.pages)]
	if g.messages == nil && g.err == nil {
		g.read(context.Background(), p.m.log)
	}
}

func (p *playing) deliver(i int) {
	m := p.m
	i %= len(m.pages)
	p.read(i)
	g := m.pages[i]
	m.h.step(paged{g}) // among m.pages still: a login that is read for holds its room, so its lock stays meanwhile
	m.pages = append(m.pages[:i], m.pages[i+1:]...)
}

func (p *playing) load() {
	m := p.m
	m.h.step(reported{m.claim()})
}

// finish is the end of every schedule: all comes to rest, and then everybody goes.
func (p *playing) finish() {
	m := p.m
	p.note("all comes to rest")
	p.rest()
	p.pass(2 * time.Second)
	p.rest()
	for range 20 { // who went at this very moment is announced a little later
		if !m.announcing() {
			break
		}
		p.pass(usersEvery)
		p.rest()
	}
	p.check()
	m.checkRest()
	p.note("everybody goes")
	for i := range p.slots {
		p.act(step{kind: ends, a: i})
	}
	p.rest()
	p.pass(m.h.cfg.Grace + keepIdle + time.Second)
	p.rest()
	m.checkEmpty()
}

var (
	modelRooms    = []string{"lobby", "hall"}
	modelNames    = []string{"Ann", "Bob", "Cy", "ANN"}
	modelAccess   = []string{"", "", "", "access-key-number-one", "access-key-number-two"}
	modelSessions = []string{"-session-number-1", "-session-number-1", "-session-number-1", "-session-number-2", ""}
	errorFrames   = []struct {
		event, data string
		want        protocol.Code
	}{{"nonsense", "1", "unknown_event"}, {"login", "{}", "invalid"}, {"roomMessage", `""`, "invalid"}, {"users", `{"limit":0}`, "invalid"}}
)
