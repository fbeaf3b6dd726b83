package main

import (
	"io"
	"log/slog"
	"slices"
	"sync/atomic"
	"time"
)

const (
	logLines  = 4096        // that may wait to be taken
	logLinger = time.Second // for the last of them, at the end
)

// logQueue stands between the server and what reads its log, which may stall: a pipe
// that nobody empties, a terminal that is stopped. That must not hold up the hub.
// Lines beyond logLines are lost, and the log says how many.
type logQueue struct {
	lines  chan []byte
	lost   atomic.Int64
	ending chan struct{}
	ended  chan struct{}
}

// newLogQueue writes lines to w until close. own says on w what was lost.
func newLogQueue(w io.Writer, own *slog.Logger) *logQueue {
	q := &logQueue{lines: make(chan []byte, logLines), ending: make(chan struct{}), ended: make(chan struct{})}
	go q.run(w, own)
	return q
}

// Write takes one line and never waits.
func (q *logQueue) Write(line []byte) (int, error) {
	select {
	case q.lines <- slices.Clone(line):
	default:
		q.lost.Add(1)
	}
	return len(line), nil
}

// close writes what waits, for logLinger at the most.
func (q *logQueue) close() {
	close(q.ending)
	select {
	case <-q.ended:
	case <-time.After(logLinger):
	}
}

func (q *logQueue) run(w io.Writer, own *slog.Logger) {
	defer close(q.ended)
	for {
		select {
		case line := <-q.lines:
			q.write(w, line, own)
			continue
		case <-q.ending:
		}
		for {
			select {
			case line := <-q.lines:
				q.write(w, line, own)
			default:
				return
			}
		}
	}
}

// write has nobody to tell when w takes no more.
func (q *logQueue) write(w io.Writer, line []byte, own *slog.Logger) {
	_, _ = w.Write(line)
	if n := q.lost.Swap(0); n > 0 {
		own.Warn("lines of this log were lost: it was not read in time", "lines", n)
	}
}
