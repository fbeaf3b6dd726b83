package cluster

import (
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"parley/hub"
	"parley/hub/hubtest"
	"parley/store/natstest"
	"parley/store/proctest"
)

// A moderator on one node removes somebody on another, whose connection is told why; everybody else sees them leave.
func TestKickElsewhere(t *testing.T) {
	secret := strings.Repeat("s", hub.MinTokenSecret)
	s := nodes(t, 2, "--token-secret", secret)
	with := func(node *hubtest.Server, name, role string) (*hubtest.Client, hubtest.LoginAck) {
		token, err := hub.MakeToken(secret, hub.Claims{
			Name: name, Rooms: []string{"hall"}, Role: role,
			RegisteredClaims: jwt.RegisteredClaims{Subject: name, ExpiresAt: jwt.NewNumericDate(time.Now().Add(time.Hour))},
		})
		if err != nil {
			t.Fatal(err)
		}
		c := hubtest.Dial(t, node.WS())
		return c, c.Login(hubtest.Login{Name: name, Room: "hall", Token: token, Session: session(name)})
	}
	mo, _ := with(s[0], "Mo", "moderator")
	ann, _ := with(s[1], "Ann", "")
	far, ack := with(s[1], "Far", "")
	awaitUsers(t, mo, "Mo", "Ann", "Far")
	mo.Ask("kick", map[string]string{"id": ack.User.ID, "reason": "spam"}, nil)
	if code, reason := far.Ended(); code != 4503 || reason != "spam" {
		t.Errorf("closed with %d %q", code, reason)
	}
	for _, c := range []*hubtest.Client{mo, ann} {
		until(t, c, "notification", func(n hubtest.Notification) bool { return n.Kind == "left" && n.User.Name == "Far" })
		awaitUsers(t, c, "Mo", "Ann")
	}
}

// removeRoom removes a room by the admin address of a server.
func removeRoom(t *testing.T, admin, room string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodDelete, "http://"+admin+"/rooms/"+room, nil)
	if err != nil {
		t.Fatal(err)
	}
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusNoContent {
		t.Fatal(resp.Status)
	}
}

// An operator removes a room on one node: it is gone on all of them, with its members, messages, keys and lock.
func TestRemovedRoom(t *testing.T) {
	url, private := natstest.Server(t, t.TempDir()), proctest.FreeAddr(t)
	a := hubtest.Start(t, "--nats", url, "--admin", private)
	b := hubtest.Start(t, "--nats", url)
	key := "the access key of the room"
	ann := hubtest.Dial(t, b.WS())
	first := ann.Login(hubtest.Login{Name: "Ann", Room: "hall", Access: key})
	said := ann.RoomMessage("forget this", "key-of-the-message")

	removeRoom(t, private, "hall")
	if code, _ := ann.Ended(); code != 4503 {
		t.Errorf("closed with %d", code)
	}
	for i, s := range []*hubtest.Server{b, a} {
		bob := hubtest.Dial(t, s.WS())
		ack := bob.Login(hubtest.Login{Name: "Bob", Room: "hall", Since: new(said.Seq - 1), Epoch: first.Epoch})
		if ack.Locked || ack.Gap == nil || ack.Gap.Reason != "expired" || slices.ContainsFunc(ack.Messages, func(m hubtest.Message) bool { return m.Seq <= said.Seq }) {
			t.Errorf("server %d: %+v, gap %+v", i, ack, ack.Gap)
		}
		if i == 0 {
			bob.Ask("logout", nil, nil)
			bob.Login(hubtest.Login{Name: "Ann", Room: "hall"})
			if again := bob.RoomMessage("something else", "key-of-the-message"); again.Duplicate {
				t.Errorf("the key holds: %+v", again)
			}
		}
		bob.Ask("logout", nil, nil)
	}
}

// A room whose members are on several nodes is large by all of them together.
func TestLargeRoom(t *testing.T) {
	s := nodes(t, 2, "--users-limit", "3")
	var here []*hubtest.Client
	for i, name := range []string{"Ann", "Bob", "Cid", "Dan", "Eve"} {
		c, ack := enter(t, s[i%2], name)
		if ack.Count != i+1 {
			t.Errorf("%s finds %d", name, ack.Count)
		}
		here = append(here, c)
	}
	for _, c := range here {
		until(t, c, "presence", func(p hubtest.Presence) bool { return p.Count == 5 })
		c.Fence()
		c.Unread()
	}
	here[0].Ask("typing", map[string]bool{"typing": true}, nil) // goes to nobody
	for _, c := range here[3:] {
		c.Ask("logout", nil, nil)
	}
	for _, c := range here[:3] {
		awaitUsers(t, c, "Ann", "Bob", "Cid")
		c.Fence()
		for _, f := range c.Unread() {
			if f.Event == "typing" {
				t.Errorf("told in a large room: %v", f)
			}
		}
	}
}
