//go:build linux

package bench

import (
	"flag"
	"fmt"
	"os"
	"runtime/debug"
	"slices"
	"strings"
	"syscall"
	"testing"
)

var (
	system    = flag.Bool("system", false, "run the whole system benchmark, which takes minutes")
	scenarios = flag.String("scenarios", "", "comma-separated scenarios; empty: all")
	repeats   = flag.Int("repeats", 3, "runs of each that is repeated")
	markdown  = flag.String("markdown", "", "write the tables to this file too")
)

// roleEnv makes this binary one of the marks. Its value is floor or plain, and the
// argument after -- the address to listen on.
const roleEnv = "PARLEY_BENCH_ROLE"

func TestMain(m *testing.M) {
	switch os.Getenv(roleEnv) {
	case "floor":
		runFloor(os.Args[1])
	case "plain":
		runPlain(os.Args[1])
	default:
		os.Exit(m.Run())
	}
}

// TestSystem runs the scenarios one after another, and each for all servers in turn.
// Without -system it runs one of them once, for what it counts: that every delivery
// arrives. That leaves out the plain server, which drops clients that fall behind, as
// they do on a busy machine.
func TestSystem(t *testing.T) {
	servers := peers
	if !*system {
		*scenarios, *repeats = "a100", 1
		servers = func(scenario) []peer { return []peer{floor, parley} }
	}
	debug.SetGCPercent(-1) // the generator's own collections would be in the latencies
	debug.SetMemoryLimit(2 << 30)
	prctl(syscall.PR_SET_TIMERSLACK, 1)
	report := newReport()
	for _, s := range all {
		if *scenarios != "" && !slices.Contains(strings.Split(*scenarios, ","), s.id) {
			continue
		}
		t.Run(s.id, func(t *testing.T) {
			for repeat := range min(s.runs, *repeats) {
				for _, p := range servers(s) {
					t.Run(fmt.Sprint(p.name, " ", repeat+1), func(t *testing.T) { report.add(s, p, s.run(t, p)) })
				}
			}
		})
	}
	report.print(t)
}
