package h3

import (
	"github.com/edge-proxy/edge/internal/base/list"
	"github.com/edge-proxy/edge/internal/stream/section"
	"github.com/edge-proxy/edge/quic"
)

// Stream is one exchange of a Conn; within the package, also a one-way stream. Owned by its Conn, which uses it again:
// see Event for when it dies.
type Stream struct {
	ID    uint64 // of QUIC, once a client has sent the head
	Owner any    // the caller's; nil in a new stream

	conn  *Conn
	qs    *quic.Stream // nil until a client has sent the head
	role  streamRole
	flag  streamFlags
	asked section.Asked // by the request

	interim uint8

	// the frame that is read
	state   frameState
	partLen uint8
	part    [headMax]byte // its head, as far as it has come
	kind    uint64
	rest    uint64 // of its payload
	block   []byte // its payload, where that comes in parts

	left     int64 // bytes of the body still to come, -1 without Content-Length
	openedAt int64
	queue    []byte // of ours, waits for a window
	protocol string // :protocol of an extended CONNECT

	opening   list.Node[Stream] // in Conn.streams
	heading   list.Node[Stream] // in Conn.heads
	nextDying *Stream           // the next one of Conn.dying
}

type streamFlags uint16

const (
	recvHead  streamFlags = 1 << iota // the peer's final head came
	recvEnd                           // the peer has ended
	sentHead                          // our final head is sent, or queued
	sentEnd                           // QUIC has all that we send
	endDue                            // our end is queued
	muted                             // the peer wants no more of us: what we send is thrown away
	blocked                           // the caller waits for Sendable
	tunnelled                         // the answer made a tunnel
	dead                              // closed: kept until the next call
)

// streamRole says what a stream is for. For a one-way stream of the peer it is the type that it began with.
type streamRole uint64

const (
	control    streamRole = iota // RFC 9114 §6.2
	push                         //
	encoder                      // RFC 9204 §4.2
	decoder                      //
	request                      //
	untyped                      // a one-way stream of the peer, whose type did not come yet
	ownControl                   // ours
)

// frameState says what comes next on a stream.
type frameState uint8

const (
	atHead  frameState = iota // the head of a frame
	inData                    // DATA, passed on as it comes
	inBlock                   // a payload that is read as a whole
	inSkip                    // a payload that is thrown away
)

// Dead reports whether the exchange is over on this connection.
func (s *Stream) Dead() bool { return s.flag&dead != 0 }

// Ended reports whether we have ended ours.
func (s *Stream) Ended() bool { return s.flag&(sentEnd|endDue) != 0 }
