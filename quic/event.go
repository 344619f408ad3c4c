package quic

// EventKind says what Next has to tell.
type EventKind uint8

// The kinds of events.
const (
	None        EventKind = iota // nothing more: the datagram is used up
	Crypto                       // Body is bytes of the handshake, in order
	Established                  // the handshake is confirmed
	Data                         // Body is bytes of Stream, in order; with End the last ones
	Reset                        // the peer gave Stream up: no data follows
	Stopped                      // the peer wants no more of Stream: what was sent is dropped
	Sendable                     // Stream, for which Send had no room, may send
	Room                         // Open may have room again
	IDRetired                    // no packets come to ID any more
	Moved                        // the peer has another address, which is validated: see Conn.Path
	Closed                       // the connection is over: see Conn.Closed
)

// Event is what happened. A Stream of it is alive until Done was called for it.
type Event struct {
	Kind   EventKind
	Level  Level // of Crypto
	End    bool
	Stream *Stream
	Body   []byte // borrowed until the next call of Next
	Code   uint64 // of the application: Reset, Stopped
	ID     ID
}

// Closure is how a connection ended.
type Closure struct {
	Err    error  // an *Error, or ErrIdle, ErrHandshakeTimeout, ErrReset, ErrPeer; nil after Close without an error
	Code   uint64 // that the peer was told, or told
	App    bool   // Code is one of the application
	ByPeer bool
}
