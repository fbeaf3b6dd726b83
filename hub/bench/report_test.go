//go:build linux

package bench

import (
	"cmp"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// report collects results and prints them as tables in Markdown, which reads well
// in a terminal too.
type report struct {
	order []string // of scenarios
	by    map[string]*table
}

type table struct {
	scenario
	names  []string
	values map[string][]float64
	notes  map[string]string // of the last run
	texts  []string
}

func newReport() *report { return &report{by: make(map[string]*table)} }

func (r *report) add(s scenario, p peer, res result) {
	t := r.by[s.id]
	if t == nil {
		t = &table{scenario: s, values: make(map[string][]float64), notes: make(map[string]string)}
		r.by[s.id] = t
		r.order = append(r.order, s.id)
	}
	if !slices.Contains(t.names, p.name) {
		t.names = append(t.names, p.name)
	}
	t.values[p.name] = append(t.values[p.name], res.value)
	t.notes[p.name] = res.note
	if res.text != "" {
		t.texts = append(t.texts, res.text)
	}
}

func (r *report) print(t *testing.T) {
	var b strings.Builder
	fmt.Fprintf(&b, "%s, %s: %d × %s, Linux %s, %s. Server, marks and generator share the processors.\n",
		time.Now().UTC().Format("2006-01-02 15:04 UTC"), runtime.Version(), runtime.NumCPU(), processor(), kernel(), runtime.GOARCH)
	r.summary(&b)
	for _, id := range r.order {
		r.by[id].write(&b)
	}
	fmt.Print("\n" + b.String())
	if *markdown != "" {
		if err := os.WriteFile(*markdown, []byte(b.String()), 0o644); err != nil {
			t.Error(err)
		}
	}
}

// summary is the medians of what was measured beside the plain hub.
func (r *report) summary(b *strings.Builder) {
	rows := [][]string{{"", "unit", floor.name, plain.name, parley.name, "× " + floor.name, "× " + plain.name}}
	for _, id := range r.order {
		t := r.by[id]
		if len(t.values[plain.name]) == 0 || len(t.values[parley.name]) == 0 {
			continue
		}
		cell := func(p peer) string {
			if len(t.values[p.name]) == 0 {
				return "–"
			}
			return t.number(median(t.values[p.name]))
		}
		ratio := func(p peer) string {
			if len(t.values[p.name]) == 0 {
				return "–"
			}
			return times(median(t.values[parley.name]) / median(t.values[p.name]))
		}
		rows = append(rows, []string{t.id + ". " + t.title, t.unit, cell(floor), cell(plain), cell(parley), ratio(floor), ratio(plain)})
	}
	if len(rows) > 1 {
		b.WriteString("\n")
		align(b, rows)
	}
}

func times(ratio float64) string { return strconv.FormatFloat(ratio, 'f', 2, 64) }

func (t *table) write(b *strings.Builder) {
	fmt.Fprintf(b, "\n**%s. %s**\n\n", t.id, t.title)
	rows := [][]string{{"", t.unit, "range"}}
	marks := slices.Clone(t.names[:len(t.names)-1]) // what the last is compared with
	for _, mark := range marks {
		rows[0] = append(rows[0], "× "+mark)
	}
	rows[0] = append(rows[0], "")
	for _, name := range t.names {
		v := t.values[name]
		row := []string{name, t.number(median(v)), t.number(slices.Min(v)) + "–" + t.number(slices.Max(v))}
		for _, mark := range marks {
			row = append(row, times(median(v)/median(t.values[mark])))
		}
		rows = append(rows, append(row, t.notes[name]))
	}
	align(b, rows)
	for _, text := range t.texts {
		fmt.Fprintf(b, "\n```\n%s\n```\n", strings.TrimSpace(text))
	}
}

func (t *table) number(v float64) string { return strconv.FormatFloat(v, 'f', t.digits, 64) }

func median(v []float64) float64 {
	v = slices.Sorted(slices.Values(v))
	return (v[(len(v)-1)/2] + v[len(v)/2]) / 2
}

// align writes rows as a table with columns of one width, the first row on top.
func align(b *strings.Builder, rows [][]string) {
	width := make([]int, len(rows[0]))
	for _, row := range rows {
		for i, cell := range row {
			width[i] = max(width[i], len([]rune(cell)), 3)
		}
	}
	for n, row := range rows {
		for i, cell := range row {
			pad := strings.Repeat(" ", width[i]-len([]rune(cell)))
			if i == 0 || i == len(row)-1 {
				fmt.Fprintf(b, "| %s%s ", cell, pad)
			} else {
				fmt.Fprintf(b, "| %s%s ", pad, cell)
			}
		}
		b.WriteString("|\n")
		if n == 0 {
			for i, w := range width {
				if i == 0 || i == len(width)-1 {
					fmt.Fprintf(b, "| %s ", strings.Repeat("-", w))
				} else {
					fmt.Fprintf(b, "| %s: ", strings.Repeat("-", w-1))
				}
			}
			b.WriteString("|\n")
		}
	}
}

// histogram shows how much each bucket of a metric has grown.
func histogram(before, after map[string]float64, name string) string {
	type bucket struct{ bound, count float64 }
	var buckets []bucket
	for key, count := range after {
		if bound, ok := strings.CutPrefix(key, name+`{le="`); ok {
			v, _ := strconv.ParseFloat(strings.TrimSuffix(bound, `"}`), 64)
			buckets = append(buckets, bucket{v, count - before[key]})
		}
	}
	slices.SortFunc(buckets, func(a, b bucket) int { return cmp.Compare(a.bound, b.bound) })
	var b strings.Builder
	below := 0.0
	for _, k := range buckets {
		if k.count > below {
			fmt.Fprintf(&b, "%10.3g  %8.0f\n", k.bound, k.count-below)
		}
		below = k.count
	}
	return b.String()
}

func processor() string {
	info, _ := os.ReadFile("/proc/cpuinfo")
	for line := range strings.Lines(string(info)) {
		if name, value, _ := strings.Cut(line, ":"); strings.TrimSpace(name) == "model name" {
			return strings.TrimSpace(value)
		}
	}
	return "processor"
}

func kernel() string {
	release, _ := os.ReadFile("/proc/sys/kernel/osrelease")
	return strings.TrimSpace(string(release))
}
