// Package bench compares the server with two marks, side by side on one machine,
// and measures what a connection and a delivery cost. It has tests only:
//
//	make bench
//	go test ./hub/bench -count 1 -v -system [-scenarios a,c] [-repeats 3] [-markdown FILE]
//
// Linux only, with 20,000 open files for the largest steps.
//
// # The marks
//
//   - floor: one thread, epoll, and one write(2) of a prebuilt frame to each member.
//     It knows no users and no JSON. A server that puts several messages into one
//     write can be below it.
//   - plain: a hub on coder/websocket as one would write it at once: a goroutine and
//     a channel for each connection, a Write for each delivery.
//
// # How it measures
//
// Server and marks are processes of their own, the generator is this one: raw
// sockets, a loop over epoll, frames of which little more than the header is looked
// at. While it measures it does not sleep in epoll, but looks every 50 µs, so that
// no server pays for waking it. Processor time is the server process's own clock,
// user and system; on loopback that includes the kernel's work of receiving.
// Repeats are interleaved; the tables have median and range, and ratios of medians.
//
// Every delivery is counted: each member must get each message of its room once, in
// its sender's order. Nothing else is asserted: figures are for people.
package bench
