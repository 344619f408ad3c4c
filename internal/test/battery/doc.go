// Package battery holds edge against RFC 9110, RFC 9112, RFC 9113 and RFC 9114, case by case, from the outside.
//
// Each case is a row of a table: a name, the section it comes from, the bytes that are sent, and what must follow. It
// is written from the RFCs and knows nothing of how edge is made: a real edge process stands between raw sockets, the
// clients' sockets and the sockets of recording origins.
//
// # What every case proves
//
//	client ──bytes of the case, then GET /next──► edge ──► recording origin
//	victim ──GET /victim, on a new connection───►
//
// A case that passes: the origin saw this request and /next, each whole and once, in a form
// that leaves nothing to interpretation, and both answers are their own. A case that is refused:
// the status is right, the connection closes after it, and the origin saw neither a whole
// request nor /next. Either way the victim gets its own answer.
//
// The origin reads strictly, so that what a lenient one would forgive is a failure: one Host,
// one way of framing, CRLF and nothing else, no control byte, no field of the hop before.
//
// Over HTTP/2 the next request follows on the same connection, wherever RFC 9113 lets that go on, and the frames and
// header blocks are written by the tests. Origins of HTTP/2 that misbehave have another exchange waiting beside the
// case, on the connection that both share. Floods run beside a good client, with bounds for what they may cost.
//
// Over HTTP/3 the cases of HTTP/2 about messages run again, with others about streams, frames and QPACK: a Conn of
// package quic is the client, and its streams have the bytes that the tests write. The next request is on a stream of
// its own, which waits for nothing; where the connection ends, it may have come to the origin or not.
//
// # Known
//
// A case that fails today stands in a list with its reason. It runs like any other; a case that begins to pass fails
// the test, so that the list stays true.
//
// The long versions run with EDGE_SOAK=1.
package battery
