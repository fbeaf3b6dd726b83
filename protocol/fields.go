package protocol

import (
	"bytes"
	"math"

	"github.com/go-json-experiment/json/jsontext"
	validation "github.com/go-ozzo/ozzo-validation/v4"
)

// fields reads the members of a request's data by name and collects what is wrong
// with them, so that one answer tells it all.
type fields struct {
	object
	errs map[string]string // nil while nothing is wrong
}

// The sentences about a field's JSON; those about its value are the rules'.
const (
	notObject  = "must be an object"
	notString  = "must be a string"
	notUnicode = "must be Unicode text, without half of a surrogate pair"
	notInteger = "must be an integer"
	notTruth   = "must be true or false"
	notOnce    = "must be given once"
)

// load reads data, where absent data is an object without members. What else is
// no object gets the sentence.
func (f *fields) load(data jsontext.Value, sentence string) {
	if data == nil {
		return
	}
	if !f.read(data) {
		f.fail("data", sentence)
	}
	for i, name := range f.names {
		if f.twice&(1<<i) != 0 {
			f.fail(name, notOnce)
		}
	}
}

// fail notes the first thing that is wrong with a field.
func (f *fields) fail(name, sentence string) {
	if f.errs == nil {
		f.errs = make(map[string]string)
	}
	if _, ok := f.errs[name]; !ok {
		f.errs[name] = sentence
	}
}

// value returns a member, nil when it is absent or null.
func (f *fields) value(name string) []byte {
	for i, n := range f.names {
		if n == name {
			return f.values[i]
		}
	}
	panic("protocol: no such field: " + name)
}

func (f *fields) has(name string) bool { return f.value(name) != nil }

// text returns a string member, "" when it is absent or bad.
func (f *fields) text(name string) string {
	value := f.value(name)
	if value == nil {
		return ""
	}
	if value[0] != '"' {
		f.fail(name, notString)
		return ""
	}
	text, ok := unquote(value)
	if !ok {
		f.fail(name, notUnicode)
		return ""
	}
	return text
}

// literal returns a string member as text and as a JSON string in its shortest
// form. Without escapes the bytes that came in are both.
func (f *fields) literal(name string) (text, literal string) {
	value := f.value(name)
	if value == nil || value[0] != '"' || bytes.IndexByte(value, '\\') >= 0 {
		if text = f.text(name); text != "" {
			literal = string(appendText(nil, text))
		}
		return text, literal
	}
	literal = string(value)
	return literal[1 : len(literal)-1], literal
}

// integer returns an integer member, missing when it is absent or bad.
func (f *fields) integer(name string, missing int64) int64 {
	value := f.value(name)
	if value == nil {
		return missing
	}
	n, ok := integer(value)
	if !ok {
		f.fail(name, notInteger)
		return missing
	}
	return n
}

// count returns an integer member as an int, missing when it is absent or bad.
// Where an int has 32 bits, a larger number becomes the largest: no room holds that
// many of anything.
func (f *fields) count(name string, missing int) int {
	return int(min(max(f.integer(name, int64(missing)), math.MinInt), math.MaxInt))
}

// truth returns a boolean member, false when it is absent or bad.
func (f *fields) truth(name string) bool {
	value := f.value(name)
	if value == nil {
		return false
	}
	if value[0] != 't' && value[0] != 'f' {
		f.fail(name, notTruth)
	}
	return value[0] == 't'
}

// check adds the outcome of a struct's validation and returns all that is wrong as
// one error, nil if nothing is. What was said of a field's JSON stands, since its
// value was never read.
func (f *fields) check(err error) *Error {
	if _, ok := f.errs["data"]; !ok {
		if errs, ok := err.(validation.Errors); ok {
			for name, err := range errs {
				f.fail(name, err.Error())
			}
		} else if err != nil {
			panic(err) // a rule that does not fit its struct
		}
	}
	if f.errs == nil {
		return nil
	}
	return Invalid(f.errs)
}
