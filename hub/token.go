package hub

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/MicahParks/jwkset"
	"github.com/MicahParks/keyfunc/v3"
	"github.com/golang-jwt/jwt/v5"
	"golang.org/x/time/rate"

	"parley/protocol"
)

// Tokens checks the JSON Web Tokens (RFC 7519) of logins. The algorithms are
// pinned by the kind of key: HS256 for a shared secret; RS256, ES256, their longer
// kin and EdDSA for a key set (RFC 7517). The clocks may differ by 30 seconds.
type Tokens struct {
	keys   jwt.Keyfunc
	parser *jwt.Parser
	set    jwkset.Storage // nil for a shared secret
}

// Claims are what a token says (PROTOCOL.md section 3, tokens).
type Claims struct {
	jwt.RegisteredClaims
	Name  string   `json:"name"`           // fixes the user's name
	Rooms []string `json:"rooms"`          // exact names, or prefixes that end in *
	Role  string   `json:"role,omitempty"` // RoleModerator or nothing
}

// Validate refuses what nobody could log in with. The parser asks it too.
func (c *Claims) Validate() error {
	name := protocol.PrepareName(c.Name)
	_, err := protocol.Nickname(name)
	switch {
	case c.Subject == "":
		return errors.New("sub must not be empty")
	case err != nil || !protocol.IsName(name):
		return fmt.Errorf("name must be 1 to %d characters, such as RFC 8266 allows", protocol.MaxName)
	}
	return nil
}

// RoleModerator is the role of a token whose holder may kick.
const RoleModerator = "moderator"

// MinTokenSecret is how long a secret must be at the least, in bytes: as long as
// the hash of HS256 (RFC 7518 section 3.2).
const MinTokenSecret = 32

const clockSkew = 30 * time.Second

func newTokens(keys jwt.Keyfunc, algorithms ...string) *Tokens {
	return &Tokens{keys: keys, parser: jwt.NewParser(
		jwt.WithValidMethods(algorithms), jwt.WithLeeway(clockSkew), jwt.WithExpirationRequired())}
}

// SecretTokens checks tokens that were signed with a shared secret.
func SecretTokens(secret string) (*Tokens, error) {
	if len(secret) < MinTokenSecret {
		return nil, fmt.Errorf("the secret must be %d bytes long at the least", MinTokenSecret)
	}
	key := []byte(secret)
	return newTokens(func(*jwt.Token) (any, error) { return key, nil }, "HS256"), nil
}

// A key set is read again every hour, and for a key that is not in it: at most so
// often, and the login waits at most so long.
const (
	keysAnew     = 10 * time.Second
	keysPatience = 5 * time.Second
)

// KeySetTokens checks tokens against a JSON Web Key Set, from a file or from an
// http or https URL, which is read again as above, until ctx ends. A file must be
// good at the start; an address may answer later.
func KeySetTokens(ctx context.Context, source string, logger *slog.Logger) (*Tokens, error) {
	override := keyfunc.Override{
		HTTPTimeout:       keysPatience,
		RateLimitWaitMax:  keysPatience,
		RefreshUnknownKID: rate.NewLimiter(rate.Every(keysAnew), 1),
		RefreshErrorHandlerFunc: func(string) func(context.Context, error) {
			return func(_ context.Context, err error) {
				if u, ok := errors.AsType[*url.Error](err); ok {
					err = u.Err // without the address, in which there may be a password
				}
				logger.Error("the key set cannot be read; what was read of it before counts", "error", err)
			}
		},
	}
	if !strings.HasPrefix(source, "https://") && !strings.HasPrefix(source, "http://") {
		if err := checkKeys(source); err != nil {
			return nil, fmt.Errorf("the key set cannot be read: %w", err)
		}
		// The library reads what has an address.
		files := new(http.Transport)
		files.RegisterProtocol("file", http.NewFileTransport(http.Dir(filepath.Dir(source))))
		override.Client = &http.Client{Transport: files}
		source = (&url.URL{Scheme: "file", Path: "/" + filepath.Base(source)}).String()
	}
	keys, err := keyfunc.NewDefaultOverrideCtx(ctx, []string{source}, override)
	if err != nil {
		return nil, fmt.Errorf("the key set cannot be read: %w", err)
	}
	t := newTokens(keys.Keyfunc, "RS256", "RS384", "RS512", "ES256", "ES384", "ES512", "EdDSA")
	t.set = keys.Storage()
	return t, nil
}

func checkKeys(file string) error {
	text, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	keys, err := keyfunc.NewJWKSetJSON(text)
	if err != nil {
		return err
	}
	if all, err := keys.Storage().KeyReadAll(context.Background()); err != nil || len(all) == 0 {
		return errors.Join(errors.New("there is no key in it"), err)
	}
	return nil
}

// grant is what a good token allows.
type grant struct {
	name      string // prepared
	nick      string
	rooms     []string
	expires   time.Time // with the skew of the clocks added
	moderator bool
}

// errNoToken: the login came without one.
var errNoToken = errors.New("there is none")

// errNoKeys: no token can be told to be good or bad, since the key set was never read.
var errNoKeys = errors.New("hub: no key set yet")

// check verifies a token. It may block, when a key must be fetched; the hub's
// goroutine never calls it.
func (t *Tokens) check(token string) (*grant, error) {
	if token == "" {
		return nil, errNoToken
	}
	var c Claims
	parsed, err := t.parser.ParseWithClaims(token, &c, t.keys)
	if (errors.Is(err, jwt.ErrTokenSignatureInvalid) || errors.Is(err, jwt.ErrTokenUnverifiable)) && t.readAgain(parsed) {
		c = Claims{}
		_, err = t.parser.ParseWithClaims(token, &c, t.keys)
	}
	if err != nil {
		if t.empty() {
			err = errNoKeys
		}
		return nil, err
	}
	name := protocol.PrepareName(c.Name)
	nick, err := protocol.Nickname(name)
	if err != nil {
		return nil, err
	}
	return &grant{
		name: name, nick: nick, rooms: c.Rooms,
		expires:   c.ExpiresAt.Add(clockSkew),
		moderator: c.Role == RoleModerator,
	}, nil
}

// readAgain has the set read again for a token whose key was not found and that names
// none, and reports whether it is one: for a name that it does not know the library
// has done so already.
func (t *Tokens) readAgain(token *jwt.Token) bool {
	if t.set == nil || token == nil || token.Header["kid"] != nil {
		return false
	}
	const nobody = "\x00" // the name of no key
	_, _ = t.set.KeyRead(context.Background(), nobody)
	return true
}

// empty reports whether there is a key set, and no key of it.
func (t *Tokens) empty() bool {
	if t.set == nil {
		return false
	}
	all, err := t.set.KeyReadAll(context.Background())
	return err == nil && len(all) == 0
}

// admit is what a login's token makes of it: the grant, nil when the token is not
// good, and the name that it fixes. Another name sent is invalid (section 3). Why a
// token is not good is for the operator who looks for it, and for nobody else.
func (t *Tokens) admit(login *protocol.Login, logger *slog.Logger) (*grant, *protocol.Error) {
	g, err := t.check(login.Token)
	if err != nil {
		logger.Debug("a login's token is not good", "error", err)
		if errors.Is(err, errNoKeys) {
			return nil, protocol.NewError(protocol.CodeUnavailable)
		}
		return nil, nil
	}
	if !g.opens(login.Room) { // which the hub refuses
		logger.Debug("a login's token is not good", "error", "its rooms do not have the one that was asked for")
	}
	if login.Name != "" && login.Name != g.name {
		return nil, protocol.Invalid(map[string]string{"name": "must be the token's name, or absent"})
	}
	login.Name, login.Nick = g.name, g.nick
	return g, nil
}

// opens reports whether the grant is for the room.
func (g *grant) opens(room string) bool {
	for _, r := range g.rooms {
		if prefix, ok := strings.CutSuffix(r, "*"); ok && strings.HasPrefix(room, prefix) || r == room {
			return true
		}
	}
	return false
}

// MakeToken signs a token with a shared secret, for trying out.
func MakeToken(secret string, c Claims) (string, error) {
	if len(secret) < MinTokenSecret {
		return "", fmt.Errorf("the secret must be %d bytes long at the least", MinTokenSecret)
	}
	return jwt.NewWithClaims(jwt.SigningMethodHS256, c).SignedString([]byte(secret))
}
