package deploy_test

import (
	"bufio"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"parley/deploy/deploytest"
	"parley/hub/hubtest"
	"parley/store/natstest"
	"parley/store/proctest"
)

// TestCluster starts what `make cluster` starts: two people on different nodes chat, a node dies, both go on.
func TestCluster(t *testing.T) {
	port := proctest.FreePorts(t, 24)[0] // and what the script counts from it
	cmd := exec.Command("./cluster/run.sh", hubtest.Build(t), natstest.Build(t), port)
	dir := t.TempDir()
	cmd.Env = append(os.Environ(), "TMPDIR="+dir)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		logs, _ := filepath.Glob(filepath.Join(dir, "*", "node*.log"))
		for _, log := range logs {
			if out, err := os.ReadFile(log); err == nil && t.Failed() {
				t.Logf("%s:\n%s", filepath.Base(log), out)
			}
		}
		cmd.Process.Signal(syscall.SIGTERM)
		cmd.Wait()
	}()
	nodes := make(map[string]int) // port → process id
	up := false
	for lines := bufio.NewScanner(out); !up && lines.Scan(); {
		var i, pid int
		var at string
		if n, _ := fmt.Sscanf(strings.ReplaceAll(lines.Text(), ",", " "), "node %d is process %d on port %s", &i, &pid, &at); n == 3 {
			nodes[at] = pid
		}
		up = strings.HasPrefix(lines.Text(), "The cluster is up")
	}
	if !up || len(nodes) != 3 {
		t.Fatalf("it did not start; nodes %v", nodes)
	}
	base, err := strconv.Atoi(port)
	if err != nil {
		t.Fatal(err)
	}
	node := func(i int) string { return strconv.Itoa(base + i) }
	login := func(name string, since *int64) hubtest.Login {
		return hubtest.Login{Name: name, Room: "hall", Session: "the session of " + name, Since: since}
	}
	ann := hubtest.Dial(t, "ws://127.0.0.1:"+node(1)+"/ws")
	first := ann.Login(login("Ann", nil))
	bob := hubtest.Dial(t, "ws://127.0.0.1:"+node(2)+"/ws")
	bob.Login(login("Bob", nil))
	stored := ann.RoomMessage("hello", "")
	if bob.Expect("roomMessage", nil); stored.Durability != "replicated" {
		t.Errorf("durability %q", stored.Durability)
	}

	if err := syscall.Kill(nodes[node(1)], syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	ann.Ended()
	said := bob.RoomMessage("is anybody there?", "")
	again := hubtest.Dial(t, "ws://127.0.0.1:"+port+"/ws") // through nginx, to one that lives
	ack := again.Login(login("Ann", &stored.Seq))
	if !ack.Resumed || ack.User.ID != first.User.ID || len(ack.Messages) != 1 || ack.Messages[0].Seq != said.Seq {
		t.Errorf("Ann comes back as %+v", ack)
	}
	again.RoomMessage("yes", "")
	bob.Expect("roomMessage", nil)
	bob.Expect("roomMessage", nil)

	cmd.Process.Signal(syscall.SIGTERM)
	cmd.Wait()
	if left, err := filepath.Glob(filepath.Join(dir, "*")); err != nil || len(left) > 0 {
		t.Errorf("it leaves %v, %v", left, err)
	}
	for at, pid := range nodes {
		if err := syscall.Kill(pid, 0); err == nil {
			t.Errorf("the node on port %s lives on", at)
		}
	}
}

// It does not pass for up when it is not: a port is taken, or a part of it ends.
func TestClusterSaysWhatIsWrong(t *testing.T) {
	t.Parallel()
	first := proctest.FreePorts(t, 24)[0]
	base, err := strconv.Atoi(first)
	if err != nil {
		t.Fatal(err)
	}
	run := func(nats string) (string, error) {
		out, err := exec.CommandContext(t.Context(), "./cluster/run.sh", hubtest.Build(t), nats, first).CombinedOutput()
		return string(out), err
	}
	if out, err := run("/bin/false"); err == nil || !strings.Contains(out, "nats1.log") {
		t.Errorf("without NATS: %v\n%s", err, out)
	}
	taken, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(base+12)))
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	if out, err := run(natstest.Build(t)); err == nil || !strings.Contains(out, fmt.Sprintf("Something listens on port %d", base+12)) {
		t.Errorf("with a port that is taken: %v\n%s", err, out)
	}
}

// A node that is cut off from NATS for longer than its lease has the fewest clients: nginx gives it none all the same.
func TestNodeCutOff(t *testing.T) {
	t.Parallel()
	upstream, err := os.ReadFile("cluster/upstream.conf")
	if err != nil {
		t.Fatal(err)
	}
	alone, err := os.ReadFile("nginx.conf")
	if err != nil {
		t.Fatal(err)
	}
	url := natstest.Server(t, t.TempDir())
	link := hubtest.NewProxy(t, strings.TrimPrefix(url, "nats://"))
	cut := hubtest.Start(t, "--nats", "nats://"+link.Addr(), "--nats-lease", "5s")
	well := hubtest.Start(t, "--nats", url)
	nodes := strings.NewReplacer("node1.internal:8080 max_fails=1 fail_timeout=5s", "127.0.0.1:8080", "node2.internal:8080", well.Addr(),
		"    server node3.internal:8080 max_fails=1 fail_timeout=5s;\n", "").Replace(string(upstream))
	s := site{deploytest.StartSite(t, "nginx.conf", deploytest.SiteOptions{
		Server: cut.Addr(), Change: []string{regexp.MustCompile(`(?s) *upstream parley .*?\n    }\n`).FindString(string(alone)), nodes},
	})}
	enter := func(name string) *hubtest.Client {
		c := hubtest.Dial(t, s.socket("/"), s.from(t, "127.0.0.1"))
		c.Login(hubtest.Login{Name: name, Room: "hall"})
		return c
	}
	for i := range 4 {
		enter(fmt.Sprint("early ", i))
	}
	direct := hubtest.Dial(t, cut.WS())
	direct.Login(hubtest.Login{Name: "Ann", Room: "hall"})
	link.Refuse(true)
	link.Each(func(l *hubtest.Link) { l.Cut(true) })
	if code, _ := direct.Ended(); code != 1012 {
		t.Errorf("it closed its clients with %d", code)
	}
	for i := range 4 {
		enter(fmt.Sprint("late ", i)).RoomMessage("all is well", "")
	}
	// One who comes by another way is told.
	hubtest.Dial(t, cut.WS()).Refused("login", hubtest.Login{Name: "Bob", Room: "hall"}, "unavailable")
}
