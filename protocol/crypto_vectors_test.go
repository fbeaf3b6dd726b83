package protocol_test

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/pbkdf2"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"os"
	"strings"
	"testing"
	"unicode"

	"golang.org/x/text/unicode/norm"

	"parley/protocol"
)

// The test vectors of section 9, computed here once more with the standard library.
// The server has no code for this: it never sees a key. The file is for whoever
// writes another client; the JavaScript tests read it as well.

type cryptoVectors struct {
	Rooms []struct {
		About          string
		Room           string
		Secret         string
		PreparedRoom   string
		PreparedSecret string
		Salt           hexBytes
		Master         hexBytes
		Enc            hexBytes
		Access         string
		Messages       []struct {
			outgoing
			PreparedFrom string
			sealedVector
		}
	}
	Other []struct {
		About string
		From  string
		Key   string
		sealedVector
	}
	Refused []struct{ About, Message, From, Key string }
	Sealed  []struct {
		Room    string
		Message string
		outgoing
	}
	Prepare []struct{ Input, Prepared string }
}

type outgoing struct {
	From   string
	Key    string
	Text   string
	Stream string
	N      int64
	At     int64
}

type sealedVector struct {
	IV        hexBytes
	AAD       hexBytes
	Plaintext hexBytes
	Sealed    string
}

type hexBytes []byte

func (b *hexBytes) UnmarshalText(text []byte) (err error) {
	*b, err = hex.DecodeString(string(text))
	return err
}

// body is the JSON inside a sealed message. Its fields stand in this order in the
// vectors; a reader must not rely on it.
type body struct {
	T string `json:"t"`
	S string `json:"s"`
	N int64  `json:"n"`
	D int64  `json:"d"`
}

func TestCryptoVectors(t *testing.T) {
	v := readCryptoVectors(t)
	for _, room := range v.Rooms {
		t.Run(room.About, func(t *testing.T) {
			t.Parallel()
			k := deriveRoomKeys(t, room.Room, room.Secret)
			for _, same := range []struct{ what, got, want string }{
				{"room", k.room, room.PreparedRoom},
				{"room as the server prepares it", protocol.PrepareName(room.Room), room.PreparedRoom},
				{"secret", k.secret, room.PreparedSecret},
				{"salt", k.salt, string(room.Salt)},
				{"master", string(k.master), string(room.Master)},
				{"enc", string(k.enc), string(room.Enc)},
				{"access", k.access, room.Access},
			} {
				if same.got != same.want {
					t.Errorf("%s: %q, want %q", same.what, same.got, same.want)
				}
			}
			for _, m := range room.Messages {
				from := prepared(m.From)
				if from != m.PreparedFrom || protocol.PrepareName(m.From) != from {
					t.Errorf("name %q: %q, the server's %q, want %q", m.From, from, protocol.PrepareName(m.From), m.PreparedFrom)
				}
				if aad := k.aad(from, m.Key); aad != string(m.AAD) {
					t.Errorf("aad: %q, want %q", aad, m.AAD)
				}
				plain := padded(t, body{m.Text, m.Stream, m.N, m.At})
				if !bytes.Equal(plain, m.Plaintext) {
					t.Errorf("plaintext: %q, want %q", plain, m.Plaintext)
				}
				if sealed := k.seal(m.IV, from, m.Key, plain); sealed != m.Sealed {
					t.Errorf("sealed: %s, want %s", sealed, m.Sealed)
				}
			}
			fromJavaScript := 0
			for _, s := range v.Sealed {
				if s.Room != room.Room {
					continue
				}
				fromJavaScript++
				plain, err := k.open(s.Message, prepared(s.From), s.Key)
				if want := padded(t, body{s.Text, s.Stream, s.N, s.At}); err != nil || !bytes.Equal(plain, want) {
					t.Errorf("sealed in JavaScript: %q (%v), want %q", plain, err, want)
				}
			}
			if fromJavaScript == 0 {
				t.Error("no vector sealed in JavaScript")
			}
		})
	}
}

// What comes out of messages that are not those of this version, and what does not
// open at all: all in the first room.
func TestCryptoVectorsOfReading(t *testing.T) {
	v := readCryptoVectors(t)
	k := deriveRoomKeys(t, v.Rooms[0].Room, v.Rooms[0].Secret)
	for _, o := range v.Other {
		plain, err := k.open(o.Sealed, o.From, o.Key)
		if err != nil || !bytes.Equal(plain, o.Plaintext) {
			t.Errorf("%s: opened %q (%v), want %q", o.About, plain, err, o.Plaintext)
		}
		if got := k.seal(o.IV, o.From, o.Key, o.Plaintext); got != o.Sealed {
			t.Errorf("%s: sealed %s, want %s", o.About, got, o.Sealed)
		}
		if len(o.Plaintext)%128 != 0 {
			t.Errorf("%s: %d bytes", o.About, len(o.Plaintext))
		}
	}
	for _, r := range v.Refused {
		if plain, err := k.open(r.Message, r.From, r.Key); err == nil {
			t.Errorf("%s: opened %q", r.About, plain)
		}
	}
}

func TestCryptoVectorsOfPreparation(t *testing.T) {
	for _, p := range readCryptoVectors(t).Prepare {
		if got := prepared(p.Input); got != p.Prepared {
			t.Errorf("%+q: %+q, want %+q", p.Input, got, p.Prepared)
		}
		if got := protocol.PrepareName(p.Input); got != p.Prepared {
			t.Errorf("%+q: PrepareName says %+q, want %+q", p.Input, got, p.Prepared)
		}
	}
}

func readCryptoVectors(t *testing.T) (v cryptoVectors) {
	t.Helper()
	file, err := os.ReadFile("testdata/crypto.json")
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(file, &v); err != nil {
		t.Fatal(err)
	}
	return v
}

type roomKeys struct {
	room, secret, salt, access string
	master, enc                []byte
	aead                       cipher.AEAD
}

func deriveRoomKeys(t *testing.T, room, secret string) *roomKeys {
	t.Helper()
	k := &roomKeys{room: prepared(room), secret: norm.NFC.String(strings.TrimFunc(secret, unicode.IsSpace))}
	k.salt = "parley/v1/" + k.room
	var errs [5]error
	k.master, errs[0] = pbkdf2.Key(sha256.New, k.secret, []byte(k.salt), 600_000, 32)
	k.enc, errs[1] = hkdf.Key(sha256.New, k.master, nil, "parley/v1/encrypt", 32)
	access, err := hkdf.Key(sha256.New, k.master, nil, "parley/v1/access", 32)
	k.access, errs[2] = base64.RawURLEncoding.EncodeToString(access), err
	block, err := aes.NewCipher(k.enc)
	errs[3] = err
	k.aead, errs[4] = cipher.NewGCM(block)
	if err := errors.Join(errs[:]...); err != nil {
		t.Fatal(err)
	}
	return k
}

func (k *roomKeys) aad(from, key string) string { return k.room + "\n" + from + "\n" + key }

func (k *roomKeys) seal(iv []byte, from, key string, plain []byte) string {
	sealed := k.aead.Seal(bytes.Clone(iv), iv, plain, []byte(k.aad(from, key)))
	return "p1." + base64.RawURLEncoding.EncodeToString(sealed)
}

func (k *roomKeys) open(message, from, key string) ([]byte, error) {
	sealed, ok := strings.CutPrefix(message, "p1.")
	if !ok || key == "" || strings.ContainsAny(from+sealed, "\r\n") {
		return nil, errors.New("not a sealed message")
	}
	raw, err := base64.RawURLEncoding.Strict().DecodeString(sealed)
	if err != nil {
		return nil, err
	}
	if len(raw) < k.aead.NonceSize() {
		return nil, errors.New("too short")
	}
	iv, sealedBytes := raw[:k.aead.NonceSize()], raw[k.aead.NonceSize():]
	return k.aead.Open(nil, iv, sealedBytes, []byte(k.aad(from, key)))
}

// prepared is section 3 in a line; unicode.IsSpace, by which Fields splits, is White_Space.
func prepared(name string) string {
	return norm.NFC.String(strings.Join(strings.Fields(name), " "))
}

func padded(t *testing.T, b body) []byte {
	t.Helper()
	var plain bytes.Buffer
	enc := json.NewEncoder(&plain)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(b); err != nil {
		t.Fatal(err)
	}
	plain.Truncate(plain.Len() - 1) // Encode ends it with a line feed
	for plain.Len()%128 != 0 {
		plain.WriteByte(' ')
	}
	return plain.Bytes()
}
