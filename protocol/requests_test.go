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
		data := "{"
		for _, name := range loginNames {
			if !rapid.Bool().Draw(t, "given "+name) {
				continue
			}
			value := fmt.Sprintf("%q", text.Draw(t, name))
			if name == "since" {
				value = fmt.Sprint(rapid.Int64Range(-1, MaxAckID+1).Draw(t, name))
			}
			data += fmt.Sprintf(`%q:%s,`, name, strings.ReplaceAll(value, `\x`, `\u00`))
		}
		f := fields{object: object{names: loginNames}}
		p := Parser{Tokens: rapid.Bool().Draw(t, "tokens")}
		f.load([]byte(strings.TrimSuffix(data, ",")+"}"), notObject)
		r, err := p.login([]byte(strings.TrimSuffix(data, ",") + "}"))
		var noNick error
		if r.Name != "" {
			_, noNick = Nickname(r.Name)
		}
		if rules := p.checkLogin(r, &f, noNick); (rules == nil) != (err == nil) {
			t.Fatalf("%s: %v; by the rules %v", data, err, rules)
		}
	})
}
