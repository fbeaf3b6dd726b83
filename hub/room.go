package hub

import (
	"slices"
	"time"

	"parley/protocol"
	"parley/store"
)

// room is one room: its lock, its connections, its newest messages.
// Owned by Run.
type room struct {
	name      string
	ready     bool         // its state has been read from the log
	lock      []byte       // SHA-256 of the access key; nil: open
	opened    bool         // lock is fixed
	asking    []*loginPage // logins that wait for its state
	clients   []*client    // the connections of its members
	count     int          // members, those in grace too
	here      int          // those that are not remote
	pending   int          // messages at the log
	people    []byte       // the list of its members as JSON, the first of them; nil when it must be made again
	news      news         // what has not been announced of its people
	idleAt    time.Time    // when it became idle last
	trimmed   int64        // everything up to this seq has been dropped from the log
	window    window       // its newest messages
	run       []byte       // frames of messages that its members have not been given yet
	runLength int          // messages in it
}

// window is a room's newest messages as the wire has them. Everything with a seq
// above from is in it; when from is above the room's trimmed, there are older ones
// in the log.
type window struct {
	entries []kept // in order of seq
	bytes   int    // of entries' data
	seq     int64  // the room's newest seq, in the window or not
	from    int64
	lru     windowNode
}

// kept is one message: the data object of its roomMessage event. Its bytes are
// part of the frame that was sent, so that it costs nothing more.
type kept struct {
	seq  int64
	data []byte
}

// The bounds of a window: what a login may be answered with (section 3), and
// what all windows together may hold.
const (
	windowMessages = store.RecentMessages
	windowBytes    = 2 * answerBytes // above it: what an answer cannot hold shows that it is full
	windowsBytes   = 64 << 20
)

// add takes the room's next message.
func (w *window) add(e kept) {
	w.entries = append(w.entries, e)
	w.bytes += len(e.data)
	w.seq = e.seq
	for len(w.entries) > windowMessages || w.bytes > windowBytes {
		w.drop(1)
	}
}

// drop forgets the n oldest entries.
func (w *window) drop(n int) {
	for i := range n {
		w.bytes -= len(w.entries[i].data)
		w.from = w.entries[i].seq
		w.entries[i] = kept{}
	}
	w.entries = w.entries[n:]
	if len(w.entries) == 0 {
		w.entries = nil
	}
}

// after returns the entries with a seq above since.
func (w *window) after(since int64) []kept {
	i, _ := slices.BinarySearchFunc(w.entries, since+1, func(e kept, seq int64) int { return int(e.seq - seq) })
	return w.entries[i:]
}

// stored takes a message from the log: into the window, and into the run that
// the members are given at the end of the step.
func (h *Hub) stored(m store.Message) {
	r := h.rooms[m.Room]
	if r == nil || !r.ready || m.Seq <= r.window.seq {
		return // nobody is there to be told; whoever comes reads it from the log
	}
	if len(r.run) == 0 {
		h.dirty = append(h.dirty, r)
	}
	h.scratch = appendMessage(h.scratch[:0], m)
	r.run = appendText(r.run, h.scratch)
	r.runLength++
	h.handout += len(h.scratch)
	payload := r.run[len(r.run)-len(h.scratch):]
	before := r.window.bytes
	r.window.add(kept{m.Seq, protocol.RoomMessageData(payload)})
	h.windows.touch(r, r.window.bytes-before)
	if len(r.run) >= stepBytes {
		h.flushRoom(r)
	}
}

// appendMessage appends a stored message as its roomMessage event.
func appendMessage(dst []byte, m store.Message) []byte {
	return protocol.AppendRoomMessage(dst, protocol.RoomMessageEvent{
		Literal: m.Body, From: m.From, UserID: m.UserID, Key: m.Key, Seq: m.Seq, At: m.At,
	})
}

// flushRoom gives the room's run to every member. It comes before anything else
// that a member is sent, and before the membership changes: or a newcomer would
// see messages twice, and an acknowledgement would pass its own message.
func (h *Hub) flushRoom(r *room) {
	if len(r.run) == 0 {
		return
	}
	run := r.run
	h.metrics.deliveries.Add(float64(len(r.clients) * r.runLength))
	h.metrics.bytes.Add(float64(len(r.clients) * len(run)))
	r.runLength = 0
	r.run = nil // shared by the queues from here on, and by the window
	for _, c := range r.clients {
		if !c.out.push(run) {
			h.slow = append(h.slow, c)
		}
	}
}

// toRoom sends a frame to everybody in the room.
func (h *Hub) toRoom(r *room, frame []byte) {
	h.flushRoom(r)
	for _, c := range r.clients {
		if !c.out.push(frame) {
			h.slow = append(h.slow, c)
		}
	}
}

// frame makes a frame of a payload that was made in scratch, so that making it
// allocates once, and no more than it needs.
func (h *Hub) frame(payload []byte) []byte {
	h.scratch = payload[:0]
	return appendText(nil, payload)
}

// send gives one client a frame, behind what its room has been sent.
func (h *Hub) send(c *client, frame []byte) {
	if c.ended {
		return
	}
	if c.member != nil {
		h.flushRoom(c.member.room)
	}
	if !c.out.push(frame) {
		h.slow = append(h.slow, c)
	}
}

// attach adds a connection to those that are sent what happens in the room.
func (r *room) attach(c *client) {
	c.roomIndex = len(r.clients)
	r.clients = append(r.clients, c)
}

func (r *room) detach(c *client) {
	last := r.clients[len(r.clients)-1]
	r.clients[c.roomIndex] = last
	last.roomIndex = c.roomIndex
	r.clients[len(r.clients)-1] = nil
	r.clients = r.clients[:len(r.clients)-1]
}

// idle reports whether nobody needs the room in memory.
func (r *room) idle() bool {
	return r.ready && r.here == 0 && r.pending == 0 && len(r.asking) == 0
}

// empty reports whether the log has no message of the room.
func (r *room) empty() bool { return r.window.seq <= r.trimmed }

// keepIdle is how long a room that everybody has left stays in memory, so that
// one who comes back at once does not wait for the log.
const keepIdle = time.Minute

// leaveIdle notes that the room may have become idle. One without messages is
// forgotten at once: its lock goes with its last member (section 9). So a room
// may have been released already, and its name be held by another.
func (h *Hub) leaveIdle(r *room) {
	if h.rooms[r.name] != r || !r.idle() {
		return
	}
	if r.empty() {
		h.release(r)
		return
	}
	r.idleAt = h.now
	at := r.idleAt
	h.timers.set(at.Add(keepIdle), func() {
		if h.rooms[r.name] == r && r.idle() && r.idleAt.Equal(at) {
			h.release(r)
		}
	})
}

// release forgets a room that is idle; the log keeps what it keeps.
func (h *Hub) release(r *room) {
	h.windows.remove(r)
	for _, u := range h.users.InRoom(r.name, 0, r.count) { // remote ones
		h.users.Delete(u.ID)
		delete(h.members, u.ID)
	}
	delete(h.rooms, r.name)
	h.dir.Release(r.name)
}

// trim follows the log's retention.
func (h *Hub) trim(t store.Trim) {
	r := h.rooms[t.Room]
	if r == nil || t.Through <= r.trimmed {
		return
	}
	r.trimmed = t.Through
	before := r.window.bytes
	r.window.drop(len(r.window.entries) - len(r.window.after(t.Through)))
	h.windows.touch(r, r.window.bytes-before)
	if r.empty() {
		h.leaveIdle(r) // else it stays idle since when it became so
	}
}

// windows keeps all windows together within bounds: the room that has been quiet
// for longest gives its messages up first, and is read from the log when needed.
type windows struct {
	bytes      int
	head, tail *room // least and most recently used
}

// windowNode links a room into windows.
type windowNode struct {
	prev, next *room
	linked     bool
}

// touch notes that the room's window is in use and grew by so many bytes.
func (ws *windows) touch(r *room, grown int) {
	ws.bytes += grown
	ws.unlink(r)
	ws.link(r)
	for ws.bytes > windowsBytes && ws.head != r {
		old := ws.head
		ws.bytes -= old.window.bytes
		old.window.drop(len(old.window.entries))
		ws.unlink(old)
	}
}

func (ws *windows) remove(r *room) {
	ws.bytes -= r.window.bytes
	ws.unlink(r)
}

func (ws *windows) link(r *room) {
	n := &r.window.lru
	n.prev, n.next, n.linked = ws.tail, nil, true
	if ws.tail != nil {
		ws.tail.window.lru.next = r
	} else {
		ws.head = r
	}
	ws.tail = r
}

func (ws *windows) unlink(r *room) {
	n := &r.window.lru
	if !n.linked {
		return
	}
	if n.prev != nil {
		n.prev.window.lru.next = n.next
	} else {
		ws.head = n.next
	}
	if n.next != nil {
		n.next.window.lru.prev = n.prev
	} else {
		ws.tail = n.prev
	}
	n.prev, n.next, n.linked = nil, nil, false
}
