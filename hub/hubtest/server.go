package hubtest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"parley/store/proctest"
)

const (
	startTimeout = 60 * time.Second // for the first answer of /healthz: a loaded machine, a log to recover
	endTimeout   = 60 * time.Second // for an exit after SIGTERM: twice what a drain may take (section 7)
	startPoll    = 10 * time.Millisecond
	logTail      = 4 << 10 // bytes of the server's output shown when a test fails
)

// Server is a server process on a loopback port. Its methods are for the test's goroutine; those that only tell where
// it is (Addr, URL, WS) may be called from any.
type Server struct {
	t    testing.TB
	bin  string
	addr string
	args []string
	dir  string   // its working directory, so that a default --db lands in a temporary place
	log  *os.File // its standard output and error, over restarts

	cmd   *exec.Cmd
	ended chan struct{} // closed when the process of cmd was reaped
}

// Start runs the server with args and waits until /healthz answers. The process ends with the test at the latest; the
// test fails if it ended by itself before, panicked or raced, and then shows the end of its output.
func Start(t testing.TB, args ...string) *Server {
	t.Helper()
	s := &Server{t: t, bin: Build(t), addr: proctest.FreeAddr(t), args: args, dir: t.TempDir()}
	log, err := os.OpenFile(filepath.Join(s.dir, "output.log"), os.O_CREATE|os.O_RDWR|os.O_APPEND, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	s.log = log
	t.Cleanup(s.cleanup)
	if err := s.start(); err != nil {
		t.Fatalf("starting the server: %v", err)
	}
	return s
}

// Restart runs an ended server again, on the same address and with the same arguments.
func (s *Server) Restart() {
	s.t.Helper()
	if s.Running() {
		s.t.Fatal("Restart: the server is still running")
	}
	if err := s.start(); err != nil {
		s.t.Fatalf("restarting the server: %v", err)
	}
}

func (s *Server) start() error {
	cmd := exec.Command(s.bin, append([]string{"--addr", s.addr}, s.args...)...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = s.dir, s.log, s.log
	if err := cmd.Start(); err != nil {
		return err
	}
	ended := make(chan struct{})
	go func() {
		cmd.Wait()
		close(ended)
	}()
	s.cmd, s.ended = cmd, ended
	return s.awaitHealth()
}

func (s *Server) awaitHealth() error {
	ctx, cancel := context.WithTimeout(context.Background(), startTimeout)
	defer cancel()
	tick := time.NewTicker(startPoll)
	defer tick.Stop()
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	for {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.URL()+"/healthz", nil)
		if err != nil {
			return err
		}
		resp, err := client.Do(req)
		if err == nil {
			resp.Body.Close()
			if resp.StatusCode == http.StatusOK {
				return nil
			}
			err = errors.New(resp.Status)
		}
		select {
		case <-tick.C:
		case <-s.ended:
			return fmt.Errorf("it ended at once: %v\n%s", s.cmd.ProcessState, s.Output())
		case <-ctx.Done():
			return fmt.Errorf("/healthz did not answer within %v: %w\n%s", startTimeout, err, s.Output())
		}
	}
}

// Kill ends the process with SIGKILL, as a crash or the kernel's memory killer would, and waits until it is gone.
func (s *Server) Kill() {
	s.t.Helper()
	if !s.Running() {
		s.t.Fatalf("Kill: the server has ended: %v", s.cmd.ProcessState)
	}
	s.cmd.Process.Kill()
	<-s.ended
}

// Terminate asks the process to end with SIGTERM, which drains it (section 7), and returns its exit code and how long
// it took. A server that does not end is killed and fails the test.
func (s *Server) Terminate() (exitCode int, took time.Duration) {
	s.t.Helper()
	if !s.Running() {
		s.t.Fatalf("Terminate: the server has ended: %v", s.cmd.ProcessState)
	}
	begin := time.Now()
	s.Signal(syscall.SIGTERM)
	limit := time.NewTimer(endTimeout)
	defer limit.Stop()
	select {
	case <-s.ended:
		return s.cmd.ProcessState.ExitCode(), time.Since(begin)
	case <-limit.C:
		s.Kill()
		s.t.Fatalf("Terminate: the server was still running %v after SIGTERM", endTimeout)
		return -1, time.Since(begin)
	}
}

// Signal sends sig to the process; with SIGKILL or SIGTERM use Kill or Terminate, which wait for its end.
func (s *Server) Signal(sig os.Signal) {
	s.t.Helper()
	if err := s.cmd.Process.Signal(sig); err != nil {
		s.t.Fatalf("signalling the server: %v", err)
	}
}

// Running tells whether the process has not ended yet.
func (s *Server) Running() bool {
	select {
	case <-s.ended:
		return false
	default:
		return true
	}
}

// Addr is where it listens, host:port. It stays the same over restarts.
func (s *Server) Addr() string { return s.addr }

// URL is the page's address without a slash at the end: http://host:port.
func (s *Server) URL() string { return "http://" + s.addr }

// WS is the address of its WebSocket endpoint.
func (s *Server) WS() string { return "ws://" + s.addr + "/ws" }

// PID is the process's id.
func (s *Server) PID() int { return s.cmd.Process.Pid }

// RSS is the memory that the process has resident, in bytes, read from /proc (Linux).
func (s *Server) RSS() int64 {
	s.t.Helper()
	statm, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", s.PID()))
	if err != nil {
		s.t.Fatalf("reading the server's memory: %v", err)
	}
	fields := strings.Fields(string(statm)) // proc(5): size resident shared …, in pages
	pages, err := strconv.ParseInt(fields[1], 10, 64)
	if err != nil {
		s.t.Fatalf("reading the server's memory: %v", err)
	}
	return pages * int64(os.Getpagesize())
}

// Output is what the server has written to its standard output and error since Start, over restarts.
func (s *Server) Output() string {
	out, err := os.ReadFile(s.log.Name())
	if err != nil {
		return err.Error()
	}
	return string(out)
}

func (s *Server) cleanup() {
	if s.cmd != nil && s.Running() {
		s.Kill()
	} else if s.cmd != nil && s.cmd.ProcessState.ExitCode() > 0 {
		s.t.Errorf("the server ended with %v", s.cmd.ProcessState)
	}
	s.log.Sync()
	out := []byte(s.Output())
	s.log.Close()
	for _, sign := range []string{"WARNING: DATA RACE", "panic: ", "fatal error: "} {
		if at := bytes.Index(out, []byte(sign)); at >= 0 {
			s.t.Errorf("in the server's output:\n%s", out[at:min(len(out), at+logTail)])
		}
	}
	if s.t.Failed() && len(out) > 0 {
		s.t.Logf("the server's output ends:\n%s", out[max(0, len(out)-logTail):])
	}
}
