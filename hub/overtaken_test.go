package hub

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"parley/protocol"
)

// Logins that wait for the log while their user comes in on another connection.

// enter logs a caller of its own in; since 0 waits for what is to be read of the log, 3 does not.
func (p *sharedPlay) enter(node int, name string, since int64) *caller {
	c := p.connect(p.s.nodes[node])
	l := &protocol.Login{Name: name, Nick: nickOf(name), Room: modelRooms[0], Session: nickOf(name) + modelSessions[0], Since: since}
	c.logins = append(c.logins, l)
	c.ask("login", loginData(l), &question{login: l})
	p.answer()
	return c
}

func stageOfSeveral(t *testing.T, nodes int) *sharedPlay {
	p := newSharedPlay(sharedSetting{Nodes: nodes, Recent: 1, UsersLimit: 100, RoomLimit: 1000, Past: 3, Grace: DefaultGrace}, nil)
	t.Cleanup(func() {
		p.close()
		if p.wrong != "" {
			t.Error(p.wrong)
		}
	})
	return p
}

// The connection that came last stays, here or on another node, whatever became of the one that waits.
func TestOvertaken(t *testing.T) {
	for _, node := range []int{0, 1} {
		for _, lost := range []bool{false, true} {
			t.Run(fmt.Sprintf("by node %d, lost %v", node, lost), func(t *testing.T) {
				p := stageOfSeveral(t, 2)
				first := p.enter(0, "Ann", 0)
				if lost {
					first.end(false)
				}
				second := p.enter(node, "Ann", 3)
				if len(p.pages) != 1 || second.in == nil {
					t.Fatalf("%d are read for; the second is %v", len(p.pages), second.in)
				}
				p.rest()
				if second.over || second.c.member == nil || first.over == lost || first.c.member != nil {
					t.Errorf("the second is closed %v, the first %v", second.over, first.over)
				}
				p.pass(keepIdle + time.Second)
				p.checkRest()
			})
		}
	}
}

// A newcomer whose login has to ask once more, and so is no newcomer any more, is announced all the same.
func TestNewcomerAsksAgain(t *testing.T) {
	p := stageOfSeveral(t, 1)
	bob := p.enter(0, "Bob", 3)
	p.pass(time.Second)
	ann := p.enter(0, "Ann", 0)
	p.enter(0, "Ann", 3).end(false)
	p.rest()
	p.pass(time.Second)
	if !slices.Contains(bob.list, ann.user) || ann.in == nil && !ann.over {
		t.Errorf("Bob knows of %v, Ann is %v", bob.list, ann.user)
	}
}

// Word that somebody types may come behind them from the node where they were: they are not told of themselves.
func TestTypedElsewhereBefore(t *testing.T) {
	p := stageOfSeveral(t, 2)
	there := p.enter(0, "Ann", 3)
	p.enter(1, "Bob", 3)
	there.ask("typing", `{"typing":true}`, &question{})
	late := take(&p.s.nodes[1].calls, 0)
	p.enter(1, "Ann", 3)
	late()
	p.rest()
}

// The same where there is but one server.
func TestOvertakenAlone(t *testing.T) {
	p := newPlay(setting{Recent: 1, UsersLimit: 100, RoomLimit: 1000, LoginTimeout: time.Minute, Names: 1, Fault: 100}, nil)
	defer p.m.h.writers.close()
	enter := func(slot int, name string, since int64) *talker {
		p.connect(slot)
		l := &protocol.Login{Name: name, Nick: nickOf(name), Room: modelRooms[0], Session: nickOf(name) + modelSessions[0], Since: since}
		p.slots[slot].ask("login", loginData(l), &request{login: l})
		p.flush()
		return p.slots[slot]
	}
	bob := enter(0, "Bob", -1)
	p.rest()
	p.message(bob, step{})
	p.rest()
	p.m.evict()
	first := enter(1, "Ann", 0)
	second := enter(2, "Ann", p.m.log.seq)
	if len(p.m.pages) != 1 || second.seat == nil {
		t.Fatalf("%d are read for; the second is %v", len(p.m.pages), second.seat)
	}
	p.rest()
	if p.check(); second.over || !first.over || p.m.wrong != "" {
		t.Errorf("the second is closed %v, the first %v; %s", second.over, first.over, p.m.wrong)
	}
}
