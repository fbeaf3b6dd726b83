package store

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"time"
)

// stored is a message as the stream keeps it: everything in the data, since headers are lines of text and cost
// more. The room is its subject.
type stored struct {
	Message
	// near and far are hints for readers: at least markEvery, and at least RecentMessages, messages of the room
	// lie between them and this one. 0: not known to be that many.
	near, far int64
}

// codecVersion begins every message, so that a later format can be told from this one.
const codecVersion = 1

var errCodec = errors.New("a message in the stream is not of this server's format")

func (s *stored) encode() []byte {
	b := make([]byte, 0, 64+len(s.From)+len(s.Nick)+len(s.UserID)+len(s.Key)+len(s.Body))
	b = append(b, codecVersion)
	for _, n := range []int64{s.At.UnixMilli(), s.near, s.far} {
		b = binary.AppendVarint(b, n)
	}
	for _, text := range []string{s.From, s.Nick, s.UserID, s.Key} {
		b = binary.AppendUvarint(b, uint64(len(text)))
		b = append(b, text...)
	}
	return append(b, s.Body...)
}

// decode reads what encode made. Room and Seq are the caller's to set.
func (s *stored) decode(b []byte) error {
	if len(b) == 0 || b[0] != codecVersion {
		return errCodec
	}
	b = b[1:]
	var at int64
	for _, to := range []*int64{&at, &s.near, &s.far} {
		v, n := binary.Varint(b)
		if n <= 0 {
			return errCodec
		}
		*to, b = v, b[n:]
	}
	s.At = time.UnixMilli(at).UTC()
	for _, to := range []*string{&s.From, &s.Nick, &s.UserID, &s.Key} {
		size, n := binary.Uvarint(b)
		if n <= 0 || size > uint64(len(b)-n) {
			return errCodec
		}
		*to, b = string(b[n:n+int(size)]), b[n+int(size):]
	}
	s.Body = string(b)
	return nil
}

// digest is SHA-256 over length-prefixed parts, so that no two lists of parts have the same text.
func digest(parts ...string) [sha256.Size]byte {
	h := sha256.New()
	for _, p := range parts {
		_, _ = h.Write(binary.AppendUvarint(nil, uint64(len(p)))) // a hash takes everything
		_, _ = h.Write([]byte(p))
	}
	return [sha256.Size]byte(h.Sum(nil))
}

// token is a name as a part of a subject: names are no legal subjects. 192 bits, so that nobody finds two names
// with the same.
func token(name string) string {
	sum := digest(name)
	return base64.RawURLEncoding.EncodeToString(sum[:24])
}

// messageID is what makes a message with a key unique in the stream; life tells a room that was removed from its
// next one.
func messageID(m *Message, life string) string {
	parts := []string{m.Room, m.Nick, m.Key}
	if life != "" {
		parts = append(parts, life)
	}
	sum := digest(parts...)
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

// userRecord is a user in the bucket.
type userRecord struct {
	ID      string `json:"id"`
	Name    string `json:"name"`
	Nick    string `json:"nick"`
	Session []byte `json:"session,omitempty"` // SHA-256
	Node    string `json:"node"`              // that has, or had, its connection
	Away    bool   `json:"away,omitempty"`    // it has none
	Born    int64  `json:"born,omitempty"`    // revision at which the user came; 0: this one
}

// roomRecord is a room in the bucket.
type roomRecord struct {
	Opened  bool   `json:"opened,omitempty"`
	Lock    []byte `json:"lock,omitempty"`    // SHA-256; nil: an open room
	Closing bool   `json:"closing,omitempty"` // somebody looks whether it can be forgotten
	After   int64  `json:"after,omitempty"`   // every message that the room ever had has a larger seq
	Dropped int64  `json:"dropped,omitempty"` // highest seq dropped by other means than age, or before it was opened
	Life    string `json:"life,omitempty"`    // another one after each removal
}
