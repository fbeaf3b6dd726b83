package doctor

import (
	"context"
	"time"
)

const swallowedChange = "nothing on the way that takes WebSocket control frames out or answers them itself"

// silence watches a connection on which nobody says anything until the server's first ping: nothing on the way may
// end it before.
func (d *doctor) silence(ctx context.Context) {
	const name = "silence"
	if d.opts.Wait <= 0 {
		d.skipped(name, "not watched")
		return
	}
	a := d.dial(ctx, d.at("ws"), d.origin())
	if a.err == nil {
		defer a.conn.CloseNow()
		a.err = d.greeted(ctx, a)
	}
	if a.err != nil {
		d.problem(name, "see the server's log; --conns-per-ip may be too low", "a second connection was not made: %v", a.err)
		return
	}
	interval := time.Duration(a.welcome.PingInterval) * time.Millisecond
	// The server looks once a second whom to ping.
	enough := interval + interval/4 + 2*time.Second
	begin := time.Now()
	limit := time.NewTimer(min(enough, d.opts.Wait))
	defer limit.Stop()
	reading, cancel := context.WithCancel(ctx)
	defer cancel()
	ended := make(chan error, 1)
	go func() {
		_, _, err := a.conn.Read(reading)
		ended <- err
	}()
	round := func(t time.Duration) time.Duration { return t.Round(100 * time.Millisecond) }
	select {
	case <-a.pinged:
		d.ok(name, "%v without a word are survived: the server pings", round(time.Since(begin)))
	case <-ended:
		after := time.Since(begin)
		switch {
		case ctx.Err() != nil:
			return
		case after > interval+interval/2: // by the server, which had no answer to its pings
			d.problem(name, swallowedChange, "the server's pings, each %v, do not come through: silent connections end after %v", interval, round(after))
			return
		}
		d.problem(name, "proxy_read_timeout and proxy_send_timeout of at least two ping intervals, 60s as they stand in deploy/nginx.conf (or a shorter --ping-interval)",
			"silent connections are cut after %v, before the server's ping, which comes each %v", round(after), interval)
		return
	case <-limit.C:
		if d.opts.Wait < enough {
			d.skipped(name, "not seen to the end: watched %v, the server pings each %v (--wait)", d.opts.Wait, interval)
		} else {
			d.problem(name, swallowedChange, "the server's pings, each %v, do not come through: none within %v", interval, round(enough))
		}
	case <-ctx.Done():
	}
	cancel()
	<-ended
}
