// Package cluster tests several nodes that are one chat: the real server, on real NATS servers.
package cluster

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"go.uber.org/goleak"

	"parley/hub/hubtest"
	"parley/store/natstest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// What tests wait for is short, but no shorter than a busy machine may pause; a test that does not wait for the lease to
// run out has the default one.
const (
	lease = 5 * time.Second
	grace = 4 * time.Second
)

// nodes starts servers on one NATS server.
func nodes(t *testing.T, n int, args ...string) []*hubtest.Server {
	t.Helper()
	url := natstest.Server(t, t.TempDir())
	args = append([]string{"--nats", url, "--grace", grace.String()}, args...)
	servers := make([]*hubtest.Server, n)
	for i := range servers {
		servers[i] = hubtest.Start(t, args...)
	}
	return servers
}

func session(name string) string { return "the session of " + name }

func enter(t testing.TB, s *hubtest.Server, name string) (*hubtest.Client, hubtest.LoginAck) {
	t.Helper()
	c := hubtest.Dial(t, s.WS())
	return c, c.Login(hubtest.Login{Name: name, Room: "hall", Session: session(name)})
}

func names(users []hubtest.User) (all []string) {
	for _, u := range users {
		all = append(all, u.Name)
	}
	return all
}

// until reads events of one kind until one is as wanted.
func until[T any](t *testing.T, c *hubtest.Client, event string, good func(T) bool) T {
	t.Helper()
	for {
		var v T
		c.Expect(event, &v)
		if good(v) {
			return v
		}
	}
}

func awaitUsers(t *testing.T, c *hubtest.Client, want ...string) {
	t.Helper()
	until(t, c, "users", func(users []hubtest.User) bool { return slices.Equal(names(users), want) })
}

// Two people on two nodes are in one room: they see each other, type, and talk in one order.
func TestOneRoom(t *testing.T) {
	s := nodes(t, 2)
	ann, _ := enter(t, s[0], "Ann")
	bob, ack := enter(t, s[1], "Bob")
	if !slices.Equal(names(ack.Users), []string{"Ann", "Bob"}) || ack.Count != 2 {
		t.Errorf("Bob finds %v, count %d", ack.Users, ack.Count)
	}
	until(t, ann, "notification", func(n hubtest.Notification) bool { return n.Kind == "joined" && n.User.Name == "Bob" })
	awaitUsers(t, ann, "Ann", "Bob")

	hubtest.Dial(t, s[1].WS()).Refused("login", hubtest.Login{Name: "ann", Room: "hall"}, "name_taken")

	bob.Ask("typing", map[string]bool{"typing": true}, nil)
	var typing struct{ From string }
	if ann.Expect("typing", &typing); typing.From != "Bob" {
		t.Errorf("%q types", typing.From)
	}
	for i := range 20 {
		speaker, hearer := ann, bob
		if i%2 == 1 {
			speaker, hearer = bob, ann
		}
		stored := speaker.RoomMessage(fmt.Sprint(i), fmt.Sprintf("key-of-message-%d", i))
		var m hubtest.Message
		if hearer.Expect("roomMessage", &m); m.Seq != stored.Seq || m.Message != fmt.Sprint(i) {
			t.Fatalf("message %d at %d: heard %q at %d", i, stored.Seq, m.Message, m.Seq)
		}
		speaker.Expect("roomMessage", nil)
	}
	again := bob.RoomMessage("19", "key-of-message-19")
	if !again.Duplicate || again.Durability != "disk" {
		t.Errorf("the same again: %+v", again)
	}
	ann.Ask("logout", nil, nil)
	until(t, bob, "notification", func(n hubtest.Notification) bool { return n.Kind == "left" && n.User.Name == "Ann" })
	awaitUsers(t, bob, "Bob")
}

// A session comes back on another node: it is the same user, the old connection ends with 4501, and nothing that
// was said is missing.
func TestTakeOver(t *testing.T) {
	t.Parallel()
	s := nodes(t, 2)
	ann, first := enter(t, s[0], "Ann")
	bob, _ := enter(t, s[1], "Bob")
	seen := ann.RoomMessage("one", "").Seq
	missed := bob.RoomMessage("two", "").Seq
	back := hubtest.Dial(t, s[1].WS())
	ack := back.Login(hubtest.Login{Name: "Ann", Room: "hall", Session: session("Ann"), Since: &seen, Epoch: first.Epoch})
	if !ack.Resumed || ack.User.ID != first.User.ID || !*ack.Recovered || len(ack.Messages) != 1 || ack.Messages[0].Seq != missed {
		t.Errorf("back as %+v", ack)
	}
	if code, _ := ann.Ended(); code != 4501 {
		t.Errorf("the old connection ended with %d", code)
	}
	// And again, after a broken connection, within the grace.
	back.Drop()
	again, ack := enter(t, s[0], "Ann")
	if !ack.Resumed || ack.User.ID != first.User.ID {
		t.Errorf("back again as %+v", ack)
	}
	again.Drop()
	until(t, bob, "notification", func(n hubtest.Notification) bool { return n.Kind == "left" })
	for _, f := range bob.Unread() {
		var n hubtest.Notification
		if f.Event == "notification" && (f.Decode(&n) != nil || n.Kind == "left") {
			t.Errorf("told more than once: %v", f)
		}
	}
}

// One lock for all nodes, which goes with the last member.
func TestLock(t *testing.T) {
	s := nodes(t, 2)
	key := "the access key of the room"
	ann := hubtest.Dial(t, s[0].WS())
	ann.Login(hubtest.Login{Name: "Ann", Room: "vault", Access: key})
	bob := hubtest.Dial(t, s[1].WS())
	bob.Refused("login", hubtest.Login{Name: "Bob", Room: "vault"}, "wrong_key")
	if ack := bob.Login(hubtest.Login{Name: "Bob", Room: "vault", Access: key}); !ack.Locked {
		t.Error("Bob is not told of the lock")
	}
	bob.Ask("logout", nil, nil)
	ann.Ask("logout", nil, nil)
	deadline := time.After(time.Minute)
	for { // a room is forgotten when its node comes to it
		f := bob.Request("login", hubtest.Login{Name: "Bob", Room: "vault"})
		if f.Refusal() == nil {
			return
		}
		select {
		case <-deadline:
			t.Fatalf("the lock is still there: %v", f)
		default:
		}
	}
}

// A node dies: its users leave everywhere, once, after the lease and the grace, and but for them nothing happens.
func TestNodeDies(t *testing.T) {
	t.Parallel()
	s := nodes(t, 3, "--nats-lease", lease.String())
	ann, _ := enter(t, s[0], "Ann")
	_, first := enter(t, s[1], "Bob")
	enter(t, s[1], "Cid")
	dan, _ := enter(t, s[2], "Dan")
	awaitUsers(t, ann, "Ann", "Bob", "Cid", "Dan")
	s[1].Kill()
	begin := time.Now()
	ann.RoomMessage("still here", "")
	dan.Expect("roomMessage", nil)
	back := hubtest.Dial(t, s[2].WS())
	if ack := back.Login(hubtest.Login{Name: "Bob", Room: "hall", Session: session("Bob")}); !ack.Resumed || ack.User.ID != first.User.ID {
		t.Errorf("Bob comes back as %+v", ack)
	}
	for _, c := range []*hubtest.Client{ann, dan} {
		until(t, c, "notification", func(n hubtest.Notification) bool { return n.Kind == "left" && n.User.Name == "Cid" })
		awaitUsers(t, c, "Ann", "Bob", "Dan")
	}
	t.Logf("the dead node's user left after %v", time.Since(begin).Round(time.Millisecond))
	for _, c := range []*hubtest.Client{ann, dan} {
		for _, f := range c.Unread() {
			if f.Event == "notification" {
				t.Errorf("told of more: %v", f)
			}
		}
	}
}

// A roll of all nodes: everybody moves, nobody leaves.
func TestRoll(t *testing.T) {
	s := nodes(t, 2, "--grace", "10m")
	ann, _ := enter(t, s[0], "Ann")
	bob, first := enter(t, s[1], "Bob")
	accepted := bob.Begin("roomMessage", hubtest.Post{Message: "last words", Key: "key-of-last-words"})
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		bob.Expect("goodbye", nil)
		if code, _ := bob.Ended(); code != 1012 {
			t.Errorf("Bob was closed with %d", code)
		}
	}()
	if code, took := s[1].Terminate(); code != 0 || took > 30*time.Second {
		t.Errorf("exit code %d after %v", code, took)
	}
	<-ended
	if f := bob.Answer(accepted); f.Refusal() != nil {
		t.Errorf("what was accepted: %v", f)
	}
	if _, ack := enter(t, s[0], "Bob"); !ack.Resumed || ack.User.ID != first.User.ID {
		t.Errorf("Bob moved, and is %+v", ack)
	}
	s[1].Restart()
	enter(t, s[1], "Cid")
	awaitUsers(t, ann, "Ann", "Bob", "Cid")
	for _, f := range ann.Unread() {
		var n hubtest.Notification
		if f.Event == "notification" && (f.Decode(&n) != nil || n.Kind == "left") {
			t.Errorf("somebody left: %v", f)
		}
	}
}
