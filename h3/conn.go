package h3

import (
	"math"

	"github.com/edge-proxy/edge/h3/qpack"
	"github.com/edge-proxy/edge/internal/base/budget"
	"github.com/edge-proxy/edge/internal/base/list"
	"github.com/edge-proxy/edge/internal/stream/section"
	"github.com/edge-proxy/edge/message"
	"github.com/edge-proxy/edge/quic"
)

// Conn is HTTP/3 on one connection of QUIC: the state machine of RFC 9114, without I/O and without a clock. Init it
// before use. Owned by its reactor.
//
//	current != nil <=> the event of QUIC is about this stream; until NeedMore it stays alive
//	spent => nothing is left of that event
//	open == exchanges that are not dead; unsent == exchanges of a client whose head is not sent
type Conn struct {
	o      *Options
	arena  *Arena
	enc    qpack.Encoder // has no state
	q      *quic.Conn
	now    int64
	limits section.Limits

	role    Role
	got     uint8 // a bit for each critical stream of the peer that came, by its type
	flag    connFlags
	current *quic.Stream

	own      *Stream // our control stream; nil until the peer lets us open it
	nextPeer uint64  // the lowest number of a request that the peer has not opened
	sentLast uint64  // requests from this number on are rejected, as our last GOAWAY says; idMax before it
	peerLast uint64  // the same of the peer's GOAWAY; noGoAway before it
	pushMax  uint64  // MAX_PUSH_ID
	peerList uint64  // SETTINGS_MAX_FIELD_SECTION_SIZE: what the peer takes of a head or of trailers, see fits

	streams list.List[Stream] // the exchanges that QUIC knows, oldest first
	heads   list.List[Stream] // exchanges of a server whose head has not come, oldest first
	open    int
	unsent  int
	joined  int // bytes of frames that have come in part
	kept    int // bytes of the buffers in which these are joined, and of those that wait for windows

	dying    *Stream
	fault    *Error
	goAwayBy int64 // when the last GOAWAY is due; 0: never

	buckets [abuseCount]budget.Bucket
}

type connFlags uint16

const (
	spent        connFlags = 1 << iota // nothing is left of the current event
	doneDue                            // the current stream is over: QUIC is told when the event is used up
	gotSettings                        // the first frame of the peer's control stream
	sentGoAway                         // the first GOAWAY of a graceful end, or the only one
	peerExtended                       // the peer takes extended CONNECT
	faultTold                          // the Fault event was returned, or is not due
)

// Init begins HTTP/3 on q, whose handshake may still be in progress. o may be nil; it must not change while c is in
// use.
func (c *Conn) Init(role Role, q *quic.Conn, o *Options) {
	if o == nil {
		o = &defaultOptions
	}
	*c = Conn{
		o: o, arena: o.Arena, q: q, limits: o.limits(), role: role,
		sentLast: idMax, peerLast: noGoAway, peerList: math.MaxUint64,
	}
	if c.arena == nil {
		c.arena = new(Arena)
	}
}

// Next consumes bytes from the front of in.Body, up to the first event, and reports how many. Every event of QUIC is
// given to it, None too: until NeedMore, each time without the bytes that were used. h is scratch: its Base is the
// Arena's and is valid until Next is called on any Conn of that Arena.
func (c *Conn) Next(in *quic.Event, h *message.Head, now int64) (n int, ev Event) {
	c.now = now
	c.reap()
	if c.fault == nil {
		var err *Error
		if c.sweep(&ev) {
			return 0, ev
		}
		if n, err = c.take(in, h, &ev); err != nil {
			c.fail(err)
		} else if ev.Kind != NeedMore {
			c.check()
			return n, ev
		}
	}
	if c.flag&doneDue != 0 {
		c.q.Done(c.current)
	}
	c.current = nil
	c.flag &^= spent | doneDue
	if c.fault != nil {
		return len(in.Body), c.tellFault()
	}
	return n, ev
}

// take acts on an event of QUIC. ev is empty before, and filled where it is, as in package h2.
func (c *Conn) take(in *quic.Event, h *message.Head, ev *Event) (n int, err *Error) {
	if c.own == nil {
		c.openControl()
	}
	if c.flag&spent != 0 {
		return len(in.Body), nil
	}
	c.current = in.Stream
	switch in.Kind {
	case quic.Data:
		if n, err = c.onData(in, h, ev); err == nil {
			c.q.Release(in.Stream, n-len(ev.Body))
		}
		return n, err
	case quic.Reset:
		err = c.onReset(in, ev)
	case quic.Stopped:
		err = c.onStopped(in, ev)
	case quic.Sendable:
		if s, ok := in.Stream.Owner.(*Stream); ok {
			c.onSendable(s, ev)
		}
	case quic.Room:
		if c.role == Client {
			ev.Kind = Settings
		}
	case quic.Closed:
		err = ErrQUIC
	default:
		return 0, nil
	}
	c.flag |= spent
	return 0, err
}

// sweep resets the last stream of a client that the server's GOAWAY says was not processed.
func (c *Conn) sweep(ev *Event) bool {
	s := c.streams.Last()
	if c.role == Server || s == nil || s.ID < c.peerLast {
		return false
	}
	c.giveUp(s, RequestCancelled)
	ev.Kind, ev.Code, ev.Stream, ev.Err = Reset, RequestRejected, s, errPeerGoAway
	return true
}

// fail ends the connection.
func (c *Conn) fail(e *Error) {
	if c.fault == nil {
		if c.fault = e; e != ErrQUIC {
			c.arena.Stats.Faults++
		}
		c.q.Close(uint64(e.Code))
	}
}

func (c *Conn) tellFault() Event {
	if c.flag&faultTold != 0 {
		return Event{}
	}
	c.flag |= faultTold
	return Event{Kind: Fault, Code: c.fault.Code, Err: c.fault}
}

// Lent returns how many bytes of memory c holds for its peer, beside QUIC: streams, and buffers of heads that have come
// in part. The caller accounts for it, since the peer decides how much it is.
func (c *Conn) Lent() int { return c.kept + c.open*streamSize }

// Opened returns how many streams the peer of a server has opened so far.
func Opened(c *Conn) int { return int(c.nextPeer / 4) }
