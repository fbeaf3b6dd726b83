package hub

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/MicahParks/jwkset"
	"github.com/golang-jwt/jwt/v5"

	"parley/protocol"
	"parley/store/proctest"
)

// keySet writes a set of one new key to file, and returns the key and a token that it signed.
func keySet(t *testing.T, file, kid string) (public ed25519.PublicKey, signed string) {
	t.Helper()
	public, private, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	set, err := json.Marshal(map[string]any{"keys": []map[string]string{{
		"kty": "OKP", "crv": "Ed25519", "kid": kid, "alg": "EdDSA", "use": "sig",
		"x": base64.RawURLEncoding.EncodeToString(public),
	}}})
	if err == nil {
		err = os.WriteFile(file, set, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	token := jwt.NewWithClaims(jwt.SigningMethodEdDSA, claims("Ann", time.Now().Add(time.Hour), "*"))
	if kid != "" {
		token.Header["kid"] = kid
	}
	if signed, err = token.SignedString(private); err != nil {
		t.Fatal(err)
	}
	return public, signed
}

// A new key counts as soon as somebody shows it, the one that it replaced no more, wherever the set comes from.
func TestKeySetsAreReadAgain(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "the keys.json")
	_, old := keySet(t, file, "one")
	site := httptest.NewServer(http.FileServer(http.Dir(dir)))
	defer site.Close()
	var all []*Tokens
	for _, source := range []string{file, site.URL + "/the%20keys.json"} {
		tokens, err := KeySetTokens(t.Context(), source, slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		if g, err := tokens.check(old); err != nil || g.name != "Ann" || !g.opens("any") {
			t.Error(source, g, err)
		}
		all = append(all, tokens)
	}
	_, fresh := keySet(t, file, "two")
	for i, tokens := range all {
		if _, err := tokens.check(fresh); err != nil {
			t.Error(i, "does not know the new key")
		}
		if _, err := tokens.check(old); err == nil {
			t.Error(i, "still knows the old key")
		}
	}
}

// Keys without a name are found as others are, new ones too.
func TestNamelessKeys(t *testing.T) {
	file := filepath.Join(t.TempDir(), "keys.json")
	_, old := keySet(t, file, "")
	tokens, err := KeySetTokens(t.Context(), file, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tokens.check(old); err != nil {
		t.Error("the first key:", err)
	}
	_, fresh := keySet(t, file, "")
	if _, err := tokens.check(fresh); err != nil {
		t.Error("the new key:", err)
	}
	if _, err := tokens.check(old); err == nil {
		t.Error("still knows the old key")
	}
}

// While a key set was never read, a login is to be tried again; then it is judged.
// What is logged of that tells no password.
func TestKeySetThatIsNotThereYet(t *testing.T) {
	for _, kid := range []string{"one", ""} {
		t.Run("kid "+kid, func(t *testing.T) {
			dir := t.TempDir()
			_, good := keySet(t, filepath.Join(dir, "keys.json"), kid)
			_, bad := keySet(t, filepath.Join(t.TempDir(), "other.json"), kid)
			address := proctest.FreeAddr(t)
			var logged bytes.Buffer
			logger := slog.New(slog.NewTextHandler(&logged, nil))
			open := func() *Tokens {
				tokens, err := KeySetTokens(t.Context(), "http://parley:swordfish@"+address+"/keys.json?key=sesame", logger)
				if err != nil {
					t.Fatal(err)
				}
				return tokens
			}
			admit := func(tokens *Tokens, token string) (*grant, protocol.Code) {
				g, err := tokens.admit(&protocol.Login{Token: token}, logger)
				if err != nil {
					return g, err.Code
				}
				return g, ""
			}
			early, later := open(), open() // a set is asked for anew every ten seconds, so there are two
			for token, want := range map[string]protocol.Code{good: protocol.CodeUnavailable, bad: protocol.CodeUnavailable, "": ""} {
				if g, code := admit(early, token); g != nil || code != want {
					t.Errorf("without keys: %v, %q, want %q", g, code, want)
				}
			}
			if got := logged.String(); !strings.Contains(got, "connection refused") || strings.Contains(got, "swordfish") || strings.Contains(got, "sesame") {
				t.Errorf("logged:\n%s", got)
			}

			l, err := net.Listen("tcp", address)
			if err != nil {
				t.Fatal(err)
			}
			site := httptest.Server{Listener: l, Config: &http.Server{Handler: http.FileServer(http.Dir(dir))}}
			site.Start()
			defer site.Close()
			if g, code := admit(later, good); g == nil {
				t.Errorf("with keys: %q", code)
			}
			if g, code := admit(later, bad); g != nil || code != "" {
				t.Errorf("a bad token, with keys: %v, %q", g, code)
			}
		})
	}
}

// All of a family's algorithms are good, for the keys that are theirs.
func TestKeySetAlgorithms(t *testing.T) {
	private := make(map[string]any)
	var set []jwkset.JWK
	add := func(alg jwkset.ALG, key any, err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		private[alg.String()] = key
		jwk, err := jwkset.NewJWKFromKey(key, jwkset.JWKOptions{Metadata: jwkset.JWKMetadataOptions{ALG: alg, KID: alg.String()}})
		if err != nil {
			t.Fatal(err)
		}
		set = append(set, jwk)
	}
	secret, err := rsa.GenerateKey(rand.Reader, 2048)
	for _, alg := range []jwkset.ALG{jwkset.AlgRS256, jwkset.AlgRS384, jwkset.AlgRS512, jwkset.AlgPS256} {
		add(alg, secret, err)
	}
	for alg, curve := range map[jwkset.ALG]elliptic.Curve{jwkset.AlgES256: elliptic.P256(), jwkset.AlgES384: elliptic.P384(), jwkset.AlgES512: elliptic.P521()} {
		key, err := ecdsa.GenerateKey(curve, rand.Reader)
		add(alg, key, err)
	}
	_, key, err := ed25519.GenerateKey(nil)
	add(jwkset.AlgEdDSA, key, err)

	storage := jwkset.NewMemoryStorage()
	for _, jwk := range set {
		if err := storage.KeyWrite(t.Context(), jwk); err != nil {
			t.Fatal(err)
		}
	}
	text, err := storage.JSONPublic(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "keys.json")
	if err := os.WriteFile(file, text, 0o600); err != nil {
		t.Fatal(err)
	}
	tokens, err := KeySetTokens(t.Context(), file, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	for alg, key := range private {
		token := jwt.NewWithClaims(jwt.GetSigningMethod(alg), claims("Ann", time.Now().Add(time.Hour), "*"))
		token.Header["kid"] = alg
		signed, err := token.SignedString(key)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := tokens.check(signed); (err == nil) != (alg != "PS256") {
			t.Errorf("%s: %v", alg, err)
		}
	}
}

func TestKeySetTokens(t *testing.T) {
	file := filepath.Join(t.TempDir(), "keys.json")
	public, _ := keySet(t, file, "one")
	tokens, err := KeySetTokens(t.Context(), file, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	// The public key taken for a shared secret: the classic confusion.
	confused := jwt.NewWithClaims(jwt.SigningMethodHS256, claims("Ann", time.Now().Add(time.Hour), "*"))
	confused.Header["kid"] = "one"
	signed, err := confused.SignedString([]byte(public))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tokens.check(signed); err == nil {
		t.Error("took an HS256 token against a key set")
	}
	for name, text := range map[string]string{"empty.json": `{"keys":[]}`, "rubbish.json": "rubbish"} {
		bad := filepath.Join(t.TempDir(), name)
		if err := os.WriteFile(bad, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := KeySetTokens(t.Context(), bad, slog.New(slog.DiscardHandler)); err == nil {
			t.Error("no error for", name)
		}
	}
	if _, err := KeySetTokens(t.Context(), filepath.Join(t.TempDir(), "none"), slog.New(slog.DiscardHandler)); err == nil {
		t.Error("no error for a key set that is not there")
	}
	if _, err := SecretTokens("short"); err == nil {
		t.Error("took a short secret")
	}
}
