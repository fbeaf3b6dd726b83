package protocol

import (
	"maps"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// section returns one section of PROTOCOL.md.
func section(t *testing.T, title string) string {
	t.Helper()
	page, err := os.ReadFile("PROTOCOL.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, ok := strings.Cut(string(page), "\n## "+title+"\n")
	if !ok {
		t.Fatalf("the page has no section %q", title)
	}
	text, _, _ := strings.Cut(rest, "\n## ")
	return text
}

// named returns what the first group of expr matches in text.
func named(text, expr string) []string {
	var names []string
	for _, m := range regexp.MustCompile("(?m)"+expr).FindAllStringSubmatch(text, -1) {
		names = append(names, m[1])
	}
	return names
}

// The page, the code and the golden envelopes know the same events and codes.
func TestPageIsComplete(t *testing.T) {
	compare := func(what string, page, code []string) {
		t.Helper()
		slices.Sort(page)
		slices.Sort(code)
		if !slices.Equal(page, code) {
			t.Errorf("%s: the page has %q, the code %q", what, page, code)
		}
	}

	codes := []string{string(CodeInvalid)}
	for code := range sentences {
		codes = append(codes, string(code))
	}
	envelope, _, _ := strings.Cut(section(t, "2. Envelope"), "\n### ")
	_, envelope, _ = strings.Cut(envelope, "| code | meaning |")
	compare("errors", named(envelope, "^\\| `(\\w+)` \\|"), codes)

	var closes []string
	for code := range CloseCode(5000) {
		if code.Reason() != "" {
			closes = append(closes, strconv.Itoa(int(code)))
		}
	}
	var rows []string
	for _, row := range named(section(t, "8. Close codes"), `^\| (\d[^|]*) \|`) {
		rows = append(rows, named(row, `(\d+)`)...)
	}
	compare("close codes", rows, closes)

	kinds := func(file string) []string {
		set := map[string]bool{}
		for _, g := range readGolden(t, file) {
			set[g.Event] = true
		}
		return slices.Collect(maps.Keys(set))
	}
	requests := named(section(t, "3. Client → server"), "^### `(\\w+)`")
	compare("requests", requests, kinds("requests.json"))
	for _, name := range requests {
		if known([]byte(name)) != name {
			t.Errorf("%s is unknown", name)
		}
	}
	compare("events", named(section(t, "4. Server → client"), "^\\| `(\\w+)` \\|"), kinds("events.json"))
}
