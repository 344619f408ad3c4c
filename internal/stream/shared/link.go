package shared

import (
	"time"

	"github.com/edge-proxy/edge/engine"
	"github.com/edge-proxy/edge/internal/base/list"
	"github.com/edge-proxy/edge/internal/stream"
)

// Link is a connection that many exchanges share, of either end, as far as no version of HTTP matters. The session of
// each version embeds it.
// Owned by its reactor.
//
// Frames that a stream's method asks for outside a batch leave by a task of the same tick: all that a tick produces,
// for any number of streams, is one write.
//
//	armed != 0         the connection's timer fires then or earlier: it is moved only for what is due before
//	inTurn => inBatch; inCallback => the callback of that stream runs
type Link struct {
	conn         *engine.Conn
	wire         Wire
	end          End
	pool         *Pool
	live         []*Stream // in no order
	task         engine.Task
	inCallback   *Stream // the stream whose callback runs
	armed        int64
	queueBlocked int           // streams that are blocked by the send queue
	todos        int           // streams with something that the task has to tell them
	charged      engine.Charge // bytes that the codec holds for the peer, as accounted

	server    bool // this end is the server's
	connected bool // the connection was established
	inBatch   bool // events are being worked on: EndBatch comes
	inTurn    bool // a stream was unblocked and sends
	posted    bool // the task was deferred and has not begun
}

// Start prepares l for conn. A server's connection is established; a client says so by Connected. Streams come from
// pool.
func (l *Link) Start(conn *engine.Conn, w Wire, e End, pool *Pool, server bool) {
	l.conn, l.wire, l.end, l.pool = conn, w, e, pool
	l.server, l.connected = server, server
	l.task.Run = l.run
}

// relieve makes the end of l act as on a deadline for exchanges that their peer has kept waiting for age, until the
// pressure is gone. It returns how many there were. waited says for how long a stream has waited, and whether it does.
func (l *Link) relieve(age time.Duration, waited func(s *Stream) (time.Duration, bool)) (n uint64) {
	for i := 0; i < len(l.live); {
		s := l.live[i]
		if d, waits := waited(s); !waits || d < age {
			i++
			continue
		}
		n++
		if l.end.OnDeadline(s); s.receiver != nil {
			i++
		} else {
			i = 0 // callbacks change the list
		}
		if !l.conn.Open() || l.conn.Reactor().Pressure() < engine.PressureAccept {
			break
		}
	}
	return n
}

// Conn is the connection; nil before Start.
func (l *Link) Conn() *engine.Conn { return l.conn }

// Streams returns how many exchanges are in progress.
func (l *Link) Streams() int { return len(l.live) }

// IsServer reports whether this end is the server's.
func (l *Link) IsServer() bool { return l.server }

// Established reports whether the connection was ever established.
func (l *Link) Established() bool { return l.connected }

// Each calls f for each exchange in progress.
func (l *Link) Each(f func(r stream.Receiver, tunnel bool)) {
	for _, s := range l.live {
		if s.receiver != nil {
			f(s.receiver, s.tunnel == stream.TunnelOpen)
		}
	}
}

// KeepPeer makes the exchanges in progress keep the address of the peer, before the connection has another.
func (l *Link) KeepPeer() {
	peer := l.conn.Peer()
	for _, s := range l.live {
		if s.peer == nil {
			s.peer = &peer
		}
	}
}

// Charge charges n bytes that the codec holds for the peer to the account of the reactor: a head that has come in part,
// for one. They replace the bytes of the call before. The last call of a connection is with 0.
func (l *Link) Charge(n int) {
	l.charged.Set(n, l.conn.Reactor())
}

// Pool is the free streams of one reactor, which owns it.
type Pool struct{ free list.Spare[Stream] }

// streamsKept bounds the free streams of a pool.
const streamsKept = 1024

func (p *Pool) take() *Stream {
	s := p.free.Take()
	s.peer = nil
	return s
}

func (p *Pool) park(s *Stream) {
	if n := len(s.earlyBytes); n > 0 {
		s.link.conn.Reactor().Account(-n)
	}
	early := s.earlyBytes[:0]
	if cap(early) > earlyKept {
		early = nil
	}
	*s = Stream{link: s.link, peer: s.peer, earlyBytes: early} // a method that is called too late finds no receiver
	p.free.Put(s, streamsKept)
}

// earlyKept is the capacity for early bytes that a free stream keeps.
const earlyKept = 4 << 10

// remove takes s out of live.
func (l *Link) remove(s *Stream) {
	last := len(l.live) - 1
	moved := l.live[last]
	l.live[s.index], moved.index = moved, s.index
	l.live[last] = nil
	l.live = l.live[:last]
	s.clearBlock()
	if s.todo != nothing {
		s.todo = nothing
		l.todos--
	}
	s.deadline = 0
}

// InBatch reports whether a batch is under way: EndBatch comes.
func (l *Link) InBatch() bool { return l.inBatch }

// HasTurn reports whether a stream may send more, although others may wait for room in the queue. sent says that it has
// sent something in this call.
func (l *Link) HasTurn(sent bool) bool { return l.queueBlocked == 0 || !sent && l.inTurn }

// FlushSoon makes sure that a batch ends in this tick: frames are pending, or streams have something to be told.
func (l *Link) FlushSoon(pending bool) {
	if !l.inBatch && (l.todos > 0 || pending && l.conn.Open()) {
		l.Post()
	}
}

// Post makes the task run in this tick.
func (l *Link) Post() {
	if !l.posted {
		l.posted = true
		l.conn.Reactor().Defer(&l.task)
	}
}

// ArmTimer makes the connection's timer fire at the time at or before; 0 is never.
func (l *Link) ArmTimer(at int64) {
	if at == 0 || l.armed != 0 && l.armed <= at || !l.connected {
		return
	}
	l.armed = at
	l.conn.SetTimeout(time.Duration(max(at-l.conn.Reactor().Now(), 1)))
}

// AbandonBatch ends a batch whose connection is closed.
func (l *Link) AbandonBatch() { l.inBatch = false }
