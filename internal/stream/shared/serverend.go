package shared

import (
	"math"
	"math/rand/v2"
	"time"

	"github.com/edge-proxy/edge/engine"
	"github.com/edge-proxy/edge/message"
)

// ServerWire is the Wire of a server.
type ServerWire interface {
	Wire
	// Shutdown says that no further exchanges are taken. It may come again.
	Shutdown(now int64)
	// CloseIdle ends the connection, which has no exchange.
	CloseIdle()
}

// ServerEnd is the End of a server: the requests that it takes, and the life of the connection between them and after
// them. The session of a version embeds it and calls RunDue at the end of each batch.
// Owned by its reactor.
//
//	idleUntil != 0 <=> no exchange is in progress: the connection ends then
type ServerEnd struct {
	ServerTimes
	link      *Link
	wire      ServerWire
	idleUntil int64 // time of the reactor; at first by HeaderTimeout
	agedAt    int64 // time of the reactor from which no new exchanges are taken, 0: never
	settled   bool  // SETTINGS came
	draining  bool  // we said GOAWAY
}

// Start prepares e for a connection that opens: the deadlines begin.
func (e *ServerEnd) Start(l *Link, w ServerWire, t *Terms, stats *ServerStats) {
	e.terms, e.stats, e.link, e.wire = t, stats, l, w
	now := e.now()
	e.idleUntil = now + int64(t.HeaderTimeout)
	if age := t.MaxAge; age > 0 {
		e.agedAt = now + int64(age-age/10+rand.N(age/10+1)) // those opened at once must not end at once
	}
}

// now is the time of the reactor.
func (e *ServerEnd) now() int64 { return e.link.conn.Reactor().Now() }

// StreamsScarce is how many exchanges a client may have on one connection while memory is short.
const StreamsScarce = 16

// streamsUnder returns how many exchanges a connection may have for another one to be taken. Under pressure
// connections with few exchanges come before those with many.
func streamsUnder(p engine.Pressure) int {
	switch p {
	case engine.PressureAccept:
		return StreamsScarce
	case engine.PressureRead:
		return 2
	case engine.PressureShed:
		return 1
	}
	return math.MaxInt
}

// NewStream makes the stream of a request with the head h: nil where the process cannot take more, and the request is
// to be refused. handle is the stream of the codec.
func (e *ServerEnd) NewStream(handle any, h *message.Head, end bool) *Stream {
	r := e.link.conn.Reactor()
	if e.link.Streams() >= streamsUnder(r.Pressure()) || r.Overloaded() {
		return nil
	}
	e.stats.Requests++
	e.idleUntil = 0
	s := e.link.Accept(handle, h, end)
	s.receiver = e.terms.Service.Accept(r, s)
	return s
}

// Refused counts a request that the codec answered with status, or reset, and tells the service of it.
func (e *ServerEnd) Refused(status int, cause error) {
	e.stats.Malformed++
	c := e.link.conn
	e.terms.Service.Refused(c.Reactor(), c.Peer(), status, cause)
}

// OnSettings ends the time that HeaderTimeout gives.
func (e *ServerEnd) OnSettings() {
	if !e.settled && e.link.Streams() == 0 {
		e.startIdle()
	}
	e.settled = true
}

// OnEnded starts the idle time after the last exchange.
func (e *ServerEnd) OnEnded(*Stream) {
	if e.link.Streams() > 0 {
		return
	}
	e.startIdle()
	if e.draining {
		e.link.Post()
	}
}

// startIdle starts the time for which the connection may be without an exchange.
func (e *ServerEnd) startIdle() {
	e.idleUntil = e.now() + int64(e.terms.IdleTimeout)
	e.link.ArmTimer(e.idleUntil)
}

// RunDue ends an idle or aged connection, and one whose process drains. It returns when to ask again, 0 for never.
func (e *ServerEnd) RunDue(now int64) int64 {
	if !e.draining && (e.agedAt != 0 && now >= e.agedAt || e.link.conn.Reactor().Engine().Draining()) {
		e.draining = true
		e.wire.Shutdown(now)
	}
	if e.idleUntil != 0 && now >= e.idleUntil {
		e.wire.CloseIdle()
	}
	switch {
	case e.draining:
		return e.idleUntil
	case e.agedAt != 0 && (e.idleUntil == 0 || e.agedAt < e.idleUntil):
		return e.agedAt
	}
	return e.idleUntil
}

// Relieve resets the exchanges that the client has kept waiting for age: engine.Reliever.
func (e *ServerEnd) Relieve(_ *engine.Conn, age time.Duration) { e.ServerTimes.Relieve(e.link, age) }

// IdleSince returns when the last exchange ended, or when the connection opened: engine.Yielder.
func (e *ServerEnd) IdleSince(*engine.Conn) int64 {
	if !e.settled {
		return e.idleUntil - int64(e.terms.HeaderTimeout)
	}
	return e.idleUntil - int64(e.terms.IdleTimeout)
}

// OnYield ends an idle connection: engine.Yielder.
func (e *ServerEnd) OnYield(c *engine.Conn) {
	e.idleUntil = c.Reactor().Now()
	e.link.RunBatch()
	c.Finish()
}

// Part ends an idle connection whose client has not closed it after GOAWAY: see engine.Parter.
func (e *ServerEnd) Part(c *engine.Conn) {
	e.idleUntil = c.Reactor().Now()
	e.link.RunBatch()
	c.Close(nil)
}

// Leave takes no new exchanges from the next batch on.
func (e *ServerEnd) Leave() { e.agedAt = e.now() }

// OnDrainBegin sends GOAWAY at once, so that idle clients get it too: engine.DrainBeginner. Its listener may drain
// alone.
func (e *ServerEnd) OnDrainBegin(*engine.Conn) {
	e.Leave()
	e.link.RunBatch()
}

// OnDrain gives each tunnel a part of the time that is left: engine.Drainer.
func (e *ServerEnd) OnDrain(_ *engine.Conn, left time.Duration) { e.DrainTunnels(e.link, left) }
