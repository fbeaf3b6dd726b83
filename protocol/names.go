package protocol

import (
	"errors"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/cases"
	"golang.org/x/text/language"
	"golang.org/x/text/secure/precis"
	"golang.org/x/text/unicode/norm"
)

// PrepareName brings a user's or room's name into the form that is stored, shown
// and compared (PROTOCOL.md section 3): no white space around it, one U+0020 for
// each run inside it, and NFC. It checks nothing; what is too long to be a name in
// any form is left without the NFC, which bounds the work.
func PrepareName(s string) string {
	s = collapse(s)
	// Four characters at the most compose to one.
	if utf8.RuneCountInString(s) > 4*MaxRoom {
		return s
	}
	return normalize(s, norm.NFC, norm.NFD)
}

// collapse trims white space (the Unicode property) and makes each inner run one
// U+0020.
func collapse(s string) string { return strings.Join(strings.Fields(s), " ") }

// IsName reports whether a prepared name may be a user's, but for what RFC 8266
// says of it.
func IsName(prepared string) bool { return isLine(prepared, MaxName) }

// IsRoom reports whether a prepared name may be a room's.
func IsRoom(prepared string) bool { return isLine(prepared, MaxRoom) }

func isLine(s string, most int) bool {
	return within(s, 1, most) && !strings.ContainsFunc(s, unicode.IsControl)
}

// within reports whether s has so many characters.
func within(s string, least, most int) bool {
	n := utf8.RuneCountInString(s)
	return least <= n && n <= most
}

var errNickname = errors.New("is not a nickname that RFC 8266 allows")

var (
	freeform = precis.NewFreeform()
	plain    = freeform.Allowed() // what no contextual rule concerns
)

// Nickname returns the key under which a prepared name is unique in its room: two
// names are the same when their keys are (RFC 8266 section 2.4). It fails when RFC
// 8266 does not allow the name.
//
// This follows the RFC where precis.Nickname does not. The name itself has to be of
// the FreeformClass, before the rules are applied (section 2.2), so that the
// compatibility letters of Korean ("ㅋㅋ"), which NFKC turns into what that class
// excludes, are allowed. Case is mapped by Unicode's toLowerCase, which knows the
// final sigma: "ΟΔΟΣ" is "οδος". And a name that does not come to rest is refused.
func Nickname(prepared string) (string, error) {
	if isPrintableASCII(prepared) {
		// What all of that comes to for ASCII, without the tables: 0.1 instead of 4 µs of a login.
		if key := strings.ToLower(collapse(prepared)); key != "" {
			return key, nil
		}
	}
	return nicknameByTables(prepared)
}

// isPrintableASCII reports whether s has no characters but U+0020 to U+007E.
func isPrintableASCII(s string) bool {
	for i := range len(s) {
		if s[i] < ' ' || s[i] > '~' {
			return false
		}
	}
	return true
}

// nicknameByTables is Nickname for any characters.
func nicknameByTables(prepared string) (string, error) {
	if strings.ContainsFunc(prepared, func(r rune) bool { return !plain.Contains(r) }) {
		if _, err := freeform.String(prepared); err != nil {
			return "", errNickname
		}
	}
	// Section 2.1: the rules are applied until nothing changes, and three more
	// times than once at the most.
	key := prepared
	for range 4 {
		last := key
		key = collapse(key)
		key = cases.Lower(language.Und).String(key)
		key = normalize(key, norm.NFKC, norm.NFKD)
		if key == last && key != "" {
			return key, nil
		}
	}
	return "", errNickname
}

// joiner is what norm puts after every 30 combining marks in a row (UAX #15
// section 13). That is no normalization form, and a browser's normalize() does not
// do it.
const joiner = "\u034f"

// normalize returns s in the composed form NFC or NFKC, of which decomposed is the
// counterpart.
func normalize(s string, composed, decomposed norm.Form) string {
	out := composed.String(s)
	if strings.Count(out, joiner) == strings.Count(s, joiner) {
		return out
	}
	return compose(decompose(s, decomposed))
}

// decompose takes characters apart one by one and puts marks into canonical order
// (UAX #15 section 1.3).
func decompose(s string, form norm.Form) []rune {
	var runes []rune
	for _, r := range s {
		runes = append(runes, []rune(form.String(string(r)))...)
	}
	for start := 0; start < len(runes); start++ {
		end := start
		for end < len(runes) && class(runes[end]) != 0 {
			end++
		}
		slices.SortStableFunc(runes[start:end], func(a, b rune) int { return int(class(a)) - int(class(b)) })
		start = end
	}
	return runes
}

// compose joins each mark to the last starter before it, unless another of its
// class or higher stands between (UAX #15 section 1.3).
func compose(runes []rune) string {
	var out []rune
	starter := -1     // its index in out
	var blocker uint8 // class of the last one kept after the starter
	for _, r := range runes {
		c := class(r)
		adjacent := starter == len(out)-1
		if starter >= 0 && (adjacent || blocker != 0 && blocker < c) {
			if joined := []rune(norm.NFC.String(string([]rune{out[starter], r}))); len(joined) == 1 {
				out[starter] = joined[0]
				continue
			}
		}
		if c == 0 {
			starter = len(out)
		}
		blocker = c
		out = append(out, r)
	}
	return string(out)
}

// class is the canonical combining class, 0 for a starter.
func class(r rune) uint8 { return norm.NFC.PropertiesString(string(r)).CCC() }
