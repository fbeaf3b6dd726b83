package protocol

import (
	"bytes"
	"math"
	"strconv"

	"github.com/go-json-experiment/json/jsontext"
)

// scanner reads JSON by the grammar of RFC 8259. Nesting costs it heap (a byte a
// level), never stack, so that a frame of brackets only is as harmless as another.
type scanner struct {
	src []byte
	pos int
}

func (s *scanner) space() {
	for s.pos < len(s.src) {
		switch s.src[s.pos] {
		case ' ', '\t', '\n', '\r':
			s.pos++
		default:
			return
		}
	}
}

// peek returns the next byte, 0 at the end; no token starts with 0.
func (s *scanner) peek() byte {
	if s.pos < len(s.src) {
		return s.src[s.pos]
	}
	return 0
}

func (s *scanner) take(c byte) bool {
	if s.peek() != c {
		return false
	}
	s.pos++
	return true
}

// end reports whether nothing but white space is left.
func (s *scanner) end() bool {
	s.space()
	return s.pos == len(s.src)
}

// name reads a member's name, its colon and the white space around that. It
// returns the name as a literal, quotes included.
func (s *scanner) name() ([]byte, bool) {
	start := s.pos
	if !s.string() {
		return nil, false
	}
	literal := s.src[start:s.pos]
	s.space()
	ok := s.take(':')
	s.space()
	return literal, ok
}

// value reads one value of any kind.
func (s *scanner) value() ([]byte, bool) {
	start := s.pos
	var levels [16]byte
	open := levels[:0] // the closing brackets that are awaited
	for {
		switch s.peek() {
		case '{':
			s.pos++
			s.space()
			if s.peek() != '}' {
				open = append(open, '}')
				if _, ok := s.name(); !ok {
					return nil, false
				}
				continue
			}
			s.pos++
		case '[':
			s.pos++
			s.space()
			if s.peek() != ']' {
				open = append(open, ']')
				continue
			}
			s.pos++
		default:
			if !s.scalar() {
				return nil, false
			}
		}
		// A value has ended: close what ends with it, then go on to the next one.
		for {
			if len(open) == 0 {
				return s.src[start:s.pos], true
			}
			s.space()
			closing := open[len(open)-1]
			if s.take(closing) {
				open = open[:len(open)-1]
				continue
			}
			if !s.take(',') {
				return nil, false
			}
			s.space()
			if closing == '}' {
				if _, ok := s.name(); !ok {
					return nil, false
				}
			}
			break
		}
	}
}

// scalar reads a string, a number, true, false or null.
func (s *scanner) scalar() bool {
	switch s.peek() {
	case '"':
		return s.string()
	case 't':
		return s.word("true")
	case 'f':
		return s.word("false")
	case 'n':
		return s.word("null")
	}
	return s.number()
}

func (s *scanner) word(word string) bool {
	if len(s.src)-s.pos < len(word) || string(s.src[s.pos:s.pos+len(word)]) != word {
		return false
	}
	s.pos += len(word)
	return true
}

func (s *scanner) string() bool {
	if !s.take('"') {
		return false
	}
	for s.pos < len(s.src) {
		c := s.src[s.pos]
		s.pos++
		switch {
		case c == '"':
			return true
		case c < ' ':
			return false
		case c == '\\':
			if !s.escape() {
				return false
			}
		}
	}
	return false
}

// escape reads what follows a backslash. Whether a \u names half of a surrogate
// pair is not asked here: the grammar allows it.
func (s *scanner) escape() bool {
	c := s.peek()
	s.pos++
	switch c {
	case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		return true
	case 'u':
		for range 4 {
			c := s.peek() | 0x20 // lower case, if it is a letter
			if !digit(s.peek()) && (c < 'a' || 'f' < c) {
				return false
			}
			s.pos++
		}
		return true
	}
	return false
}

func (s *scanner) number() bool {
	s.take('-')
	if !s.take('0') && !s.digits() {
		return false
	}
	if s.take('.') && !s.digits() {
		return false
	}
	if s.take('e') || s.take('E') {
		if !s.take('+') {
			s.take('-')
		}
		return s.digits()
	}
	return true
}

// digits reads one digit or more.
func (s *scanner) digits() bool {
	start := s.pos
	for digit(s.peek()) {
		s.pos++
	}
	return s.pos > start
}

func digit(c byte) bool { return '0' <= c && c <= '9' }

// integer reads a JSON value as an integer. A fraction or an exponent makes it
// none, even if nothing comes of them. One beyond 64 bits becomes the nearest that
// fits, which no range of this protocol includes.
func integer(value []byte) (int64, bool) {
	if c := value[0]; c != '-' && !digit(c) {
		return 0, false
	}
	n, err := strconv.ParseInt(string(value), 10, 64)
	if err != nil && n != math.MaxInt64 && n != math.MinInt64 {
		return 0, false
	}
	return n, true
}

// unquote reads a JSON value as a string. It reports false for another kind of
// value, and for a string that is not Unicode text because an escape in it names
// half of a surrogate pair.
func unquote(value []byte) (string, bool) {
	if value[0] != '"' {
		return "", false
	}
	if bytes.IndexByte(value, '\\') < 0 {
		return string(value[1 : len(value)-1]), true
	}
	text, err := jsontext.AppendUnquote(nil, value)
	return string(text), err == nil
}
