package protocol

import (
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/secure/precis"
	"golang.org/x/text/unicode/norm"
	"pgregory.net/rapid"
)

func TestPrepareName(t *testing.T) {
	for _, tt := range []struct{ name, in, want string }{
		{"plain", "Ann", "Ann"},
		{"outer white space", "\t Ann \r\n", "Ann"},
		{"inner runs", "Ann \u3000\n Lee", "Ann Lee"},
		{"every White_Space", "a\u0009\u000a\u000b\u000c\u000d\u0020\u0085\u00a0\u1680\u2000\u200a\u2028\u2029\u202f\u205f\u3000b", "a b"},
		{"a zero-width space is none", "a\u200bb", "a\u200bb"},
		{"white space only", " \u2003 ", ""},
		{"composed", "e\u0301", "é"},
		{"conjoining jamo", "\u1112\u1161\u11ab", "한"},
		{"singleton", "\u212b", "Å"},
		{"compatibility characters stay", "\ufb03", "\ufb03"},
		{"composition exclusion", "\u0958", "\u0915\u093c"},
		{"thirty-one marks", "a" + strings.Repeat("\u0301", 31), "á" + strings.Repeat("\u0301", 30)},
		{"many marks, out of order", "q" + strings.Repeat("\u0301\u0323", 20), "q" + strings.Repeat("\u0323", 20) + strings.Repeat("\u0301", 20)},
		{"a joiner that was there stays", "a\u034f" + strings.Repeat("\u0301", 31), "a\u034f" + strings.Repeat("\u0301", 31)},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := PrepareName(tt.in); got != tt.want {
				t.Errorf("PrepareName(%+q) = %+q, want %+q", tt.in, got, tt.want)
			}
			if got := PrepareName(tt.want); got != tt.want {
				t.Errorf("a second time: %+q, want %+q", got, tt.want)
			}
		})
	}
}

// What is too long stays too long, and costs little.
func TestPrepareNameTooLong(t *testing.T) {
	in := strings.Repeat("\u1f00\u0300\u0345", 100_000)
	if n := utf8.RuneCountInString(PrepareName(in)); n <= MaxRoom {
		t.Errorf("%d characters came out", n)
	}
}

func TestNicknameSame(t *testing.T) {
	for _, tt := range []struct{ name, a, b string }{
		{"case", "Ann", "ann"},
		{"full width", "ＡＮＮ", "ann"},
		{"ligature", "ﬃ", "FFI"},
		{"upper case out of NFKC", "℡", "tel"},
		{"final sigma", "ΟΔΟΣ", "οδος"},
		{"long s", "ſ", "s"},
		{"a space out of NFKC", "¨a", "\u0308a"},
		{"compatibility jamo", "ㄱㅏ", "가"},
		{"Kelvin sign", "\u212a", "k"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if a, b := nickname(t, tt.a), nickname(t, tt.b); a != b {
				t.Errorf("%q and %q have the keys %+q and %+q", tt.a, tt.b, a, b)
			}
		})
	}
	for _, tt := range [][2]string{{"Ann", "Anne"}, {"a b", "ab"}, {"é", "e"}, {"ς", "σ"}, {"ß", "ss"}} {
		if nickname(t, tt[0]) == nickname(t, tt[1]) {
			t.Errorf("%q and %q are the same", tt[0], tt[1])
		}
	}
}

func nickname(t *testing.T, name string) string {
	t.Helper()
	key, err := Nickname(PrepareName(name))
	if err != nil {
		t.Fatalf("%q: %v", name, err)
	}
	return key
}

func TestNicknameAllowed(t *testing.T) {
	for _, name := range []string{"Ann", "ㅋㅋㅋ", "ﾡ", "l·l", "٣", "a" + strings.Repeat("\u0301", 31), "\u0628\u200c\u0627"} {
		if _, err := Nickname(PrepareName(name)); err != nil {
			t.Errorf("%+q: %v", name, err)
		}
	}
	for _, name := range []string{"", "a\x00", "a\u200b", "a\u034fb", "\u3164", "\u1100", "·", "a\u200d", "\ue000", "a\u0378", "\u202eann", "❤\ufe0f"} {
		if key, err := Nickname(PrepareName(name)); err == nil {
			t.Errorf("%+q has the key %+q", name, key)
		}
	}
}

// Over every visible character but the Han ones, which map to themselves, alone and
// between others: what precis.Nickname allows is allowed here, with the same key; a
// key is not empty, is the key of itself, and holds nothing that nobody sees.
var invisible = []*unicode.RangeTable{unicode.C, unicode.Other_Default_Ignorable_Code_Point, unicode.Variation_Selector}

func TestNicknameEveryCharacter(t *testing.T) {
	for r := rune(0); r <= unicode.MaxRune; r++ {
		if !unicode.IsGraphic(r) || unicode.Is(unicode.Han, r) {
			continue
		}
		for _, name := range []string{string(r), "X" + string(r) + "a"} {
			name = PrepareName(name)
			key, err := Nickname(name)
			theirs, theirErr := precis.Nickname.CompareKey(name)
			if err != nil {
				if theirErr == nil {
					t.Errorf("%+q is refused: %v", name, err)
				}
				continue
			}
			if key == "" || strings.Contains(key, "  ") {
				t.Errorf("%+q has the key %+q", name, key)
			}
			if theirErr == nil && key != theirs {
				t.Errorf("%+q has the key %+q, by precis %+q", name, key, theirs)
			}
			if again, err := Nickname(key); err == nil && again != key {
				t.Errorf("%+q has the key %+q, and that %+q", name, key, again)
			}
			if strings.ContainsFunc(key, func(r rune) bool { return unicode.In(r, invisible...) }) {
				t.Errorf("%+q has the key %+q", name, key)
			}
		}
	}
}

// Where norm puts no joiner in, the composition here agrees with it.
func TestCompose(t *testing.T) {
	ranges := rapid.RuneFrom([]rune("aeqAE \u0301\u0323\u0308\u0345\u05b0\u093c\u0958\u1100\u1161\u11a8가각ﬃ①\u1f82\u212b\u034f"), unicode.Mn, unicode.Latin, unicode.Greek, unicode.Hangul)
	text := rapid.StringOfN(ranges, 0, 24, -1)
	rapid.Check(t, func(t *rapid.T) {
		s := text.Draw(t, "s")
		if got, want := compose(decompose(s, norm.NFD)), norm.NFC.String(s); got != want {
			t.Errorf("NFC(%+q) = %+q, want %+q", s, got, want)
		}
		if got, want := compose(decompose(s, norm.NFKD)), norm.NFKC.String(s); got != want {
			t.Errorf("NFKC(%+q) = %+q, want %+q", s, got, want)
		}
	})
}

// The short cut for ASCII says the same as the rules.
func TestNicknameASCII(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		name := rapid.StringOfN(rapid.RuneFrom(nil, &unicode.RangeTable{R16: []unicode.Range16{{Lo: 0, Hi: 0x80, Stride: 1}}}), 0, MaxName, -1).Draw(t, "name")
		quick, quickErr := Nickname(name)
		whole, wholeErr := nicknameByTables(name)
		if quick != whole || (quickErr == nil) != (wholeErr == nil) {
			t.Fatalf("%+q: %+q, %v; by the rules %+q, %v", name, quick, quickErr, whole, wholeErr)
		}
	})
}
