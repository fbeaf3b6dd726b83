package hub

import "parley/protocol"

// The sender that the hub has of a talker.

func (t *talker) push(frames []byte) bool {
	t.missed = t.missed || t.full
	for len(frames) > 0 {
		header, size := frameSize(frames)
		if frames[0] != pingFrame[0] {
			t.hear(frames[header:size])
		}
		frames = frames[size:]
	}
	return !t.full
}

func (t *talker) replace(_ slotKind, _ string, frame []byte) bool       { return t.push(frame) }
func (t *talker) mergePresence(_ *protocol.Presence, frame []byte) bool { return t.push(frame) }
func (t *talker) closeNow(code protocol.CloseCode, reason string)       { t.closeWith(code, reason) }
func (t *talker) abort()                                                { t.closeWith(0, "") }
func (t *talker) heard() bool                                           { return !t.mute }
func (t *talker) size() int                                             { return 0 }

func (t *talker) closeWith(code protocol.CloseCode, _ string) {
	if t.over {
		return
	}
	m := t.m
	switch {
	case code == protocol.CloseTakenOver && t.seat != nil && t.seat.session != "":
		t.seat.takenOver = true
	case code == protocol.CloseTakenOver && t.overtaken():
	case code == protocol.CloseRestart && m.drains:
		for _, r := range t.asked {
			if m.texts[r.text] == nil && r.event == "roomMessage" && r.text != "" && m.h.now.Before(m.drained.Add(drainAtMost)) {
				m.fail(t, "is closed, but %s was accepted and is not answered", r.text)
			}
		}
	case code == protocol.CloseTryLater && t.missed, code == 0 && t.mute:
	case code == protocol.ClosePolicy && t.bad >= maxBadFrames:
	case code == protocol.CloseLoginTimeout && t.seat == nil && (t.blocking == 0 || m.drains) && !t.loginBy.After(m.h.now):
	default:
		m.fail(t, "is closed with %d", code)
	}
	t.over, t.code = true, code
	m.depart(t, false)
}

// overtaken reports whether a login of the talker waits whose user has come back on another connection meanwhile.
func (t *talker) overtaken() bool {
	for _, r := range t.asked {
		if l := r.login; t.seat == nil && l != nil && l.Session != "" {
			if s := t.m.room(l.Room).find(l.Nick); s != nil && s.talker != nil && s.session == l.Session {
				return true
			}
		}
	}
	return false
}
