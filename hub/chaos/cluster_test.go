package chaos

import (
	"flag"
	"math/rand/v2"
	"strconv"
	"testing"
	"time"

	"parley/hub/hubtest"
	"parley/store/natstest"
)

var clusterDuration = flag.Duration("chaos.cluster", 60*time.Second, "how long each chaos run on a cluster breaks things")

const (
	nodes        = 3
	loginWait    = 10 * time.Second // at most, for a login while NATS does not answer
	clusterLease = 12 * time.Second // longer than an election among the NATS servers
)

// TestChaosCluster is TestChaos on three servers that are one chat, on three NATS servers. Its faults: a server is
// killed, a NATS server is killed, a server is cut off from NATS for less or more than its lease, all servers are
// replaced one after the other. After each of them all servers are to have the same users lists.
func TestChaosCluster(t *testing.T) {
	seed := *chaosSeed
	if seed == 0 {
		seed = rand.Uint64() >> 32
	}
	for run := range *chaosRuns {
		t.Run(strconv.FormatUint(seed+uint64(run), 10), func(t *testing.T) { chaosCluster(t, seed+uint64(run), *clusterDuration) })
	}
}

// cluster is what can be broken.
type cluster struct {
	nats    []*natstest.Process
	links   []*hubtest.Proxy // of each server to NATS
	servers []*hubtest.Server
	counts  [4]int // of faults, by kind

	auditors int           // that were let in, or tried to be
	agreed   time.Duration // the longest that the servers' lists differed after a fault
}

func chaosCluster(t *testing.T, seed uint64, duration time.Duration) {
	c := &cluster{nats: natstest.Processes(t, nodes)}
	var addrs []string
	for _, n := range c.nats {
		addrs = append(addrs, n.Addr())
	}
	for range nodes {
		link := hubtest.NewProxy(t, addrs...)
		c.links = append(c.links, link)
		c.servers = append(c.servers, hubtest.Start(t, "--nats", "nats://"+link.Addr(), "--nats-lease", clusterLease.String(),
			"--grace", grace.String(), "--ping-interval", pingInterval.String()))
	}
	proxy := hubtest.NewProxy(t, addresses(c.servers)...)
	w := &world{t: t, url: proxy.WS(), durability: "replicated", grace: grace, quiet: make(chan struct{}), cluster: true}
	t.Logf("seed %d", seed)
	defer func() {
		t.Logf("seed=%d killed servers=%d killed NATS servers=%d cut off=%d rolls=%d lists agreed after %v at most %v", seed,
			c.counts[0], c.counts[1], c.counts[2], c.counts[3], c.agreed.Round(time.Millisecond), &w.stats)
	}()
	w.live(seed, proxy, c.servers, func(rng *rand.Rand) { c.breakThings(w, rng, duration) })
}

// breakThings does one fault after the other, each somewhere in the first half of its share of the time, and all
// kinds of them.
func (c *cluster) breakThings(w *world, rng *rand.Rand, duration time.Duration) {
	faults := max(4, int(duration/(8*time.Second)))
	begin, share := time.Now(), duration/time.Duration(faults)
	kinds := rng.Perm(faults)
	for i, kind := range kinds {
		w.pass(time.Duration(i)*share + time.Duration(rng.Int64N(int64(share/4))) - time.Since(begin))
		w.generation.Add(1)
		kind %= len(c.counts)
		c.counts[kind]++
		n, part := rng.IntN(nodes), rng.Float64()
		w.t.Logf("%v: fault %d on %d", time.Now().UTC().Format(time.StampMilli), kind, n)
		switch kind {
		case 0:
			c.servers[n].Kill()
			w.stats.kills.Add(1)
			w.pass(time.Duration(part * float64(time.Second)))
			c.servers[n].Restart()
		case 1:
			c.nats[n].Kill()
			w.pass(time.Duration(part * float64(3*time.Second)))
			c.nats[n].Start()
			c.nats[n].AwaitHealth()
		case 2:
			link := c.links[n]
			link.Refuse(true)
			link.Each(func(l *hubtest.Link) { l.Cut(true) })
			w.pass(time.Duration(part * float64(2*clusterLease)))
			link.Refuse(false)
		case 3:
			c.roll(w)
		}
		w.generation.Add(1)
		c.audit(w)
	}
	w.pass(duration - time.Since(begin))
}

// roll replaces all servers, one after the other.
func (c *cluster) roll(w *world) {
	for _, s := range c.servers {
		code, took := s.Terminate()
		w.stats.drains.Add(1)
		w.stats.longestDrain.Store(max(w.stats.longestDrain.Load(), int64(took)))
		if code != 0 || took > 30*time.Second {
			w.violation("after SIGTERM: exit code %d after %v", code, took)
		}
		s.Restart()
	}
}
