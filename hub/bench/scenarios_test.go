//go:build linux

package bench

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"syscall"
	"testing"
	"time"
)

// textSize is how long a message is, in bytes, if nothing else is said.
const textSize = 200

// scenario is one measurement of one server, done anew for each.
type scenario struct {
	id, title, unit string
	digits          int
	runs            int    // for each server; 1 where one says enough
	peers           []peer // nil: the marks and the server
	run             func(*testing.T, peer) result
}

// result is the figure of a scenario, and what else there is to say.
type result struct {
	value float64
	note  string
	text  string // a profile, say
}

func peers(s scenario) []peer {
	if s.peers == nil {
		return []peer{floor, plain, parley}
	}
	return s.peers
}

var all = []scenario{
	{id: "a", title: "One message at a time, room of 1000", unit: "CPU µs/delivery", digits: 2, runs: 99,
		run: oneByOne(1000, 20)},
	{id: "a100", title: "One message at a time, room of 100", unit: "CPU µs/delivery", digits: 2, runs: 99,
		run: oneByOne(100, 200)},
	{id: "b", title: "Bursts of 50, room of 1000", unit: "CPU µs/delivery", digits: 3, runs: 99, run: func(t *testing.T, p peer) result {
		l := newLoad(t, start(t, p))
		l.fill(1, 1000, 16)
		return result{value: l.cost(func() int { return l.bursts(l.rooms[0].members[0], 50, 2*time.Second) })}
	}},
	{id: "c", title: "200 rooms of 10, all 2000 send a message a second with ack", unit: "CPU µs/delivery", digits: 2, runs: 99, run: manyRooms},
	{id: "d", title: "Saturation, 10 rooms of 100", unit: "deliveries/s", runs: 99, run: func(t *testing.T, p peer) result {
		l := newLoad(t, start(t, p))
		l.fill(10, 100, 16)
		return saturation(l)
	}},
	{id: "e", title: "10,000 idle connections, logged in, rooms of 10", unit: "kB/connection", digits: 1, runs: 1,
		peers: []peer{plain, parley}, run: func(t *testing.T, p peer) result { return idle(t, p, 1000) }},
	{id: "f", title: "5000 connect and log in, rooms of 10", unit: "logins/CPU-s", runs: 99, run: func(t *testing.T, p peer) result {
		s := start(t, p)
		l := newLoad(t, s)
		before, began := s.cpu(), l.now()
		l.fill(500, 10, 64)
		return result{value: 5000 / (s.cpu() - before).Seconds(), note: fmt.Sprintf("%.2f s", (l.now()-began).Seconds()-.25)}
	}},
	{id: "g", title: "Beside one who does not read: room of 20, 2000 messages of 8 kB at 1000/s", unit: "others' p99, ms", digits: 2, runs: 1, run: besideSlow},

	{id: "idle", title: "19,000 idle connections", unit: "kB/connection", digits: 1, runs: 1,
		peers: []peer{parley}, run: func(t *testing.T, p peer) result { return idle(t, p, 1900) }},
	{id: "large", title: "One message at a time, room of 10,000", unit: "CPU µs/delivery", digits: 2, runs: 1, run: oneByOne(10000, 2)},
	{id: "join", title: "All log in to one room at once", unit: "CPU µs/login, 5000", digits: 1, runs: 1, peers: []peer{parley}, run: join},
	{id: "late", title: "Latency at half of saturation, 10 rooms of 100", unit: "p50, ms", digits: 2, runs: 1, peers: []peer{parley}, run: latency},
	{id: "top", title: "What the saturated server does, 10 rooms of 100", unit: "deliveries/s", runs: 1, peers: []peer{parley}, run: top},
	{id: "disk", title: "200 rooms of 10 as in c, log in memory and on disk", unit: "CPU µs/message", digits: 1, runs: 99,
		peers: []peer{
			{name: "memory", args: []string{"--db="}},
			{name: "disk", args: []string{"--db=parley.db"}},
		},
		run: func(t *testing.T, p peer) result {
			r := manyRooms(t, p)
			r.value *= 10
			return r
		}},
}

func oneByOne(members int, rate float64) func(*testing.T, peer) result {
	return func(t *testing.T, p peer) result {
		l := newLoad(t, start(t, p))
		l.fill(1, members, 16)
		l.sampling = 1
		value := l.cost(func() int { return l.paced(l.rooms[0].members[:1], rate, 3*time.Second, textSize, false) })
		return result{value: value, note: l.latencies()}
	}
}

// latencies of all deliveries that were sampled.
func (l *load) latencies() string {
	return fmt.Sprintf("p50 %.2f, p99 %.2f, p99.9 %.2f ms", quantile(l.late, .5), quantile(l.late, .99), quantile(l.late, .999))
}

func manyRooms(t *testing.T, p peer) result {
	l := newLoad(t, start(t, p))
	l.fill(200, 10, 16)
	var senders []*conn
	for _, r := range l.rooms {
		senders = append(senders, r.members...)
	}
	rand.New(rand.NewPCG(1, 2)).Shuffle(len(senders), func(i, j int) { senders[i], senders[j] = senders[j], senders[i] })
	const messages = 4 * 2000
	value := l.cost(func() int { return l.paced(senders, 2000, 4*time.Second, textSize, true) })
	if !l.until(10*time.Second, func() bool { return len(l.acks) == messages }) {
		t.Fatalf("%d of %d acknowledgements", len(l.acks), messages)
	}
	return result{value: value, note: fmt.Sprintf("ack p50 %.2f, p99 %.2f ms", quantile(l.acks, .5), quantile(l.acks, .99))}
}

// saturation takes the best of some windows.
func saturation(l *load) (best result) {
	for _, window := range []int{4, 16, 64} {
		if perSecond, cost := l.saturated(window, 1200*time.Millisecond); perSecond > best.value {
			best = result{value: perSecond, note: fmt.Sprintf("%d in flight a room, CPU %.2f µs/delivery", window, cost)}
		}
	}
	return best
}

func idle(t *testing.T, p peer, rooms int) result {
	s := start(t, p)
	l := newLoad(t, s)
	before := s.rss()
	l.fill(rooms, 10, 64)
	l.until(5*time.Second, func() bool { return false })
	n := float64(10 * rooms)
	r := result{value: (s.rss() - before) / n / 1000}
	if l.closed > 0 {
		t.Fatalf("%d closed", l.closed)
	}
	if s.admin == "" {
		return r
	}
	m := s.metrics()
	r.text = s.heapProfile(18)
	collected := s.metrics()
	r.note = fmt.Sprintf("stacks %.1f, heap in use %.1f, of it live %.1f", m["go_memstats_stack_inuse_bytes"]/n/1000,
		m["go_memstats_heap_inuse_bytes"]/n/1000, collected["go_memstats_heap_alloc_bytes"]/n/1000)
	return r
}

func besideSlow(t *testing.T, p peer) result {
	const members, size, messages = 20, 8000, 2000
	s := start(t, p)
	l := newLoad(t, s)
	l.fill(1, members, 16)
	sender, slow := l.rooms[0].members[:1], l.rooms[0].members[members-1]
	l.sampling = 1
	l.await(l.paced(sender, 1000, 300*time.Millisecond, size, false))
	before := quantile(l.late, .99)

	slow.silent, l.late = true, l.late[:0]
	if err := syscall.EpollCtl(l.ep, syscall.EPOLL_CTL_DEL, slow.fd, nil); err != nil {
		t.Fatal(err)
	}
	memory, delivered := s.rss(), l.delivered
	l.paced(sender, 1000, messages*time.Millisecond, size, false)
	if !l.until(20*time.Second, func() bool { return l.delivered == delivered+messages*(members-1) }) {
		t.Fatalf("the others got %d of %d", l.delivered-delivered, messages*(members-1))
	}
	return result{value: quantile(l.late, .99), note: fmt.Sprintf("before %.2f ms; server's memory +%.0f MB", before, (s.rss()-memory)/1e6)}
}

// join measures storms of several sizes: the work must grow with the number of
// logins, not with its square.
func join(t *testing.T, p peer) (last result) {
	var notes []string
	for _, n := range []int{1250, 2500, 5000} {
		s := start(t, p)
		l := newLoad(t, s)
		before := s.cpu()
		l.fill(1, n, 64)
		last.value = float64((s.cpu() - before).Microseconds()) / float64(n)
		notes = append(notes, fmt.Sprintf("%d: %.0f µs, %.1f kB sent", n, last.value, float64(l.bytes)/float64(n)/1000))
		l.close()
		s.stop()
	}
	last.note = "a login: " + strings.Join(notes, "; ")
	return last
}

func latency(t *testing.T, p peer) result {
	s := start(t, p)
	l := newLoad(t, s)
	l.fill(10, 100, 16)
	rate := saturation(l).value / 100 / 2
	var senders []*conn
	for _, r := range l.rooms {
		senders = append(senders, r.members[0])
	}
	l.sampling = 16
	before := s.metrics()
	cost := l.cost(func() int { return l.paced(senders, rate, 3*time.Second, textSize, false) })
	after := s.metrics()
	pauses := after["go_gc_duration_seconds_count"] - before["go_gc_duration_seconds_count"]
	return result{
		value: quantile(l.late, .5),
		note: fmt.Sprintf("%.0f messages/s; %s; CPU %.2f µs/delivery; %.0f garbage collections, the longest pause %.2f ms",
			rate, l.latencies(), cost, pauses, after[`go_gc_duration_seconds{quantile="1"}`]*1e3),
		text: "The hub's steps, of seconds at most:\n" + histogram(before, after, "parley_hub_step_seconds_bucket"),
	}
}

// top takes a profile of the server while it is saturated.
func top(t *testing.T, p peer) (r result) {
	s := start(t, p)
	l := newLoad(t, s)
	l.fill(10, 100, 16)
	profile := make(chan string, 1)
	go func() { profile <- s.cpuProfile(2, 10) }()
	var cost float64
	r.value, cost = l.saturated(64, 3*time.Second)
	r.note = fmt.Sprintf("CPU %.2f µs/delivery", cost)
	r.text = <-profile
	return r
}
