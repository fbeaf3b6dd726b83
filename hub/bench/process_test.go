//go:build linux

package bench

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"parley/hub/hubtest"
	"parley/store/proctest"
)

// peer is a server that can be measured.
type peer struct {
	name string
	args []string // the server's own, beyond where it listens
	role string   // of a mark; empty: the server
}

var (
	floor  = peer{name: "floor", role: "floor"}
	plain  = peer{name: "plain", role: "plain"}
	parley = peer{name: "parley", args: []string{"--db="}}
)

// process is a running peer.
type process struct {
	t     *testing.T
	cmd   *exec.Cmd
	port  int
	admin string
}

// start runs a peer until the test ends or stop is called.
func start(t *testing.T, p peer) *process {
	t.Helper()
	addr := proctest.FreeAddr(t)
	s := &process{t: t}
	s.port, _ = strconv.Atoi(strings.TrimPrefix(addr, "127.0.0.1:"))
	if p.role != "" {
		s.cmd = exec.Command(os.Args[0], addr)
		s.cmd.Env = append(os.Environ(), roleEnv+"="+p.role)
	} else {
		s.admin = proctest.FreeAddr(t)
		args := append([]string{"--addr", addr, "--admin", s.admin, "--log-level", "warn", "--max-conns", "100000"}, p.args...)
		s.cmd = exec.Command(hubtest.Build(t), args...)
		s.cmd.Dir = t.TempDir()
	}
	s.cmd.Stderr = os.Stderr
	if err := s.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.stop)
	for deadline := time.Now().Add(time.Minute); ; {
		conn, err := net.Dial("tcp", addr)
		if err == nil {
			conn.Close()
			return s
		}
		if time.Now().After(deadline) {
			t.Fatal(err)
		}
		nap(5 * time.Millisecond)
	}
}

func (s *process) stop() {
	_ = s.cmd.Process.Kill()
	_ = s.cmd.Wait()
}

// cpu is the processor time that the process has used, of all threads that it ever
// had: its clock (clock_getcpuclockid(3)).
func (s *process) cpu() time.Duration {
	var ts syscall.Timespec
	clock := ^s.cmd.Process.Pid<<3 | 2
	if _, _, err := syscall.RawSyscall(syscall.SYS_CLOCK_GETTIME, uintptr(clock), uintptr(unsafe.Pointer(&ts)), 0); err != 0 {
		s.t.Fatal("clock_gettime: ", err)
	}
	return time.Duration(ts.Nano())
}

// rss is the memory that the process has resident, in bytes.
func (s *process) rss() float64 {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", s.cmd.Process.Pid))
	if err != nil {
		s.t.Fatal(err)
	}
	pages, _ := strconv.ParseFloat(strings.Fields(string(b))[1], 64)
	return pages * float64(os.Getpagesize())
}

// metrics are the server's, by name and labels as they are written.
func (s *process) metrics() map[string]float64 {
	values := make(map[string]float64)
	for line := range strings.Lines(string(s.get("/metrics"))) {
		if name, value, ok := strings.Cut(strings.TrimSpace(line), " "); ok && name[0] != '#' {
			values[name], _ = strconv.ParseFloat(value, 64)
		}
	}
	return values
}

func (s *process) get(path string) []byte {
	resp, err := http.Get("http://" + s.admin + path)
	if err != nil {
		s.t.Error(err)
		return nil
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		s.t.Error(err)
	}
	return b
}

// heapProfile is what the server's heap holds, the largest parts first.
func (s *process) heapProfile(lines int) string {
	return s.profile("heap?gc=1", "-sample_index=inuse_space", "-nodecount", strconv.Itoa(lines))
}

// cpuProfile is what the server spends the next seconds with, the largest parts first.
func (s *process) cpuProfile(seconds, lines int) string {
	return s.profile(fmt.Sprintf("profile?seconds=%d", seconds), "-nodecount", strconv.Itoa(lines))
}

func (s *process) profile(which string, args ...string) string {
	file := filepath.Join(s.t.TempDir(), "profile")
	if err := os.WriteFile(file, s.get("/debug/pprof/"+which), 0o600); err != nil {
		s.t.Error(err)
	}
	out, err := exec.Command("go", append(append([]string{"tool", "pprof", "-top"}, args...), file)...).Output()
	if err != nil {
		s.t.Error(err)
	}
	return string(out)
}

// nap is a sleep of the thread: while it measures the generator has no other.
func nap(d time.Duration) {
	ts := syscall.NsecToTimespec(d.Nanoseconds())
	_ = syscall.Nanosleep(&ts, nil)
}

func prctl(option, value uintptr) { syscall.RawSyscall(syscall.SYS_PRCTL, option, value, 0) }
