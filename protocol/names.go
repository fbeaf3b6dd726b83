package protocol

import (
	"errors"
	"strings"

	"golang.org/x/text/secure/precis"
	"golang.org/x/text/unicode/norm"
)

var errNickname = errors.New("is not a nickname that RFC 8266 allows")

// PrepareName brings a user's or room's name into the form that is stored, shown
// and compared (PROTOCOL.md section 3): no white space around it, one U+0020 for
// each run inside it, and NFC. It checks nothing.
func PrepareName(s string) string {
	return norm.NFC.String(strings.Join(strings.Fields(s), " "))
}

// Nickname returns the key under which a prepared name is unique in its room: two
// names are the same when their keys are (RFC 8266 section 2.4). It fails when RFC
// 8266 does not allow the name.
func Nickname(prepared string) (string, error) {
	key, err := precis.Nickname.CompareKey(prepared)
	if err != nil {
		return "", errNickname
	}
	return key, nil
}
