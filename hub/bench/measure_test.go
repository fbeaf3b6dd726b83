//go:build linux

package bench

import (
	"slices"
	"time"
)

// cost runs what makes deliveries and tells the server's processor time for each, in
// microseconds, once all have arrived.
func (l *load) cost(send func() (deliveries int)) float64 {
	before, from := l.s.cpu(), l.delivered
	want := from + send()
	l.await(want)
	l.until(20*time.Millisecond, func() bool { return false }) // for what the server does afterwards
	return float64((l.s.cpu() - before).Microseconds()) / float64(want-from)
}

// await waits for deliveries. One that is missing fails the test; one too many or
// out of order has done so already.
func (l *load) await(delivered int) {
	if !l.until(time.Minute, func() bool { return l.delivered >= delivered }) || l.delivered > delivered {
		l.t.Fatalf("%d of %d deliveries, %d connections closed", l.delivered, delivered, l.closed)
	}
}

// paced has the senders take turns, at a rate a second in all, each message at its
// time. It returns how many deliveries that makes.
func (l *load) paced(senders []*conn, rate float64, length time.Duration, size int, ack bool) (deliveries int) {
	begin, n := l.now(), 0
	total := int(rate * length.Seconds())
	l.until(length+time.Minute, func() bool {
		for n < total {
			due := begin + time.Duration(float64(n)/rate*float64(time.Second))
			if l.now() < due {
				break
			}
			c := senders[n%len(senders)]
			l.out = l.message(l.out[:0], c, size, due, ack)
			l.write(c, l.out)
			deliveries += len(c.room.members)
			n++
		}
		return n == total
	})
	return deliveries
}

// bursts sends n messages at once, and the next when all have arrived.
func (l *load) bursts(c *conn, n int, length time.Duration) (deliveries int) {
	from := l.delivered
	for end := l.now() + length; l.now() < end; {
		l.out = l.out[:0]
		for range n {
			l.out = l.message(l.out, c, textSize, l.now(), false)
		}
		l.write(c, l.out)
		deliveries += n * len(c.room.members)
		l.await(from + deliveries)
	}
	return deliveries
}

// saturated keeps so many messages in flight in every room, each until it has
// reached all members, and returns deliveries a second and the server's time for one.
func (l *load) saturated(window int, length time.Duration) (perSecond, cost float64) {
	var free []*room
	for _, r := range l.rooms {
		r.seen, r.oldest = make([]int, r.sent), r.sent
		free = append(free, slices.Repeat([]*room{r}, window)...)
	}
	l.whole = func(r *room) { free = append(free, r) }
	defer func() { l.whole = nil }()
	begin, cpu, from, sent := l.now(), l.s.cpu(), l.delivered, 0
	l.until(length+time.Minute, func() bool {
		for _, r := range free {
			l.out = l.message(l.out[:0], r.members[0], textSize, l.now(), false)
			l.write(r.members[0], l.out)
			sent += len(r.members)
		}
		free = free[:0]
		return l.now()-begin > length
	})
	l.await(from + sent)
	n := float64(sent)
	return n / (l.now() - begin).Seconds(), (l.s.cpu() - cpu).Seconds() * 1e6 / n
}

// quantile of a list, in milliseconds. It sorts the list.
func quantile(list []time.Duration, q float64) float64 {
	if len(list) == 0 {
		return 0
	}
	slices.Sort(list)
	return list[min(len(list)-1, int(q*float64(len(list))))].Seconds() * 1e3
}
