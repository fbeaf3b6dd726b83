package hub

import (
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"parley/protocol"
)

const testSecret = "0123456789abcdef0123456789abcdef"

func claims(name string, until time.Time, rooms ...string) Claims {
	c := Claims{Name: name, Rooms: rooms}
	c.Subject = "somebody"
	c.ExpiresAt = jwt.NewNumericDate(until)
	return c
}

func mustToken(t *testing.T, c Claims) string {
	t.Helper()
	token, err := MakeToken(testSecret, c)
	if err != nil {
		t.Fatal(err)
	}
	return token
}

// tokenStage is a stage that requires tokens, an hour ahead of nobody: its clock
// is the machine's, which the library reads.
func tokenStage(t *testing.T) *stage {
	t.Helper()
	tokens, err := SecretTokens(testSecret)
	if err != nil {
		t.Fatal(err)
	}
	s := newStage(Config{Tokens: tokens})
	s.h.now = time.Now()
	t.Cleanup(s.h.writers.close)
	return s
}

// say sends a frame and returns what its sender was sent for it.
func (s *stage) say(t *testing.T, name, frame string) string {
	t.Helper()
	p := s.clients[name].out.(*paper)
	p.lines = nil
	s.act(t, frame, []string{name, ">", frame})
	return strings.Join(p.lines, "\n")
}

func login(token, fields string) string {
	return fmt.Sprintf(`{"event":"login","data":{"token":%q,%s},"ackId":1}`, token, fields)
}

func TestTokens(t *testing.T) {
	hour := time.Now().Add(time.Hour)
	good := claims("Ann  Lee", hour, "lobby", "team-*")
	noSubject, noName, noExpiry := good, good, good
	noSubject.Subject, noName.Name, noExpiry.ExpiresAt = "", "", nil
	unsigned, err := jwt.NewWithClaims(jwt.SigningMethodNone, good).SignedString(jwt.UnsafeAllowNoneSignatureType)
	if err != nil {
		t.Fatal(err)
	}
	other, err := jwt.NewWithClaims(jwt.SigningMethodHS512, good).SignedString([]byte(testSecret))
	if err != nil {
		t.Fatal(err)
	}
	forged, err := jwt.NewWithClaims(jwt.SigningMethodHS256, good).SignedString([]byte("another secret of the same length"))
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct{ name, frame, want string }{
		{"good", login(mustToken(t, good), `"room":"lobby"`), `"user":{"id":"id2","name":"Ann Lee","room":"lobby"}`},
		{"good, with its name", login(mustToken(t, good), `"room":"lobby","name":" Ann Lee "`), `"name":"Ann Lee"`},
		{"a prefix", login(mustToken(t, good), `"room":"team-7"`), `"room":"team-7"`},
		{"late within the skew", login(mustToken(t, claims("Ann", time.Now().Add(-2*time.Second), "*")), `"room":"lobby"`), `"user":`},
		{"another name", login(mustToken(t, good), `"room":"lobby","name":"Bob"`), `"code":"invalid"`},
		{"another room", login(mustToken(t, good), `"room":"cellar"`), `"code":"unauthorized"`},
		{"no token", `{"event":"login","data":{"room":"lobby","name":"Ann"},"ackId":1}`, `"code":"unauthorized"`},
		{"no sense", login("a.b.c", `"room":"lobby"`), `"code":"unauthorized"`},
		{"expired", login(mustToken(t, claims("Ann", time.Now().Add(-time.Minute), "*")), `"room":"lobby"`), `"code":"unauthorized"`},
		{"no subject", login(mustToken(t, noSubject), `"room":"lobby"`), `"code":"unauthorized"`},
		{"no name", login(mustToken(t, noName), `"room":"lobby"`), `"code":"unauthorized"`},
		{"no expiry", login(mustToken(t, noExpiry), `"room":"lobby"`), `"code":"unauthorized"`},
		{"a name too long", login(mustToken(t, claims(strings.Repeat("n", 33), hour, "*")), `"room":"lobby"`), `"code":"unauthorized"`},
		{"unsigned", login(unsigned, `"room":"lobby"`), `"code":"unauthorized"`},
		{"another algorithm", login(other, `"room":"lobby"`), `"code":"unauthorized"`},
		{"forged", login(forged, `"room":"lobby"`), `"code":"unauthorized"`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := tokenStage(t)
			s.connect("ann")
			if welcome := s.clients["ann"].out.(*paper).lines[0]; !strings.Contains(welcome, `"auth":"token"`) {
				t.Error(welcome)
			}
			if got := s.say(t, "ann", tt.frame); !strings.Contains(got, tt.want) {
				t.Errorf("got %s, want %s", got, tt.want)
			}
		})
	}
}

// Whoever gave out tokens that do not work is told why, at the level debug.
func TestWhyATokenIsNotGood(t *testing.T) {
	tokens, err := SecretTokens(testSecret)
	if err != nil {
		t.Fatal(err)
	}
	hour := time.Now().Add(time.Hour)
	good := mustToken(t, claims("Ann", hour, "lobby", "team-*"))
	for _, tt := range []struct{ token, room, want string }{
		{good, "lobby", ""},
		{good, "team-7", ""},
		{good, "cellar", "rooms"},
		{mustToken(t, claims("Ann", hour)), "lobby", "rooms"},
		{"", "lobby", "there is none"},
		{mustToken(t, claims("Ann", time.Now().Add(-time.Minute), "*")), "lobby", "expired"},
	} {
		var logged strings.Builder
		logger := slog.New(slog.NewTextHandler(&logged, &slog.HandlerOptions{Level: slog.LevelDebug}))
		if _, err := tokens.admit(&protocol.Login{Token: tt.token, Room: tt.room}, logger); err != nil {
			t.Fatal(err)
		}
		if got := logged.String(); !strings.Contains(got, tt.want) || (tt.want == "") != (got == "") {
			t.Errorf("%s: logged %q, want %q", tt.room, got, tt.want)
		}
	}
}

func TestTokenExpiresUnlessRenewed(t *testing.T) {
	s := tokenStage(t)
	s.connect("ann")
	short := mustToken(t, claims("Ann", time.Now().Add(time.Minute), "*"))
	const rest = `"room":"lobby","session":"ann-session-0001"`
	s.say(t, "ann", login(short, rest))
	s.pass(45 * time.Second)
	if got := s.say(t, "ann", login("bad", rest)); !strings.Contains(got, `"code":"unauthorized"`) {
		t.Error("renewal with a bad token:", got)
	}
	long := mustToken(t, claims("Ann", time.Now().Add(10*time.Minute), "*"))
	if got := s.say(t, "ann", login(long, rest)); !strings.Contains(got, `"resumed":true`) || strings.Contains(got, "count") {
		t.Error("renewal:", got)
	}
	p := s.clients["ann"].out.(*paper)
	for range 18 {
		p.alive = true
		s.pass(30 * time.Second)
	}
	if p.closed {
		t.Error("closed in spite of the renewal:", p.lines)
	}
	s = tokenStage(t)
	short = mustToken(t, claims("Ann", time.Now().Add(time.Minute), "*"))
	s.connect("ann")
	s.say(t, "ann", login(short, rest))
	p = s.clients["ann"].out.(*paper)
	for range 8 {
		p.alive = true
		s.pass(10 * time.Second)
	}
	if p.closed {
		t.Fatal("closed before the token's time and the skew were over:", p.lines)
	}
	p.lines = nil
	s.pass(12 * time.Second)
	if got := strings.Join(p.lines, "\n"); !strings.Contains(got, "x 4401") {
		t.Error("expired:", got)
	}
	if s.h.rooms["lobby"].count != 1 {
		t.Error("no grace after 4401")
	}
}

func TestKick(t *testing.T) {
	s := tokenStage(t)
	moderator := claims("Mo", time.Now().Add(time.Hour), "*")
	moderator.Role = RoleModerator
	s.connect("mo")
	s.connect("ann")
	s.connect("far")
	s.say(t, "mo", login(mustToken(t, moderator), `"room":"lobby"`))
	s.say(t, "ann", login(mustToken(t, claims("Ann", time.Now().Add(time.Hour), "*")), `"room":"lobby","session":"ann-session-0001"`))
	s.say(t, "far", login(mustToken(t, claims("Far", time.Now().Add(time.Hour), "*")), `"room":"elsewhere"`))
	kick := func(who, id string) string {
		return s.say(t, who, fmt.Sprintf(`{"event":"kick","data":{"id":%q,"reason":"spam"},"ackId":7}`, id))
	}
	annID, farID, moID := s.clients["ann"].member.ID, s.clients["far"].member.ID, s.clients["mo"].member.ID
	if got := kick("ann", moID); !strings.Contains(got, `"code":"forbidden"`) {
		t.Error("no moderator:", got)
	}
	if got := kick("mo", farID); !strings.Contains(got, `"code":"no_such_user"`) {
		t.Error("another room:", got)
	}
	out := s.clients["ann"].out.(*paper)
	out.lines = nil
	if got := kick("mo", annID); !strings.Contains(got, `"kind":"left"`) || !strings.HasSuffix(got, `{"event":"ack","ackId":7,"data":{}}`) {
		t.Error("kick:", got)
	}
	if got := strings.Join(out.lines, "\n"); got != "x 4503 spam" {
		t.Error("the one concerned:", got)
	}
	if s.h.rooms["lobby"].count != 1 {
		t.Error("grace after a kick")
	}
}
