package h2

import "github.com/edge-proxy/edge/internal/stream/section"

// Stream is one exchange of a Conn. Owned by its Conn, which uses it again: see Event for when it dies.
type Stream struct {
	ID    uint32 // 0 until a client has sent the head
	Owner any    // the caller's; nil in a new stream

	conn  *Conn
	flag  streamFlags
	asked section.Asked // by the request

	urgency uint8 // RFC 9218: 0 first, 7 last
	serial  bool  // not incremental: sent before later streams of its urgency
	queued  queueState
	interim uint8

	sendWindow int64 // bytes that the peer lets us send; may be negative after a change of its settings
	untaken    int64 // bytes sent for which the peer has not opened the window again
	recvWindow int64 // bytes that we let the peer send
	windowSize int64 // how large we keep recvWindow
	grown      int64 // by how much windowSize has grown
	owed       int64 // bytes delivered and not released
	credit     int64 // bytes released and not yet announced by WINDOW_UPDATE
	left       int64 // bytes of the body still to come, -1 without Content-Length
	drainedAt  int64 // when the last window was announced
	blockedAt  int64 // since when it waits for window
	readAt     int64 // when something was last released, or owed began
	lingerBy   int64 // when lingering ends
	lingerLeft int64 // how many more bytes are discarded while it lingers

	protocol string // :protocol of an extended CONNECT

	links     [listKinds]links
	nextDying *Stream // the next one of Conn.dying
}

type streamFlags uint16

const (
	opened    streamFlags = 1 << iota // the stream is in the table
	recvHead                          // the peer's final head came
	recvEnd                           // the peer has ended
	sentHead                          // our final head is sent
	sentEnd                           // we have ended
	tunnelled                         // the answer made a tunnel
	lingers                           // answered: the rest of the request is discarded
	dead                              // closed: kept until the next call
)

type queueState uint8

const (
	unqueued   queueState = iota
	queueFull             // in the order: the caller's send queue had no room
	waitConn              // in the order: the connection window is used up
	waitStream            // in the list of streams whose own window, or share of the connection's, is used up
)

// Dead reports whether the exchange is over on this connection.
func (s *Stream) Dead() bool { return s.flag&dead != 0 }

// Ended reports whether we have ended ours.
func (s *Stream) Ended() bool { return s.flag&sentEnd != 0 }
