package h3

// Kind is the kind of an Event: what Conn.Next found.
type Kind uint8

// The kinds of an Event.
const (
	NeedMore Kind = iota // nothing more in the event of QUIC, whose bytes are all used
	HeadDone             // the head is filled: a request, a final answer, or an interim one; End when nothing follows
	Data                 // a piece of the body, owed until Release; End with the last one, which may be empty
	Trailers             // the head is filled with trailer fields; End is set
	Reset                // the stream is over: the peer gave it up, or a fault of the peer ended it
	Sendable             // Stream, for which SendData had no room, may send
	Settings             // SETTINGS of the peer were applied, or a client may open more streams
	GoAway               // the peer takes no new streams; those that it has not seen are Reset next, as rejected
	Fault                // the connection is over: the Conn of QUIC is closed, and says why
)

var kindText = [...]string{
	"NeedMore", "HeadDone", "Data", "Trailers", "Reset", "Sendable", "Settings", "GoAway", "Fault",
}

// String names k.
func (k Kind) String() string { return kindText[k] }

// Event is what Conn.Next and Conn.Expire return. Body is borrowed from the event of QUIC.
//
// Stream is dead once Reset is returned, and once both ends have passed: it is still there, with its Owner, until the
// next call of Next or Expire, and another exchange's afterwards. It is nil where the stream never reached the caller:
// a malformed request is a Reset without one, only for the log.
type Event struct {
	Kind   Kind
	End    bool // HeadDone, Data, Trailers: the peer's last on this stream
	Code   Code // Reset, Fault
	Stream *Stream
	Body   []byte // Data
	Err    error  // Reset, Fault: what was wrong; ErrPeerReset for the peer's own
}
