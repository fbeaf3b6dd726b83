package hub

import (
	"testing"
	"time"

	"parley/protocol"
)

// One who goes on talking does not keep the server from ending, and what was
// accepted is answered first (section 7).
func TestDrainUnderLoad(t *testing.T) {
	p := newPlay(setting{Recent: 1000, UsersLimit: 100, RoomLimit: 100, Names: 1, Fault: 2}, nil)
	defer p.m.h.writers.close()
	talk := func() {
		p.act(step{kind: sends, b: 3, c: 1, flush: true})
		p.act(step{kind: commits, b: 4, flush: true})
		p.act(step{kind: reports, flush: true})
		p.act(step{kind: reports, flush: true})
		p.act(step{kind: sends, b: 3, c: 1, flush: true}) // there is always one at the log
	}
	p.act(step{kind: connects})
	p.act(step{kind: logsIn, flush: true})
	p.rest()
	talk()
	p.act(step{kind: drains, flush: true})
	ann := p.slots[0]
	for d := time.Duration(0); d < 2*time.Second && !ann.over; d += 10 * time.Millisecond {
		talk()
		p.pass(10 * time.Millisecond)
	}
	if p.m.wrong != "" {
		t.Fatal(p.m.wrong)
	}
	if !ann.over || ann.code != protocol.CloseRestart {
		t.Errorf("closed: %v, with %d", ann.over, ann.code)
	}
}

// When the log does not answer the server ends all the same, within 30 seconds,
// and tells everybody.
func TestDrainWithoutALog(t *testing.T) {
	for _, connected := range []bool{true, false} {
		p := newPlay(setting{Recent: 1000, UsersLimit: 100, RoomLimit: 100, Names: 1, Fault: 2}, nil)
		p.act(step{kind: connects})
		p.act(step{kind: logsIn, flush: true})
		p.rest()
		ann := p.slots[0]
		p.act(step{kind: sends, b: 3, flush: true})
		if !connected {
			p.act(step{kind: ends, b: 1, flush: true})
		}
		p.act(step{kind: drains, flush: true})
		p.pass(20 * time.Second)
		if ann.over || p.m.h.draining.done {
			t.Error("the message is given up early")
		}
		p.pass(9 * time.Second)
		if ann.over != connected || !p.m.h.draining.done {
			t.Errorf("after 29 s: closed %v, at its end: %v", ann.over, p.m.h.draining.done)
		}
		p.m.h.writers.close()
	}
}
