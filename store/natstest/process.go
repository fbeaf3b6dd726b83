package natstest

import (
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"parley/store/proctest"
)

// Process is a NATS server in a process of its own, which can be killed.
type Process struct {
	t      testing.TB
	bin    string
	config string
	log    *os.File
	client string // host:port
	health string // of its monitoring
	cmd    *exec.Cmd
	ended  chan struct{}
}

// Processes starts n servers that are one cluster. They tell their clients of none but themselves, so that a proxy
// in between is not passed by. They end with the test.
func Processes(t testing.TB, n int) []*Process {
	t.Helper()
	bin := Build(t)
	routes := make([]string, n)
	addrs := make([]string, n)
	for i := range routes {
		addrs[i] = proctest.FreeAddr(t)
		routes[i] = "nats-route://" + addrs[i]
	}
	all := make([]*Process, n)
	for i := range all {
		dir := t.TempDir()
		p := &Process{t: t, bin: bin, config: filepath.Join(dir, "nats.conf"), client: proctest.FreeAddr(t), health: proctest.FreeAddr(t)}
		config := fmt.Sprintf(`server_name: server%d
listen: %q
http: %q
jetstream { store_dir: %q, max_mem: 64MB, max_file: 1GB }
cluster { name: test, listen: %q, no_advertise: true, routes: [%s] }
`, i, p.client, p.health, filepath.Join(dir, "jetstream"), addrs[i], strings.Join(routes, ", "))
		if err := os.WriteFile(p.config, []byte(config), 0o600); err != nil {
			t.Fatal(err)
		}
		var err error
		if p.log, err = os.Create(filepath.Join(dir, "output.log")); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(p.cleanup)
		p.Start()
		all[i] = p
	}
	for _, p := range all {
		p.AwaitHealth()
	}
	return all
}

// Addr is where clients connect, host:port.
func (p *Process) Addr() string { return p.client }

// PID is the process's id.
func (p *Process) PID() int { return p.cmd.Process.Pid }

// Start starts a server that has ended, without waiting for it.
func (p *Process) Start() {
	p.t.Helper()
	p.cmd = exec.Command(p.bin, "-c", p.config)
	p.cmd.Stdout, p.cmd.Stderr = p.log, p.log
	if err := p.cmd.Start(); err != nil {
		p.t.Fatal(err)
	}
	p.ended = make(chan struct{})
	go func() {
		p.cmd.Wait()
		close(p.ended)
	}()
}

// Kill ends the server with SIGKILL.
func (p *Process) Kill() {
	p.cmd.Process.Kill()
	<-p.ended
}

// AwaitHealth waits until the server has caught up with the others.
func (p *Process) AwaitHealth() {
	p.t.Helper()
	deadline := time.NewTimer(readyTimeout)
	defer deadline.Stop()
	again := time.NewTicker(100 * time.Millisecond)
	defer again.Stop()
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: time.Second}
	for {
		if resp, err := client.Get("http://" + p.health + "/healthz"); err == nil {
			resp.Body.Close()
			if resp.StatusCode == http.StatusOK {
				return
			}
		}
		select {
		case <-again.C:
		case <-p.ended:
			p.t.Fatal("the NATS server has ended")
		case <-deadline.C:
			p.t.Fatal("the NATS server does not become healthy")
		}
	}
}

func (p *Process) cleanup() {
	p.Kill()
	if p.t.Failed() {
		if out, err := os.ReadFile(p.log.Name()); err == nil {
			p.t.Logf("the NATS server's output ends:\n%s", out[max(0, len(out)-1<<10):])
		}
	}
	p.log.Close()
}

// Build returns the path of the server's binary, built once a test process.
var Build = proctest.Builder("nats-server-under-test", "github.com/nats-io/nats-server/v2")
