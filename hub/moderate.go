package hub

import (
	"context"
	"errors"

	"parley/protocol"
	"parley/store"
)

// handleKick removes somebody from the room (section 3, kick): the one concerned
// is closed with 4503, which ends the session for good.
func (h *Hub) handleKick(ev received, req *protocol.Kick) {
	m := ev.c.member
	if !m.moderator {
		h.fail(ev, protocol.NewError(protocol.CodeForbidden))
		return
	}
	other := h.members[req.ID]
	if other == nil || other.room != m.room {
		h.fail(ev, protocol.NewError(protocol.CodeNoSuchUser))
		return
	}
	if other != m {
		h.kick(other, req.Reason)
		h.send(ev.c, h.frame(protocol.AppendEmptyAck(h.scratch[:0], ev.ackID)))
		return
	}
	h.send(ev.c, h.frame(protocol.AppendEmptyAck(h.scratch[:0], ev.ackID)))
	h.kick(other, req.Reason)
}

// kick ends a member's stay and its connection.
func (h *Hub) kick(m *member, reason string) {
	if h.shared != nil {
		h.shared.Kick(m.Room, m.Nick, m.ID, reason)
		return
	}
	c := m.client
	h.leave(m)
	if c != nil {
		if reason == "" {
			reason = protocol.CloseRemoved.Reason()
		}
		c.out.closeWith(protocol.CloseRemoved, reason)
		h.drop(c)
	}
}

// ErrStopped: the hub has ended.
var ErrStopped = errors.New("the server is ending")

// RemoveRoom takes a room away, for good: its members get 4503, its messages and
// its lock go. It returns when that is stored.
func (h *Hub) RemoveRoom(ctx context.Context, room string) error {
	done := make(chan error, 1)
	h.post(removalRequested{room, done})
	select {
	case err := <-done:
		return err
	case <-h.stopped:
		return ErrStopped
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// removeRoom sends everybody away and asks the store. Until it answers the room
// goes on as an empty one, which its next login opens anew.
func (h *Hub) removeRoom(ev removalRequested) {
	if h.shared == nil { // else it does this on all nodes
		for _, u := range h.users.InRoom(ev.room, 0, h.users.Count(ev.room)) {
			h.kick(h.members[u.ID], "")
		}
	}
	ref := h.ref()
	out, done, err := h.dir.Remove(ref, ev.room)
	if err != nil {
		ev.done <- err
		return
	}
	if r := h.rooms[ev.room]; r != nil {
		r.opened, r.lock = false, nil
	}
	h.removals[ref] = ev.done
	if done {
		h.removed(out)
	}
}

func (h *Hub) removed(out store.Removed) {
	h.removals[out.Ref] <- out.Err
	delete(h.removals, out.Ref)
	if out.Err == nil {
		h.logger.Info("a room was removed", "room", out.Room)
		h.trim(store.Trim{Room: out.Room, Through: out.Through})
	}
}
