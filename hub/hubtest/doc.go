// Package hubtest runs the real server in tests and talks to it over the wire, in the spirit of
// net/http/httptest. It imports nothing of the server: what it knows is PROTOCOL.md, so that a test
// written with it says what any client sees.
//
//   - [Server] is a server process on a free loopback port: [Start], then kill, terminate or restart it.
//   - [Client] is a client for a test's own goroutine: it waits with a limit, and a wait that fails says what was
//     waited for and what came instead. [Client.Fence] takes the place of every sleep.
//   - [Conn] is the same wire without a test behind it: it returns errors, has no goroutine of its own and reads
//     only when told to, which is what load tests, chaos tests and deliberately slow readers need.
//   - [Proxy] stands between clients and servers and breaks connections in the ways in which networks do.
//
// Everything that is started ends with the test that started it.
package hubtest
