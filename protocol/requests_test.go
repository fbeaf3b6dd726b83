package protocol

import (
	"fmt"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// The short cut for logins lets through what the rules do, and nothing else.
func TestLoginShortCut(t *testing.T) {
	text := rapid.OneOf(
		rapid.StringOfN(rapid.SampledFrom([]rune("aÄ㋀\u0001\u0085 ")), 0, 3, -1),
		rapid.Custom(func(t *rapid.T) string {
			length := rapid.SampledFrom([]int{1, 15, 16, 32, 33, 64, 65, 128, 129}).Draw(t, "length")
			return strings.Repeat(rapid.SampledFrom([]string{"a", "é"}).Draw(t, "letter"), length)
		}),
	)
	rapid.Check(t, func(t *rapid.T) {
		odd := rapid.SampledFrom(loginNames).Draw(t, "odd")
		data := "{"
		for _, name := range loginNames {
			value := fmt.Sprintf("%q", strings.Repeat("a", 16))
			switch {
			case name == odd && name == "since":
				value = fmt.Sprint(rapid.SampledFrom([]int64{-1, 0, MaxAckID, MaxAckID + 1}).Draw(t, name))
			case name == odd:
				value = strings.ReplaceAll(fmt.Sprintf("%q", text.Draw(t, name)), `\x`, `\u00`)
			case name != "name" && name != "room" && rapid.Bool().Draw(t, "without "+name):
				continue
			case name == "since":
				value = "1"
			}
			data += fmt.Sprintf("%q:%s,", name, value)
		}
		data = strings.TrimSuffix(data, ",") + "}"
		p := Parser{Tokens: rapid.Bool().Draw(t, "tokens")}
		r, err := p.login([]byte(data))

		var noNick error
		if r.Name != "" {
			_, noNick = Nickname(r.Name)
		}
		f := fields{object: object{names: loginNames}}
		f.load([]byte(data), notObject)
		if rules := p.checkLogin(r, &f, noNick); (rules == nil) != (err == nil) {
			t.Fatalf("%s: %v; by the rules %v", data, err, rules)
		}
	})
}
