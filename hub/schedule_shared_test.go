package hub

import (
	"context"
	"fmt"
	"math/rand/v2"
	"runtime/debug"
	"strings"
	"testing"
	"time"

	"parley/store"
)

// TestSharedSchedules plays random schedules of several hubs that are one chat: of what clients, the servers and time
// can do to them. One that goes wrong is cut down to what is needed for that, and printed.
func TestSharedSchedules(t *testing.T) {
	for seed := *firstSeed; seed < *firstSeed+uint64(*schedules); seed++ {
		set, steps := newSharedSchedule(seed)
		if wrong := playShared(set, steps, nil); wrong != "" {
			steps = shrink(steps, func(less []step) bool { return playShared(set, less, nil) != "" })
			var script strings.Builder
			t.Fatalf("seed %d: %s\nshrunk to %+v: %s\n%s", seed, wrong, set, playShared(set, steps, &script), script.String())
		}
	}
}

type sharedSetting struct {
	Nodes, Recent, UsersLimit, RoomLimit, Names int

	Past  int // messages that there were before
	Grace time.Duration
	Speed int // of nodes: things at one go at most
}

// What steps there are besides those of one hub, of which some are used here too.
const (
	kicksOut = kinds + 1 + iota
	removesRoom
	works
	misses
	loses
	sharedKinds
)

var sharedWeights = [sharedKinds]int{connects: 6, logsIn: 25, sends: 8, types: 1, listsUsers: 1, pages: 2, pings: 1, logsOut: 6, ends: 6, clogs: 1,
	kicksOut: 3, removesRoom: 1, works: 90, misses: 2, loses: 2, reports: 70, delivers: 20, evicts: 3, passes: 3}

var sharedNames = map[kind]string{removesRoom: "a room is removed", misses: "misses", loses: "loses", evicts: "evict", passes: "pass"}

func newSharedSchedule(seed uint64) (set sharedSetting, steps []step) {
	rng := rand.New(rand.NewPCG(seed, 1))
	set = sharedSetting{
		Nodes:      []int{1, 2, 2, 3}[rng.IntN(4)],
		Recent:     []int{1, 2, 1000}[rng.IntN(3)],
		UsersLimit: []int{100, 100, 100, 2}[rng.IntN(4)],
		RoomLimit:  []int{1000, 1000, 2, 3}[rng.IntN(4)],
		Names:      []int{len(modelNames), 2, 1}[rng.IntN(3)],
		Past:       []int{0, 0, 3}[rng.IntN(3)],
		Grace:      []time.Duration{DefaultGrace, DefaultGrace, DefaultGrace, 0}[rng.IntN(4)],
		Speed:      []int{2, 5, 15}[rng.IntN(3)],
	}
	favoured, total := sharedWeights, 0
	for k := range favoured {
		favoured[k] *= []int{0, 1, 2, 2, 3}[rng.IntN(5)]
	}
	for _, k := range []kind{connects, logsIn, works, reports, delivers} {
		favoured[k] = max(favoured[k], sharedWeights[k])
	}
	for _, w := range favoured {
		total += w
	}
	slots := []int{6, 4, 3}[rng.IntN(3)]
	for range 20 + rng.IntN(200) {
		n, k := rng.IntN(total), kind(0)
		for n >= favoured[k] {
			n -= favoured[k]
			k++
		}
		steps = append(steps, step{k, rng.IntN(slots), rng.IntN(1000), rng.IntN(1000), rng.IntN(1000), rng.IntN(3) > 0})
	}
	return set, steps
}

// sharedPlay is such a schedule that is being played.
type sharedPlay struct {
	s        *servers
	setting  sharedSetting
	callers  []*caller // all there ever were
	slots    [6]*caller
	pages    []sharedPage
	sessions map[string]string // by the ids of users
	wrong    string
	script   *strings.Builder
}

type sharedPage struct {
	n *node
	page
}

func newSharedPlay(set sharedSetting, script *strings.Builder) *sharedPlay {
	p := &sharedPlay{s: newServers(set.Nodes, set.Recent), setting: set, sessions: make(map[string]string), script: script}
	p.s.grace = set.Grace
	for range set.Past {
		p.s.store(store.Message{At: start, Room: modelRooms[0], From: "Dee", Nick: "dee", UserID: "id0", Body: `"before"`}, 0)
	}
	ids := 0
	for _, n := range p.s.nodes {
		n.h = New(Config{Log: n, Shared: n, Grace: set.Grace, UsersLimit: set.UsersLimit, RoomLimit: set.RoomLimit})
		n.h.now = start
		n.h.newID = func() string { ids++; return fmt.Sprint("id", ids) }
	}
	return p
}

func (p *sharedPlay) close() {
	for _, n := range p.s.nodes {
		n.h.writers.close()
	}
}

func playShared(set sharedSetting, steps []step, script *strings.Builder) (wrong string) {
	p := newSharedPlay(set, script)
	defer p.close()
	defer func() {
		if crash := recover(); crash != nil {
			wrong = fmt.Sprintf("panic: %v\n%s", crash, debug.Stack())
		}
	}()
	for _, st := range steps {
		p.act(st)
		if p.wrong != "" {
			return p.wrong
		}
	}
	p.finish()
	return p.wrong
}

func (p *sharedPlay) fail(c *caller, format string, args ...any) {
	if p.wrong == "" {
		p.wrong = fmt.Sprintf(format, args...)
		if c != nil {
			p.wrong = c.label + ": " + p.wrong
		}
	}
}

func (p *sharedPlay) note(format string, args ...any) {
	if p.script != nil {
		fmt.Fprintf(p.script, "%8s  ", p.s.now.Sub(start))
		fmt.Fprintf(p.script, format, args...)
		p.script.WriteByte('\n')
	}
}

// act does one step. One that makes no sense now is nothing.
func (p *sharedPlay) act(st step) {
	n, c := p.s.nodes[st.a%len(p.s.nodes)], p.slots[st.a]
	switch st.kind {
	case connects:
		if c == nil || c.lost {
			p.slots[st.a] = p.connect(p.s.nodes[st.b%len(p.s.nodes)])
		}
	case logsIn, sends, types, listsUsers, pages, pings, logsOut, clogs, ends, kicksOut:
		if st.kind == logsIn && (c == nil || c.lost) {
			c = p.connect(p.s.nodes[st.d%len(p.s.nodes)])
			p.slots[st.a] = c
		}
		if c != nil && !c.lost {
			n = c.n
			c.act(st)
		}
	case works:
		for i := range 1 + st.d%p.setting.Speed {
			p.work(st.a+i, st)
		}
	case reports:
		for i := range 1 + st.d%p.setting.Speed {
			n = p.s.nodes[(st.a+i)%len(p.s.nodes)]
			p.report(n)
		}
	case delivers:
		p.deliver(st.b)
	default:
		p.happens(n, st)
	}
	if st.flush {
		p.flush(n)
	}
}

// work has a node do one thing, and perhaps tell of it: that one or, if it has nothing to do, the next that has.
func (p *sharedPlay) work(from int, st step) {
	for i := range p.s.nodes {
		n := p.s.nodes[(from/2+i)%len(p.s.nodes)]
		if all := n.todo(); len(all) > 0 {
			p.note("node %d does %d of %d things", n.number, (st.b+from)%len(all), len(all))
			all[(st.b+from)%len(all)]()
			if (st.c+from)%3 > 0 {
				n.tell()
			}
			return
		}
	}
}

// happens is what comes over the whole.
func (p *sharedPlay) happens(n *node, st step) {
	p.note("node %d: %s %d", n.number, sharedNames[st.kind], st.b)
	switch st.kind {
	case removesRoom:
		n.h.step(removalRequested{modelRooms[st.b%2], make(chan error, 1)})
	case misses:
		n.catchUp()
		n.tell()
	case loses:
		switch st.b % 5 {
		case 0:
			p.s.refused++
		case 1:
			n.giveUp(0)
			n.tell()
		case 2:
			if st.c%4 == 0 {
				n.lose()
			}
		default:
			p.s.lost++
		}
	case evicts:
		if r := n.h.windows.head; r != nil {
			n.h.windows.bytes -= r.window.bytes
			r.window.drop(len(r.window.entries))
			n.h.windows.unlink(r)
		}
	case passes:
		p.pass([]time.Duration{10 * time.Millisecond, time.Second, 5 * time.Second, 10 * time.Second, time.Minute}[st.b%5])
	}
}

// report has a hub hear the oldest report.
func (p *sharedPlay) report(n *node) {
	if len(n.reports) > 0 {
		r := take(&n.reports, 0)
		p.note("hub %d hears %+v %+v", n.number, r.Changes, r.Entered)
		n.h.step(reported{r})
		p.hear(n)
	}
}

// deliver has a hub hear of what a log reader read.
func (p *sharedPlay) deliver(i int) {
	if len(p.pages) > 0 {
		g := take(&p.pages, i%len(p.pages))
		p.note("hub %d hears what was read", g.n.number)
		g.n.h.step(paged{g.page})
		p.hear(g.n)
	}
}

// flush ends what a hub does at one go, and looks at it.
func (p *sharedPlay) flush(n *node) {
	n.h.advance()
	n.h.flush()
	for len(n.h.readers.asked) > 0 {
		g := <-n.h.readers.asked
		g.read(context.Background(), n)
		p.pages = append(p.pages, sharedPage{n, g})
	}
	p.hear(n)
	if err := n.h.invariants(); err != nil {
		p.fail(nil, "hub %d: %v", n.number, err)
	}
	for ref, l := range n.h.entering {
		if l.ev.c.lost && !n.canceled[ref] {
			p.fail(nil, "hub %d goes on with a login whose connection has ended", n.number)
		}
	}
}

func (p *sharedPlay) hear(n *node) {
	for _, c := range p.callers {
		if c.n == n {
			c.hear()
		}
	}
}
