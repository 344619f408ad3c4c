package h2

// Stream is one exchange of a Conn. Owned by its Conn, which uses it again: see Event for when it dies.
type Stream struct {
	ID    uint32 // 0 until a client has sent the head
	Owner any    // the caller's; nil in a new stream

	conn *Conn
	flag streamFlags

	urgency uint8 // RFC 9218: 0 first, 7 last
	serial  bool  // not incremental: before those of its urgency that came later
	queued  queueState
	interim uint8

	sendWindow int64 // what the peer lets us send; may be negative after a change of its settings
	untaken    int64 // sent, and the peer has not opened the window for it again
	recvWindow int64 // what we let the peer send
	windowSize int64 // how large we keep recvWindow
	grown      int64 // by how much that has grown
	owed       int64 // delivered and not released
	credit     int64 // released and not announced
	left       int64 // of the announced length of what comes, -1 when none was
	drainedAt  int64 // when the last window was announced
	blockedAt  int64 // since when it waits for window
	readAt     int64 // when something was last released, or owed began
	lingerBy   int64 // lingers: until when
	lingerLeft int64 // lingers: how much more may come

	protocol string // of an extended CONNECT

	links [listKinds]links
	free  *Stream // the next one of those that are free, or dying
}

type streamFlags uint16

const (
	opened       streamFlags = 1 << iota // in the table
	recvHead                             // the peer's final head came
	recvEnd                              // the peer has ended
	sentHead                             // our final head is sent
	sentEnd                              // we have ended
	headAsked                            // the request is HEAD
	connectAsked                         // the request is CONNECT
	extended                             // the request is an extended CONNECT
	tunnelled                            // its answer made a tunnel
	lingers                              // answered: what comes is thrown away
	dead                                 // closed: kept until the next call
)

type queueState uint8

const (
	unqueued   queueState = iota
	queueFull             // in the order: the caller's send queue had no room
	waitConn              // in the order: the connection window is used up
	waitStream            // in the list of those whose own window is used up, or their share of the connection's
)

// Dead reports whether the exchange is over on this connection.
func (s *Stream) Dead() bool { return s.flag&dead != 0 }

// Ended reports whether we have ended ours.
func (s *Stream) Ended() bool { return s.flag&sentEnd != 0 }
