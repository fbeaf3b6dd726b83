package hub

import (
	"context"
	"sync"

	"parley/protocol"
	"parley/store"
)

// page is a part of a room's log: what is asked of a log reader, and what it
// found. It belongs to one goroutine at a time.
type page struct {
	c     *client
	ackID int64
	room  string
	query store.Query
	login *loginPage // nil for a history request

	messages [][]byte // data objects, oldest first
	seqs     []int64  // of messages
	more     bool     // there are further ones in the direction of the query
	dropped  int64    // the room's highest seq that has been dropped
	err      error
}

// answerBytes is how much JSON of messages an answer holds at most (section 3).
const answerBytes = 512 << 10

// arrayBytes is what an array takes beside its elements with a comma each.
const arrayBytes = len("[]") - len(",")

// answer is the acknowledgement of a history request.
func (p page) answer() []byte {
	if p.err != nil {
		return appendText(nil, protocol.AppendError(nil, p.ackID, protocol.EventHistory, protocol.NewError(protocol.CodeUnavailable)))
	}
	return appendText(nil, protocol.AppendHistoryAck(nil, p.ackID, p.messages, p.more))
}

// logReaders are the few goroutines that read the log for the hub, since it
// waits for no disk. They encode what they read, so that the hub need not.
type logReaders struct {
	log  store.Log
	post func(event)

	asked  chan page
	ctx    context.Context
	cancel context.CancelFunc
	wg     sync.WaitGroup
}

// The bounds of what may wait for the log readers. A connection has one request
// with them at a time.
const (
	readerCount = 4
	readerQueue = 1024
)

func newLogReaders(log store.Log, post func(event)) *logReaders {
	ctx, cancel := context.WithCancel(context.Background())
	return &logReaders{log: log, post: post, asked: make(chan page, readerQueue), ctx: ctx, cancel: cancel}
}

func (rs *logReaders) start() {
	for range readerCount {
		rs.wg.Go(rs.loop)
	}
}

func (rs *logReaders) stop() {
	rs.cancel()
	rs.wg.Wait()
}

// ask hands over a request. It never blocks; false means too many are waiting.
func (rs *logReaders) ask(p page) bool {
	select {
	case rs.asked <- p:
		return true
	default:
		return false
	}
}

func (rs *logReaders) loop() {
	for {
		select {
		case p := <-rs.asked:
			p.read(rs.ctx, rs.log)
			rs.post(paged{p})
		case <-rs.ctx.Done():
			return
		}
	}
}

// read fills the page from the log, for history down to what an answer may hold.
func (p *page) read(ctx context.Context, log store.Log) {
	got, err := log.Read(ctx, p.room, p.query)
	if err != nil {
		p.err = err
		return
	}
	p.more, p.dropped = got.More, got.Dropped
	total := arrayBytes
	p.messages = make([][]byte, 0, len(got.Messages))
	p.seqs = make([]int64, 0, len(got.Messages))
	for _, m := range got.Messages {
		data := protocol.RoomMessageData(appendMessage(nil, m))
		p.messages = append(p.messages, data)
		p.seqs = append(p.seqs, m.Seq)
		total += len(data) + 1
	}
	if p.login != nil {
		return // the room's window may come on top: recall decides what fits
	}
	// What does not fit goes at the far end: the oldest of the newest, the newest of the oldest.
	for n := len(p.messages); total > answerBytes && n > 1; n-- {
		p.more = true
		if p.query.Oldest {
			total -= len(p.messages[n-1]) + 1
			p.messages, p.seqs = p.messages[:n-1], p.seqs[:n-1]
		} else {
			total -= len(p.messages[0]) + 1
			p.messages, p.seqs = p.messages[1:], p.seqs[1:]
		}
	}
}
