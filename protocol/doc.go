// Package protocol is the wire protocol of Parley, version 1: PROTOCOL.md beside
// this file, in Go. It reads what a client sends and writes what the server says;
// no other package knows that the wire is JSON.
//
// A frame comes in through two steps, which no connection state enters:
//
//	e, err := protocol.Decode(frame)   // section 2: is it an envelope?
//	req, bad := parser.Parse(e)        // section 3: is it a request that makes sense?
//
// What Parse returns is one of the closed set of [Request] types, typed and within
// every limit of section 3, so nobody behind it looks at bytes or checks a range
// again. What it refuses is an [*Error], which [AppendError] turns into the answer.
//
// What goes out is appended to a caller's buffer by the Append functions, one for
// each event and acknowledgement of sections 3 and 4. They allocate only to grow
// that buffer. Payloads that are sent to many, or kept (a room's messages, its list
// of users), are encoded once and copied from then on.
//
// Decoding is strict where the usual decoders are lenient: names are compared to
// the letter, a name given twice is an error, and text that is not Unicode is
// refused rather than repaired.
package protocol
