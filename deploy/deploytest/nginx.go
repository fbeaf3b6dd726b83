package deploytest

import (
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

const (
	nginxPath = "/usr/sbin/nginx" // Debian's; it is not in everybody's PATH
	waitLimit = time.Minute
	waitPoll  = 10 * time.Millisecond
)

// Nginx is an nginx with its workers. Its methods are for the test's goroutine.
type Nginx struct {
	t     testing.TB
	dir   string
	cmd   *exec.Cmd
	ended chan struct{} // closed when the master was reaped
}

// StartNginx runs nginx with a whole configuration, in which {dir} stands for a directory of its own and {user} for
// who runs the test, and waits until it listens on addr. It ends with the test.
func StartNginx(t testing.TB, addr, conf string) *Nginx {
	t.Helper()
	if _, err := os.Stat(nginxPath); err != nil {
		t.Fatalf("the tests run a real nginx: install it (Debian: apt-get install nginx-light): %v", err)
	}
	who, err := user.Current()
	if err != nil {
		t.Fatal(err)
	}
	n := &Nginx{t: t, dir: t.TempDir(), ended: make(chan struct{})}
	conf = strings.NewReplacer("{dir}", n.dir, "{user}", who.Username).Replace(conf)
	file := filepath.Join(n.dir, "nginx.conf")
	if err := os.WriteFile(file, []byte(conf), 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := os.Create(n.output())
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	n.cmd = exec.Command(nginxPath, "-p", n.dir, "-e", "stderr", "-c", file, "-g", "daemon off;")
	n.cmd.Stdout, n.cmd.Stderr = out, out
	if err := n.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		n.cmd.Wait()
		close(n.ended)
	}()
	t.Cleanup(n.cleanup)
	n.await("listens on "+addr, func() bool {
		conn, err := net.Dial("tcp", addr)
		if err == nil {
			conn.Close()
		}
		return err == nil
	})
	return n
}

// Reload makes nginx read its configuration again: new workers take over what comes, and the old ones what is there.
func (n *Nginx) Reload() {
	n.t.Helper()
	if err := n.cmd.Process.Signal(syscall.SIGHUP); err != nil {
		n.t.Fatal(err)
	}
}

// Output is what nginx wrote to its standard error.
func (n *Nginx) Output() string {
	out, err := os.ReadFile(n.output())
	if err != nil {
		return err.Error()
	}
	return string(out)
}

func (n *Nginx) output() string { return filepath.Join(n.dir, "output.log") }

func (n *Nginx) await(what string, ready func() bool) {
	n.t.Helper()
	limit := time.NewTimer(waitLimit)
	defer limit.Stop()
	tick := time.NewTicker(waitPoll)
	defer tick.Stop()
	for !ready() {
		select {
		case <-tick.C:
		case <-n.ended:
			n.t.Fatalf("nginx ended before it %s: %v\n%s", what, n.cmd.ProcessState, n.Output())
		case <-limit.C:
			n.t.Fatalf("waited %v until nginx %s\n%s", waitLimit, what, n.Output())
		}
	}
}

// cleanup ends the master, which ends its workers before itself.
func (n *Nginx) cleanup() {
	n.cmd.Process.Signal(syscall.SIGTERM)
	limit := time.NewTimer(waitLimit)
	defer limit.Stop()
	select {
	case <-n.ended:
	case <-limit.C:
		n.cmd.Process.Kill()
		<-n.ended
		n.t.Errorf("nginx was still running %v after SIGTERM", waitLimit)
	}
	if n.t.Failed() {
		n.t.Logf("nginx wrote:\n%s", n.Output())
	}
}
