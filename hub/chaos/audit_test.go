package chaos

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"time"

	"parley/hub/hubtest"
)

// agreeWithin is the lease, twice: the NATS servers may be electing a leader when a fault of theirs is over, and this
// machine be busy.
const agreeWithin = 2 * clusterLease

// audit waits until all servers tell the same users list of each room, after a fault that is over. Life goes on
// meanwhile.
func (c *cluster) audit(w *world) {
	begin := time.Now()
	for {
		ctx, cancel := context.WithTimeout(w.t.Context(), loginWait)
		differ := c.differ(ctx)
		cancel()
		took := time.Since(begin)
		c.agreed = max(c.agreed, took)
		switch {
		case differ == "":
			return
		case took > agreeWithin:
			w.violation("%v after a fault %s", took, differ)
			return
		}
		w.pass(20 * time.Millisecond)
	}
}

// differ asks every server who is in each room, and the first of them again: what that tells twice, all are to tell
// in between. It says where they differ, or what kept it from knowing; "" when they agree.
func (c *cluster) differ(ctx context.Context) string {
	for i := range rooms {
		room := "room" + strconv.Itoa(i)
		var conns []*hubtest.Conn
		defer func() {
			for _, conn := range conns {
				conn.Drop()
			}
		}()
		for _, s := range c.servers {
			c.auditors++
			conn, _, err := join(ctx, s.WS(), hubtest.Login{Name: fmt.Sprint("auditor ", c.auditors), Room: room})
			if err != nil {
				return fmt.Sprintf("%s does not let an auditor in: %v", s.Addr(), err)
			}
			conns = append(conns, conn)
		}
		var first []hubtest.User
		for n, conn := range append(conns, conns[0]) {
			users, err := askUsers(ctx, conn)
			switch {
			case err != nil:
				return fmt.Sprintf("a server does not say who is in %s: %v", room, err)
			case n == 0:
				first = users
			case !slices.Equal(users, first):
				return fmt.Sprintf("server 0 tells of %+v in %s, and server %d of %+v", first, room, n%len(conns), users)
			}
		}
	}
	return ""
}

func askUsers(ctx context.Context, conn *hubtest.Conn) ([]hubtest.User, error) {
	if err := conn.Write(ctx, "users", nil, 2); err != nil {
		return nil, err
	}
	for {
		f, err := conn.Read(ctx)
		if err != nil {
			return nil, err
		}
		if f.Event != "ack" || f.AckID < 2 {
			continue
		}
		if r := f.Refusal(); r != nil {
			return nil, r
		}
		var page hubtest.UsersPage
		err = f.Decode(&page)
		return page.Users, err
	}
}
