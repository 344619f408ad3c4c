package http3

import (
	"time"

	"github.com/edge-proxy/edge/engine"
	"github.com/edge-proxy/edge/h3"
	"github.com/edge-proxy/edge/internal/stream/shared"
	"github.com/edge-proxy/edge/quic"
	"github.com/edge-proxy/edge/session"
)

// OnEvent decodes what an event of QUIC brought, and passes it to the streams. EndBatch has to follow.
func (c *conn) OnEvent(in *quic.Event) {
	for !c.take(in) {
	}
}

// take gives in to the codec until it is used up, and reports whether it is: not after a callback that panicked.
func (c *conn) take(in *quic.Event) (used bool) {
	now := c.Conn().Reactor().Now()
	c.BeginBatch()
	defer c.RecoverPanic()
	for {
		n, ev := c.codec.Next(in, c.head, now)
		in.Body = in.Body[n:]
		if ev.Kind == h3.NeedMore {
			return true
		}
		c.dispatch(&ev)
	}
}

func (c *conn) dispatch(ev *h3.Event) {
	var s *shared.Stream
	if ev.Stream != nil {
		s, _ = ev.Stream.Owner.(*shared.Stream)
	}
	switch {
	case ev.Kind == h3.HeadDone:
		if s = c.newStream(ev.Stream, ev.End); s != nil {
			s.GotHead(c.head, ev.End)
		}
	case ev.Kind == h3.Settings:
		c.OnSettings()
	case ev.Kind == h3.Fault:
		c.failAll(ev.Err)
	case ev.Kind == h3.Reset && ev.Stream == nil:
		c.Refused(refusedStatus(ev.Err), ev.Err)
	case s == nil:
	case ev.Kind == h3.Data:
		s.GotData(ev.Body, ev.End)
	case ev.Kind == h3.Trailers:
		s.GotTrailers(c.head)
	case ev.Kind == h3.Reset:
		s.GotReset(codeOfReset(ev), &session.ResetError{Code: ev.Code, Err: ev.Err})
	case ev.Kind == h3.Sendable:
		s.GotRoom()
	}
}

// failAll ends the exchanges of a connection that is closed by an error.
func (c *conn) failAll(err error) {
	code := session.Malformed
	if err == h3.ErrQUIC {
		code, err = causeOf(c.q.Closed())
	}
	c.FailAll(code, err)
}

// EndBatch ends a batch: streams do what was postponed, the timer is set, datagrams leave.
func (c *conn) EndBatch() {
	c.BeginBatch()
	defer c.RecoverPanic()
	if c.RunStreams() {
		c.runDue()
	}
	if c.Conn().Open() {
		c.Charge(c.codec.Lent())
	}
	c.by.Wake()
}

// runDue does what has become due for the connection itself.
func (c *conn) runDue() {
	ec := c.Conn()
	now := ec.Reactor().Now()
	own := c.RunDue(now)
	switch {
	case !c.over(now):
	case c.q.Held() > 0:
		ec.Close(engine.ErrTimeout)
	default:
		ec.Close(nil)
	}
	if ec.Open() {
		c.ArmTimer(own)
		c.ArmTimer(c.codec.Deadline())
		c.ArmTimer(c.leaveBy)
		if c.silenceMax > 0 {
			c.ArmTimer(now + c.silenceMax - c.q.Silence(now)) // probes are further and further apart
		}
		c.ServerEnd.Check()
	}
}

// OnTimeout acts on times that are due and arms the timer for the next one.
func (c *conn) OnTimeout(ec *engine.Conn) {
	now := ec.Reactor().Now()
	c.TimerFired()
	c.BeginBatch()
	defer c.RecoverPanic()
	for ev := c.codec.Expire(now); ev.Kind != h3.NeedMore; ev = c.codec.Expire(now) {
		c.dispatch(&ev)
	}
	if c.ExpireStreams(now) {
		c.EndBatch()
	}
}

// Relieve gives up the heads and the exchanges that the client has kept waiting for age: engine.Reliever.
func (c *conn) Relieve(ec *engine.Conn, age time.Duration) {
	c.relieveHeads(age)
	if c.Streams() == 0 && c.q.Lent() > idleLent && ec.Reactor().Now()-c.IdleSince(ec) >= int64(age) {
		ec.Close(engine.ErrTimeout)
	}
	if ec.Open() {
		c.ServerEnd.Relieve(ec, age)
		c.by.Wake()
	}
}

// relieveHeads is a batch that gives up heads.
func (c *conn) relieveHeads(age time.Duration) {
	now := c.Conn().Reactor().Now()
	c.BeginBatch()
	defer c.RecoverPanic()
	for ev := c.codec.Relieve(now, age); ev.Kind != h3.NeedMore; ev = c.codec.Relieve(now, age) {
		c.stats.GivenUp++
		c.dispatch(&ev)
	}
	c.EndBatch()
}

// idleLent is how much memory of QUIC a connection without an exchange may hold where memory is short: it has streams
// for control and QPACK, and some requests whose ends are not acknowledged.
const idleLent = 8 << 10
