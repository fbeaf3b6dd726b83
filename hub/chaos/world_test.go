package chaos

import (
	"fmt"
	"sync/atomic"
	"testing"
	"time"
)

// world is what the members of one run share.
type world struct {
	t          testing.TB
	url        string        // of the endpoint, through the proxy
	durability string        // what acknowledgements must say
	grace      time.Duration // the server's --grace
	cluster    bool          // several servers that know one another: users and logins outlive a server
	quiet      chan struct{} // closed when the chaos is over: nobody makes further messages, and nobody dies

	// generation counts the beginnings and the ends of the servers' lives: it is even while they live and odd
	// around a kill. Two moments with the same even number saw the same processes.
	generation atomic.Int64

	violations atomic.Int64
	stats      stats
}

// stats is what a run had, for its summary.
type stats struct {
	messages, acked, discarded, acksDuplicate     atomic.Int64
	connections, resumes, fresh, deaths, absences atomic.Int64
	cuts, freezes, delays, kills, drains          atomic.Int64
	slow, overtaken                               atomic.Int64
	gaps, filled, lost, duplicated, outOfOrder    atomic.Int64
	longestDrain                                  atomic.Int64 // nanoseconds
}

func (s *stats) String() string {
	return fmt.Sprintf("messages=%d acknowledged=%d (as duplicates %d) discarded=%d connections=%d resumes=%d fresh=%d deaths=%d absences=%d"+
		" cuts=%d freezes=%d delays=%d kills=%d drains=%d (longest %v) closed as slow=%d overtaken=%d gaps=%d filled=%d lost=%d duplicated=%d out of order=%d",
		s.messages.Load(), s.acked.Load(), s.acksDuplicate.Load(), s.discarded.Load(),
		s.connections.Load(), s.resumes.Load(), s.fresh.Load(), s.deaths.Load(), s.absences.Load(),
		s.cuts.Load(), s.freezes.Load(), s.delays.Load(), s.kills.Load(), s.drains.Load(),
		time.Duration(s.longestDrain.Load()).Round(time.Millisecond), s.slow.Load(), s.overtaken.Load(),
		s.gaps.Load(), s.filled.Load(), s.lost.Load(), s.duplicated.Load(), s.outOfOrder.Load())
}

// violation records that a promise of the protocol was broken. The first few are told in full.
func (w *world) violation(format string, args ...any) {
	const told = 20
	if n := w.violations.Add(1); n <= told {
		w.t.Errorf(format, args...)
	} else if n == told+1 {
		w.t.Errorf("further violations are not told")
	}
}

// over tells whether the chaos is over.
func (w *world) over() bool {
	select {
	case <-w.quiet:
		return true
	default:
		return false
	}
}
