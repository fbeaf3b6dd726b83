package cluster

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"parley/hub/hubtest"
	"parley/store/natstest"
)

// threeNATS starts a cluster of NATS servers and gives the flag for it.
func threeNATS(t testing.TB) (url string, servers []*natstest.Process) {
	t.Helper()
	servers = natstest.Processes(t, 3)
	var addrs []string
	for _, s := range servers {
		addrs = append(addrs, s.Addr())
	}
	return "nats://" + strings.Join(addrs, ","), servers
}

// How long one waits for an acknowledgement, on a file and on a cluster.
func BenchmarkAcknowledgement(b *testing.B) {
	url, _ := threeNATS(b)
	for _, c := range []struct {
		name string
		args []string
	}{
		{"sqlite", []string{"--db", filepath.Join(b.TempDir(), "log.db")}},
		{"one NATS server", []string{"--nats", natstest.Server(b, b.TempDir())}},
		{"three NATS servers", []string{"--nats", url}},
	} {
		b.Run(c.name, func(b *testing.B) {
			ann, _ := enter(b, hubtest.Start(b, c.args...), "Ann")
			var took []time.Duration
			for b.Loop() {
				begin := time.Now()
				ann.RoomMessage("two hundred bytes or so", fmt.Sprintf("key-of-message-%d", len(took)))
				took = append(took, time.Since(begin))
			}
			slices.Sort(took)
			b.ReportMetric(took[len(took)/2].Seconds()*1e3, "p50-ms")
			b.ReportMetric(took[len(took)*99/100].Seconds()*1e3, "p99-ms")
		})
	}
}

// What nodes deliver, and what a delivery costs, all on this machine. It takes its
// own time, once: -benchtime 1x.
func BenchmarkDeliveries(b *testing.B) {
	const (
		rooms   = 20
		members = 30
		senders = 2 // a room
		lasting = 5 * time.Second
	)
	for n := 1; n <= 3; n++ {
		url, nats := threeNATS(b)
		var servers []*hubtest.Server
		for range n {
			servers = append(servers, hubtest.Start(b, "--nats", url))
		}
		ctx, cancel := context.WithCancel(b.Context())
		var delivered, acked atomic.Int64
		var readers sync.WaitGroup
		var conns []*hubtest.Conn
		for i := range rooms * members {
			conn, err := hubtest.Connect(ctx, servers[i%n].WS())
			if err != nil {
				b.Fatal(err)
			}
			login := hubtest.Login{Name: fmt.Sprint("m", i), Room: fmt.Sprint("room", i%rooms)}
			if err := conn.Write(ctx, "login", login, 1); err != nil {
				b.Fatal(err)
			}
			conns = append(conns, conn)
			sends := i/rooms < senders
			readers.Go(func() {
				for ack := int64(2); ; {
					f, err := conn.Read(ctx)
					if err != nil {
						return
					}
					if f.Event == "roomMessage" {
						delivered.Add(1)
					}
					if f.Event != "ack" || !sends {
						continue
					}
					acked.Add(1)
					ack++
					if conn.Write(ctx, "roomMessage", hubtest.Post{Message: strings.Repeat("x", 200)}, ack) != nil {
						return
					}
				}
			})
		}
		pause(time.Second)
		cpu, natsCPU, self, before, said := used(b, pids(servers)...), used(b, natsPIDs(nats)...), used(b, os.Getpid()), delivered.Load(), acked.Load()
		pause(lasting)
		count := delivered.Load() - before
		b.Logf("%d nodes: %.0f messages and %.0f deliveries a second; CPU a delivery: nodes %.1f µs; cores: nodes %.2f, NATS %.2f, clients %.2f", n,
			float64(acked.Load()-said)/lasting.Seconds(), float64(count)/lasting.Seconds(),
			float64((used(b, pids(servers)...)-cpu).Microseconds())/float64(count),
			(used(b, pids(servers)...)-cpu).Seconds()/lasting.Seconds(), (used(b, natsPIDs(nats)...)-natsCPU).Seconds()/lasting.Seconds(),
			(used(b, os.Getpid())-self).Seconds()/lasting.Seconds())
		for _, conn := range conns {
			conn.Drop()
		}
		cancel()
		readers.Wait()
		for _, s := range servers {
			s.Kill()
		}
		for _, s := range nats {
			s.Kill()
		}
	}
}

// How long it is quiet for the others when a node, or a NATS server, dies; as Deliveries.
func BenchmarkLoss(b *testing.B) {
	url, nats := threeNATS(b)
	var servers []*hubtest.Server
	for range 3 {
		servers = append(servers, hubtest.Start(b, "--nats", url))
	}
	ann, _ := enter(b, servers[0], "Ann")
	bob, _ := enter(b, servers[1], "Bob")
	quiet := func(what string, kill func()) {
		longest, last, failed := time.Duration(0), time.Now(), 0
		end := time.Now().Add(20 * time.Second)
		kill()
		for i := 0; time.Now().Before(end); {
			f := ann.Request("roomMessage", hubtest.Post{Message: "x", Key: fmt.Sprintf("key-%s-%d", what, i)})
			if f.Refusal() != nil {
				failed++
				pause(20 * time.Millisecond)
				continue
			}
			i++
			bob.Expect("roomMessage", nil)
			longest, last = max(longest, time.Since(last)), time.Now()
		}
		b.Logf("%s: at most %v without a delivery, %d refusals", what, longest.Round(time.Millisecond), failed)
	}
	quiet("a node killed", servers[2].Kill)
	for i, s := range nats {
		quiet("NATS server "+strconv.Itoa(i)+" killed", s.Kill)
		s.Start()
		s.AwaitHealth()
	}
}

func pause(d time.Duration) { <-time.After(d) }

func pids(servers []*hubtest.Server) (all []int) {
	for _, s := range servers {
		all = append(all, s.PID())
	}
	return all
}

func natsPIDs(servers []*natstest.Process) (all []int) {
	for _, s := range servers {
		all = append(all, s.PID())
	}
	return all
}

// used is the processor time that processes have had, from /proc (Linux).
func used(t testing.TB, pids ...int) (sum time.Duration) {
	t.Helper()
	for _, pid := range pids {
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if err != nil {
			t.Fatal(err)
		}
		fields := strings.Fields(string(stat[strings.LastIndexByte(string(stat), ')')+2:]))
		for _, f := range fields[11:13] { // utime, stime: hundredths of a second
			n, err := strconv.Atoi(f)
			if err != nil {
				t.Fatal(err)
			}
			sum += time.Duration(n) * 10 * time.Millisecond
		}
	}
	return sum
}
