// Package chaos breaks the real server on purpose and holds it to section 6 of PROTOCOL.md: acknowledged means kept,
// one order, exactly once, no silent gap, and the slow do not hurt the fast.
//
// TestChaos is ten senders and ten observers behind a proxy that cuts, freezes and half-opens their connections and
// tears frames apart, while the server is killed, restarted and drained on one database file. Its seed decides on
// every fault and every choice of the clients (not on what the scheduler makes of them):
//
//	go test -race -v -run TestChaos ./hub/chaos -chaos.seed 42 -chaos.duration 2m -chaos.runs 10
package chaos

import (
	"context"
	"flag"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"parley/hub/hubtest"
)

var (
	chaosSeed     = flag.Uint64("chaos.seed", 0, "the chaos test's seed (or PARLEY_CHAOS_SEED); 0 draws one")
	chaosDuration = flag.Duration("chaos.duration", 20*time.Second, "how long each chaos run breaks things")
	chaosRuns     = flag.Int("chaos.runs", 1, "chaos runs, the seed counting up")
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	senders      = 10
	observers    = 10
	rooms        = 2
	grace        = 3 * time.Second
	pingInterval = 2 * time.Second        // the server gives a silent peer up after two
	harmEvery    = 100 * time.Millisecond // on average, one of the 20 connections
	longFreeze   = 5 * time.Second        // longer than grace and two ping intervals
	settleWithin = 3 * time.Minute
)

func TestChaos(t *testing.T) {
	seed := *chaosSeed
	if env := os.Getenv("PARLEY_CHAOS_SEED"); seed == 0 && env != "" {
		var err error
		if seed, err = strconv.ParseUint(env, 10, 64); err != nil {
			t.Fatalf("PARLEY_CHAOS_SEED: %v", err)
		}
	}
	if seed == 0 {
		seed = rand.Uint64() >> 32 // short enough to be typed
	}
	for run := range *chaosRuns {
		t.Run(strconv.FormatUint(seed+uint64(run), 10), func(t *testing.T) { chaos(t, seed+uint64(run), *chaosDuration) })
	}
}

// chaos is one run: break things for so long, then let everybody come to rest, then the verdict.
func chaos(t *testing.T, seed uint64, duration time.Duration) {
	servers := []*hubtest.Server{hubtest.Start(t,
		"--db", filepath.Join(t.TempDir(), "chaos.db"), "--history", "10000000", "--grace", grace.String(),
		"--ping-interval", pingInterval.String())}
	proxy := hubtest.NewProxy(t, addresses(servers)...)
	w := &world{t: t, url: proxy.WS(), durability: "disk", grace: grace, quiet: make(chan struct{})}
	t.Logf("seed %d", seed)
	defer func() { t.Logf("seed=%d %v", seed, &w.stats) }()

	w.live(seed, proxy, servers, func(rng *rand.Rand) { w.breakServers(servers, rng, duration) })
}

// live lets the members live while things break, then lets them come to rest, and gives the verdict.
func (w *world) live(seed uint64, proxy *hubtest.Proxy, servers []*hubtest.Server, breakThings func(*rand.Rand)) {
	members := make([]*member, 0, senders+observers)
	for i := range senders + observers {
		base := "observer" + strconv.Itoa(i)
		if i < senders {
			base = "sender" + strconv.Itoa(i)
		}
		members = append(members, newMember(w, base, "room"+strconv.Itoa(i%rooms), i < senders, rand.New(rand.NewPCG(seed, uint64(i)))))
	}
	ctx, stop := context.WithCancel(w.t.Context())
	var living, harming sync.WaitGroup
	quiet := sync.OnceFunc(func() { close(w.quiet) })
	defer func() {
		quiet()
		stop()
		living.Wait()
		harming.Wait()
	}()
	for _, m := range members {
		living.Go(func() { m.run(ctx) })
	}
	harming.Go(func() { w.breakConnections(proxy, rand.New(rand.NewPCG(seed, 1000))) })
	breakThings(rand.New(rand.NewPCG(seed, 1001)))
	quiet()
	harming.Wait()
	proxy.Each(func(l *hubtest.Link) {
		l.Delay(hubtest.Both, 0)
		l.Thaw(hubtest.Both)
	})

	begin := time.Now()
	w.settle(members)
	w.t.Logf("all at rest after %v", time.Since(begin).Round(time.Millisecond))
	stop()
	living.Wait()
	w.judge(members, servers)
}

func addresses(servers []*hubtest.Server) (addrs []string) {
	for _, s := range servers {
		addrs = append(addrs, s.Addr())
	}
	return addrs
}

// breakConnections harms one connection after another until all is quiet.
func (w *world) breakConnections(proxy *hubtest.Proxy, rng *rand.Rand) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-w.quiet:
			return
		case <-timer.C:
		}
		timer.Reset(time.Duration(rng.ExpFloat64() * float64(harmEvery)))
		harm, which := hubtest.ChooseHarm(rng, longFreeze), rng.Float64()
		links := proxy.Links()
		links = links[max(0, len(links)-senders-observers):] // the older ones were left by their clients
		if len(links) == 0 {
			continue
		}
		links[int(which*float64(len(links)))].Harm(harm)
		switch harm.Kind {
		case hubtest.Frozen, hubtest.HalfOpen:
			w.stats.freezes.Add(1)
		case hubtest.Slow:
			w.stats.delays.Add(1)
		default:
			w.stats.cuts.Add(1)
		}
	}
}

// breakServers kills and drains them one at a time, at moments spread over the duration: a kill for each 5 s and a
// drain for each 30 s, but three kills and one drain at the least. Each comes back on the same file.
func (w *world) breakServers(servers []*hubtest.Server, rng *rand.Rand, duration time.Duration) {
	kills, drains := max(3, int(duration/(5*time.Second))), max(1, int(duration/(30*time.Second)))
	order := rng.Perm(kills + drains)
	begin, share := time.Now(), duration/time.Duration(len(order))
	for i, n := range order { // each somewhere in the first half of its share, so that life goes on after it
		w.pass(time.Duration(i)*share + time.Duration(rng.Int64N(int64(share/2))) - time.Since(begin))
		victim, down := servers[rng.IntN(len(servers))], time.Duration(rng.Int64N(int64(300*time.Millisecond)))
		w.generation.Add(1)
		if n < drains {
			code, took := victim.Terminate()
			w.stats.drains.Add(1)
			w.stats.longestDrain.Store(max(w.stats.longestDrain.Load(), int64(took)))
			if code != 0 || took > 30*time.Second {
				w.violation("after SIGTERM: exit code %d after %v", code, took)
			}
		} else {
			victim.Kill()
			w.stats.kills.Add(1)
			w.pass(down)
		}
		victim.Restart()
		w.generation.Add(1)
	}
	w.pass(duration - time.Since(begin))
}

// pass lets that much time go by.
func (w *world) pass(d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	<-timer.C
}

// settle waits until nobody has anything left to do and all agree on who is there.
func (w *world) settle(members []*member) {
	deadline := time.NewTimer(settleWithin)
	defer deadline.Stop()
	again := time.NewTicker(200 * time.Millisecond)
	defer again.Stop()
	for {
		answers := make([]chan report, len(members))
		for i, m := range members {
			answers[i] = make(chan report, 1)
			select {
			case m.asks <- answers[i]:
			case <-deadline.C:
				w.t.Fatalf("%s was not there to be asked within %v", m.base, settleWithin)
			}
		}
		byRoom := make(map[string][]report)
		for i, m := range members {
			select {
			case r := <-answers[i]:
				byRoom[r.room] = append(byRoom[r.room], r)
			case <-deadline.C:
				w.t.Fatalf("%s did not come to rest within %v", m.base, settleWithin)
			}
		}
		disagreement := ""
		for _, room := range slices.Sorted(maps.Keys(byRoom)) {
			if d := disagree(byRoom[room]); d != "" {
				disagreement = d
			}
		}
		if disagreement == "" {
			return
		}
		select {
		case <-again.C:
		case <-deadline.C:
			w.violation("after %v of quiet: %s", settleWithin, disagreement)
			for _, reports := range byRoom { // which servers are wrong, and whether all are in the same way
				for _, r := range reports {
					w.t.Logf("%s is %s and asked: %v", r.name, r.id, r.asked)
				}
			}
			return
		}
	}
}

// judge reads the logs, kills and restarts a server once more, and holds the logs against what was acknowledged and
// what was seen.
func (w *world) judge(members []*member, servers []*hubtest.Server) {
	posts := make(map[string]*post)
	for _, m := range members {
		for _, p := range m.posts {
			posts[p.key] = p
		}
	}
	for i := range rooms {
		room := "room" + strconv.Itoa(i)
		before := readHistory(w.t, servers[0].WS(), room)
		servers[0].Kill()
		w.stats.kills.Add(1)
		servers[0].Restart()
		log := readHistory(w.t, servers[0].WS(), room)
		if !slices.Equal(before, log) {
			w.violation("%s had %d messages before the last kill and has %d", room, len(before), len(log))
		}
		w.verifyLog(room, log, posts)
		for _, m := range members {
			for _, r := range m.records {
				if r.room == room {
					w.verifyRecord(r, log)
				}
			}
		}
	}
}
