// Package natstest runs NATS servers with JetStream inside a test's process, alone or as a cluster.
package natstest

import (
	"fmt"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"parley/store/proctest"
)

const readyTimeout = 60 * time.Second

// Server starts a server that keeps its streams in dir, and gives its URL. It ends with the test.
func Server(t testing.TB, dir string) (url string) {
	t.Helper()
	s := start(t, &server.Options{Host: "127.0.0.1", Port: server.RANDOM_PORT, JetStream: true, StoreDir: dir})
	await(t, s)
	return s.ClientURL()
}

// Plain starts a server without JetStream, and gives its URL. It ends with the test.
func Plain(t testing.TB) (url string) {
	t.Helper()
	s := start(t, &server.Options{Host: "127.0.0.1", Port: server.RANDOM_PORT})
	await(t, s)
	return s.ClientURL()
}

// Configured starts a server with JetStream and what else is in config, in its own language, and gives its address. It
// ends with the test.
func Configured(t testing.TB, config string) (addr string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "nats.conf")
	if err := os.WriteFile(path, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	o, err := server.ProcessConfigFile(path)
	if err != nil {
		t.Fatal(err)
	}
	o.Host, o.Port, o.JetStream, o.StoreDir = "127.0.0.1", server.RANDOM_PORT, true, t.TempDir()
	s := start(t, o)
	await(t, s)
	return s.Addr().String()
}

// Streams gives what looks at the streams of the server at url, and changes them, as an operator would.
func Streams(t testing.TB, url string) jetstream.JetStream {
	t.Helper()
	nc, err := nats.Connect(url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	js, err := jetstream.New(nc, jetstream.WithDefaultTimeout(readyTimeout))
	if err != nil {
		t.Fatal(err)
	}
	return js
}

// Cluster starts n servers that are one cluster, and gives their URLs. They end with the test.
func Cluster(t testing.TB, n int) (urls string) {
	t.Helper()
	var routes []*url.URL
	ports := make([]int, n)
	for i := range ports {
		port := proctest.FreePort(t)
		ports[i], _ = strconv.Atoi(port)
		routes = append(routes, &url.URL{Scheme: "nats-route", Host: net.JoinHostPort("127.0.0.1", port)})
	}
	servers := make([]*server.Server, n)
	for i := range servers {
		servers[i] = start(t, &server.Options{
			ServerName: fmt.Sprint("server", i), Host: "127.0.0.1", Port: server.RANDOM_PORT,
			JetStream: true, StoreDir: filepath.Join(t.TempDir(), "jetstream"),
			Cluster: server.ClusterOpts{Name: "test", Host: "127.0.0.1", Port: ports[i]}, Routes: routes,
		})
	}
	var all []string
	for _, s := range servers {
		await(t, s)
		all = append(all, s.ClientURL())
	}
	deadline := time.NewTimer(readyTimeout)
	defer deadline.Stop()
	again := time.NewTicker(50 * time.Millisecond)
	defer again.Stop()
	for !hasLeader(servers) {
		select {
		case <-again.C:
		case <-deadline.C:
			t.Fatal("the cluster has no leader")
		}
	}
	return strings.Join(all, ",")
}

func hasLeader(servers []*server.Server) bool {
	for _, s := range servers {
		if s.JetStreamIsLeader() {
			return len(s.JetStreamClusterPeers()) == len(servers)
		}
	}
	return false
}

func start(t testing.TB, o *server.Options) *server.Server {
	t.Helper()
	o.NoSigs, o.NoLog = true, true
	s, err := server.NewServer(o)
	if err != nil {
		t.Fatal(err)
	}
	go s.Start()
	t.Cleanup(func() {
		s.Shutdown()
		s.WaitForShutdown()
	})
	return s
}

func await(t testing.TB, s *server.Server) {
	t.Helper()
	if !s.ReadyForConnections(readyTimeout) {
		t.Fatal("the NATS server does not start")
	}
}
