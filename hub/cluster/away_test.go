package cluster

import (
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"parley/hub/hubtest"
	"parley/store/natstest"
	"parley/store/proctest"
)

// behind is a server that reaches NATS through a proxy.
type behind struct {
	*hubtest.Server
	link  *hubtest.Proxy
	admin string
}

// cut takes NATS away, or gives it back.
func (b *behind) cut(away bool) {
	b.link.Refuse(away)
	if away {
		b.link.Each(func(l *hubtest.Link) { l.Cut(true) })
	}
}

func (b *behind) readiness(t *testing.T) int {
	t.Helper()
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Get("http://" + b.admin + "/readyz")
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	return resp.StatusCode
}

func (b *behind) awaitReadiness(t *testing.T, code int) {
	t.Helper()
	deadline := time.NewTimer(time.Minute)
	defer deadline.Stop()
	again := time.NewTicker(20 * time.Millisecond)
	defer again.Stop()
	for b.readiness(t) != code {
		select {
		case <-again.C:
		case <-deadline.C:
			t.Fatalf("/readyz is not %d", code)
		}
	}
}

// twoBehind starts two servers; the first is behind a proxy of its own. Unless args say otherwise, no lease and no grace
// period ends while a test runs.
func twoBehind(t *testing.T, args ...string) (*behind, *hubtest.Server) {
	t.Helper()
	url := natstest.Server(t, t.TempDir())
	link := hubtest.NewProxy(t, strings.TrimPrefix(url, "nats://"))
	flags := append([]string{"--grace", "10m", "--nats-lease", "10m"}, append(args, "--nats")...)
	b := &behind{link: link, admin: proctest.FreeAddr(t)}
	b.Server = hubtest.Start(t, append([]string{"--admin", b.admin}, append(flags, "nats://"+link.Addr())...)...)
	return b, hubtest.Start(t, append(flags, url)...)
}

// NATS is away for less than the lease: the connections stay, what needs the log is unavailable, and then all goes
// on, with what was said meanwhile.
func TestAwayForAMoment(t *testing.T) {
	a, b := twoBehind(t)
	ann, _ := enter(t, a.Server, "Ann")
	bob, _ := enter(t, b, "Bob")
	a.awaitReadiness(t, http.StatusOK)
	a.cut(true)
	a.awaitReadiness(t, http.StatusServiceUnavailable)
	ann.Refused("roomMessage", hubtest.Post{Message: "x", Key: "key-of-the-message"}, "unavailable")
	hubtest.Dial(t, a.WS()).Refused("login", hubtest.Login{Name: "Cid", Room: "hall"}, "unavailable")
	ann.Fence()
	meanwhile := bob.RoomMessage("meanwhile", "").Seq
	a.cut(false)
	a.awaitReadiness(t, http.StatusOK)
	var m hubtest.Message
	if ann.Expect("roomMessage", &m); m.Seq != meanwhile {
		t.Errorf("seq %d, want %d", m.Seq, meanwhile)
	}
	ann.RoomMessage("x", "key-of-the-message")
}

// A server that was away lists those who came meanwhile in their order of arrival, though it hears first of the one
// whose record was written first.
func TestOrderOfArrivalAfterAway(t *testing.T) {
	a, b := twoBehind(t)
	ann, _ := enter(t, a.Server, "Ann")
	a.awaitReadiness(t, http.StatusOK)
	a.cut(true)
	a.awaitReadiness(t, http.StatusServiceUnavailable)
	bob, _ := enter(t, b, "Bob")
	enter(t, b, "Cid")
	bob.Drop()
	enter(t, b, "Bob") // is written again
	a.cut(false)
	page := until(t, ann, "users", func(users []hubtest.User) bool { return len(users) == 3 })
	if !slices.Equal(names(page), []string{"Ann", "Bob", "Cid"}) {
		t.Errorf("Ann is told of %v", names(page))
	}
}

// NATS is away for longer: who is logged in is sent away, and comes back, here or elsewhere.
func TestAwayForLong(t *testing.T) {
	t.Parallel()
	a, b := twoBehind(t, "--nats-lease", lease.String(), "--grace", grace.String())
	ann, first := enter(t, a.Server, "Ann")
	bob, _ := enter(t, b, "Bob")
	guest := hubtest.Dial(t, a.WS())
	seen := ann.RoomMessage("before", "").Seq
	a.cut(true)
	if code, _ := ann.Ended(); code != 1012 {
		t.Errorf("Ann was closed with %d", code)
	}
	guest.Fence() // is not logged in, and stays
	until(t, bob, "notification", func(n hubtest.Notification) bool { return n.Kind == "left" && n.User.Name == "Ann" })
	missed := bob.RoomMessage("while away", "").Seq
	a.cut(false)
	a.awaitReadiness(t, http.StatusOK)
	back := hubtest.Dial(t, a.WS())
	ack := back.Login(hubtest.Login{Name: "Ann", Room: "hall", Session: session("Ann"), Since: &seen, Epoch: first.Epoch})
	if ack.Resumed || !*ack.Recovered || len(ack.Messages) != 1 || ack.Messages[0].Seq != missed || ack.Count != 2 {
		t.Errorf("Ann comes back as %+v", ack)
	}
	awaitUsers(t, bob, "Bob", "Ann")
	back.RoomMessage("all is well", "")
}

// Started before NATS is there the server says so, and begins when it is.
func TestStartsBeforeNATS(t *testing.T) {
	url := natstest.Server(t, t.TempDir())
	nobody, err := net.Listen("tcp", "127.0.0.1:0") // whom the first attempt comes to
	if err != nil {
		t.Fatal(err)
	}
	defer nobody.Close()
	go func() {
		if conn, err := nobody.Accept(); err == nil {
			conn.Close()
		}
	}()
	link := hubtest.NewProxy(t, strings.TrimPrefix(url, "nats://"), nobody.Addr().String())
	s := hubtest.Start(t, "--nats", "nats://"+link.Addr())
	if out := s.Output(); strings.Count(out, "waiting for NATS") != 1 {
		t.Errorf("it said %s", out)
	}
	enter(t, s, "Ann")
}

// A login that waits for NATS when its connection breaks is not carried out afterwards: its user is elsewhere by then.
func TestGivenUpLogin(t *testing.T) {
	a, b := twoBehind(t)
	enter(t, a.Server, "Cid") // so that the room is there
	a.awaitReadiness(t, http.StatusOK)
	a.link.Each(func(l *hubtest.Link) { l.Freeze(hubtest.Both) })
	stuck := hubtest.Dial(t, a.WS())
	stuck.Begin("login", hubtest.Login{Name: "Ann", Room: "hall", Session: session("Ann")})
	hubtest.Dial(t, a.WS()).Fence() // so the hub has had time to be given it
	ann, _ := enter(t, b, "Ann")
	stuck.Drop()
	a.link.Each(func(l *hubtest.Link) { l.Thaw(hubtest.Both) })
	a.awaitReadiness(t, http.StatusOK)
	enter(t, a.Server, "Dan")
	until(t, ann, "notification", func(n hubtest.Notification) bool { return n.User.Name == "Dan" })
	ann.RoomMessage("still here", "")
	ann.Fence()
}
