package l4

import (
	"cmp"
	"math"
	"math/rand/v2"
	"time"

	"github.com/edge-proxy/edge/backend"
	"github.com/edge-proxy/edge/engine"
	"github.com/edge-proxy/edge/internal/base/invariant"
	"github.com/edge-proxy/edge/internal/tls/tlsconn"
)

// pair is a client's connection and its connection to a backend.
// Owned by the reactor of both.
//
//	taken ─► peek ─► choose ─► dial ─► up stands: bytes both ways ─► both ended, a failure, or idle ─► closed, Record
//	                    ▲        │ failed
//	                    └────────┘
//
//	peeks => nothing was chosen or dialled
//	relays => there was a connection to the backend, or there is
//	not over => down.conn != nil
//	member != nil => up.conn != nil
type pair struct {
	attempt
	down, up end
	peeks    bool  // the first bytes of the client have not come, or are not whole
	asks     bool  // the backend is asked for TLS, as the client has asked: see postgres.go
	refused  bool  // the client has asked for encryption by GSSAPI
	relays   bool  // bytes are passed on
	drains   bool  // Engine.Drain is about to end
	last     int64 // Reactor.Now: a byte moved
	over     bool  // the end has begun, and both connections hear of it
}

// check panics when the invariants of pair do not hold at the end of a callback.
func (p *pair) check() {
	p.checkCounts()
	invariant.That(p.over || p.down.conn != nil, "the client has gone, and the pair goes on")
	invariant.That(p.member == nil || p.up.conn != nil, "a member counts a pair that has no connection to it")
	invariant.That(!p.relays || p.record.Connect > 0, "bytes are passed on, and no connection was made")
	invariant.That(!p.peeks || p.up.conn == nil && p.record.Tries == 0, "a member was dialled before one was chosen")
}

// Accept makes the handler of a connection that was accepted: it is the function that Engine.Listen or a
// tlsconn.Handshaker is given.
func (s *Service) Accept(c *engine.Conn) engine.Handler {
	p := s.take(c)
	if p.peeks = s.Peek; !p.peeks {
		p.lead(nil)
	}
	return &p.down
}

// AcceptHello is Accept for a connection whose ClientHello was read, and is still unread for its handler.
func (s *Service) AcceptHello(c *engine.Conn, hello *tlsconn.Hello) engine.Handler {
	p := s.take(c)
	p.lead(hello)
	return &p.down
}

func (s *Service) take(c *engine.Conn) *pair {
	p := &pair{attempt: attempt{record: Record{Service: s, Client: c, Began: c.Reactor().Now()}}}
	p.down.init(p, &p.up, c)
	p.up.init(p, &p.down, nil)
	return p
}

// Activity is what an accepted connection does at a moment.
type Activity struct {
	Backend *backend.Member // that it is connected to; nil: none yet
	In, Out int64           // bytes that came from the client and from the backend so far
	Began   int64           // Reactor.Now when the connection was taken
	Moved   int64           // Reactor.Now when a byte moved last, or the backend was connected to; 0: neither yet
}

// ActivityOf returns what the accepted connection with the handler h does. ok is false where it is none of a Service.
// On the reactor of the connection.
func ActivityOf(h engine.Handler) (a Activity, ok bool) {
	e, ok := h.(*end)
	if !ok {
		return a, false
	}
	p := e.pair
	a = Activity{In: p.down.moved, Out: p.up.moved, Began: p.record.Began, Moved: p.last}
	if p.relays {
		a.Backend = p.record.Backend
	}
	return a, true
}

// end is one side of a pair, and the handler of its connection.
type end struct {
	pair   *pair
	other  *end
	conn   *engine.Conn // nil: there is none yet, or it is closed
	splice engine.Splice
	moved  int64 // bytes that came from it
	paused bool  // it is not read, since the other side takes no more
	waits  bool  // the same, while it is spliced
	ended  bool  // it has said its end
}

func (e *end) init(p *pair, other *end, c *engine.Conn) { e.pair, e.other, e.conn = p, other, c }

// OnOpen begins to read, to connect, or to relay.
func (e *end) OnOpen(c *engine.Conn) {
	p := e.pair
	switch {
	case e == &p.up:
		p.connected(c)
	case p.peeks:
		c.SetTimeout(helloTime)
	default:
		p.begin(c)
	}
	if invariant.On {
		p.check()
	}
}

// OnData passes bytes on.
func (e *end) OnData(c *engine.Conn, in []byte) int {
	to, p := e.other.conn, e.pair
	switch {
	case p.peeks:
		return p.peek(c, in)
	case p.asks && e == &p.up && !p.relays && !p.over:
		return p.answered(c, in)
	case to == nil || !p.relays:
		return 0 // the end has begun, or reading was resumed by another call
	}
	switch err := to.Write(in); err {
	case nil:
	case engine.ErrQueueFull: // Options.SendMax is below SendLow and a read
		p.fail(ByEdge, err)
		return len(in)
	default: // to closes, and tells why
		return len(in)
	}
	e.moved += int64(len(in))
	p.touch()
	if to.Congested() {
		e.paused = true
		c.PauseRead()
	} else if !e.ended {
		c.Splice(&e.splice, to, math.MaxInt64, e)
	}
	return len(in)
}

// OnSpliced counts bytes that the kernel has moved.
func (e *end) OnSpliced(in, _ int, waits bool) {
	e.moved += int64(in)
	e.waits = waits
	e.pair.touch()
}

// OnSendable reads on from the other side.
func (e *end) OnSendable(*engine.Conn) {
	if from := e.other; from.paused && from.conn != nil {
		from.paused = false
		from.conn.ResumeRead()
	}
}

// OnEOF passes the end on. Where TLS was cut, so that bytes may be missing, that is a failure.
func (e *end) OnEOF(c *engine.Conn) {
	p := e.pair
	if !p.relays && e == &p.up {
		c.Reset(ErrNoTLS) // it was asked for TLS, and has ended
		return
	}
	e.ended = true
	switch {
	case p.peeks:
		p.fail(ByClient, ErrClientLeft)
	case c.Truncated():
		p.fail(p.sideOf(e), ErrTruncated)
	case e.other.ended:
		p.end(p.sideOf(e.other), nil) // that has said its end first
	case e.other.conn != nil:
		e.other.conn.CloseWrite()
	}
}

// OnTimeout ends a pair on which nothing has moved: with a reset where one side has not taken all that came from the
// other. The connection of the client has the time; another one has it while it is asked for TLS.
func (e *end) OnTimeout(c *engine.Conn) {
	p := e.pair
	switch {
	case e == &p.up:
		c.Reset(engine.ErrTimeout)
	case p.peeks:
		p.fail(ByClient, ErrHelloSlow)
	case p.drains && !c.Reactor().Engine().Draining(): // it was taken back
		if p.drains = false; p.relays {
			p.touch()
		}
	case p.drains && (!p.relays || p.midway() || c.Reactor().Now()-p.last < int64(drainQuiet)):
		c.SetTimeout(drainQuiet)
	case p.drains:
		p.end(ByEdge, engine.ErrStopped)
	case p.midway():
		p.fail(ByEdge, ErrIdle)
	default:
		p.end(ByEdge, ErrIdle)
	}
}

// drainQuiet is for how long nothing has moved on a pair that a drain ends.
const drainQuiet = time.Second

// OnDrain gives the pair a random part of the time that is left: clients should not all come back at once.
func (e *end) OnDrain(c *engine.Conn, left time.Duration) {
	if e.pair.drains = true; !e.pair.peeks {
		c.SetTimeout(1 + rand.N(left-left/8+1))
	}
}

// Idle reports whether nothing is lost if the connection closes: the engine asks only while no byte of it has come.
func (e *end) Idle() bool { return e.pair.peeks }

// IdleSince returns when the connection was taken.
func (e *end) IdleSince(*engine.Conn) int64 { return e.pair.record.Began }

// OnYield ends a connection that has sent nothing, for a newcomer.
func (e *end) OnYield(*engine.Conn) { e.pair.stop(ByEdge, engine.ErrClosed, (*engine.Conn).Finish) }

// OnPart ends a connection that has sent nothing, in a drain.
func (e *end) OnPart(*engine.Conn) { e.pair.end(ByEdge, engine.ErrStopped) }

var (
	_ engine.Yielder = (*end)(nil)
	_ engine.Parter  = (*end)(nil)
)

// Relieve gives the pair up where one side has not taken for age what came from the other: its buffers are held as
// long as that takes.
func (e *end) Relieve(c *engine.Conn, age time.Duration) {
	p := e.pair
	switch {
	case p.peeks:
		if c.Unread() && c.Reactor().Now()-p.record.Began >= int64(age) {
			p.fail(ByClient, ErrHelloSlow)
		}
	case c.Reactor().Now()-p.last < int64(age):
	case p.up.paused || p.up.waits:
		p.fail(ByClient, engine.ErrTimeout)
	case p.down.paused || p.down.waits:
		p.fail(ByBackend, engine.ErrTimeout)
	}
}

// OnClose hears that a connection has ended: by the pair, by its peer, or since it could not be made.
func (e *end) OnClose(c *engine.Conn, cause error) {
	p := e.pair
	if !p.over && (cause == engine.ErrStopped || cause == engine.ErrPanic) && c.Layer() == nil {
		c.Reset(cause) // an end would look like the end of all
	}
	e.conn = nil
	by := p.sideOf(e)
	if ours(cause) {
		by = ByEdge
	}
	switch {
	case p.over:
	case e == &p.up && !p.relays:
		p.unreached(c.Reactor(), cause)
		p.connect(cause)
	case e == &p.down && !p.relays:
		p.fail(by, orLeft(cause))
	default:
		p.fail(by, cause)
	}
	if p.up.conn == nil {
		p.leave(c.Reactor()) // the client may take a while to end its side
	}
	if p.down.conn == nil && p.up.conn == nil {
		p.tell(c.Reactor())
	}
	if invariant.On {
		p.check()
	}
}

// connect connects to the next member, or ends p where none is left. cause is the failure of the member before.
// A panic, of a method of balancing for instance, costs this pair alone.
func (p *pair) connect(cause error) {
	r := p.down.conn.Reactor()
	defer func() {
		if v := recover(); v != nil {
			r.Panicked(v)
			p.fail(ByEdge, engine.ErrPanic)
			p.leave(r)
		}
	}()
	c, err := p.next(r, &p.up, cause)
	switch {
	case err == nil:
		p.up.conn = c
	case err == ErrNoBackend, err == ErrMaxConns, err == engine.ErrStopped:
		p.fail(ByEdge, err)
	default:
		p.fail(ByBackend, err)
	}
}

func orLeft(cause error) error {
	if cause == nil {
		return ErrClientLeft
	}
	return cause
}

func (p *pair) sideOf(e *end) Side {
	if e == &p.down {
		return ByClient
	}
	return ByBackend
}

// touch puts the idle timeout off. Moving a time later costs a few nanoseconds.
func (p *pair) touch() {
	c := p.down.conn
	if c == nil {
		return
	}
	p.last = c.Reactor().Now()
	if !p.drains {
		c.SetTimeout(p.record.Service.Idle)
	}
}

// connected begins to relay, or asks the backend for TLS.
func (p *pair) connected(c *engine.Conn) {
	if p.asks {
		c.Write([]byte(sslRequest)) //nolint:errcheck // an empty queue takes it
		c.SetTimeout(cmp.Or(p.record.To.Connect, connectDefault))
		return
	}
	p.relay(c)
}

func (p *pair) relay(c *engine.Conn) {
	p.relays = true
	p.reached(c)
	p.touch()
	p.down.conn.ResumeRead()
}

// end ends both sides once what is queued has left.
func (p *pair) end(by Side, why error) {
	p.stop(by, why, func(c *engine.Conn) { c.Close(nil) })
}

// fail ends what is left of the pair at once, with a reset. Where we secure the connection its end without close_notify
// says as much.
func (p *pair) fail(by Side, why error) {
	p.stop(by, why, func(c *engine.Conn) {
		if c.Layer() != nil {
			c.Close(why)
		} else {
			c.Reset(why)
		}
	})
}

// midway reports whether bytes of one side wait for the other to take them.
func (p *pair) midway() bool { return p.down.paused || p.down.waits || p.up.paused || p.up.waits }

func (p *pair) stop(by Side, why error, do func(c *engine.Conn)) {
	if p.over {
		return
	}
	p.over = true
	p.record.By, p.record.Why = by, why
	for _, e := range []*end{&p.down, &p.up} {
		if e.conn != nil {
			do(e.conn)
		}
	}
}

// tell tells of the pair.
func (p *pair) tell(on *engine.Reactor) {
	if f := p.record.Service.Ended; f != nil {
		r := &p.record
		r.Ended = on.Now()
		r.In, r.Out = p.down.moved, p.up.moved
		f(r)
	}
}
