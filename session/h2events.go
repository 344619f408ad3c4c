package session

import (
	"time"

	"github.com/edge-proxy/edge/engine"
	"github.com/edge-proxy/edge/h2"
	"github.com/edge-proxy/edge/internal/stream/shared"
)

// OnData decodes frames and passes their events to the streams.
func (l *link) OnData(c *engine.Conn, in []byte) (used int) {
	now := c.Reactor().Now()
	l.BeginBatch()
	defer l.RecoverPanic()
	for events := 0; ; events++ {
		if events == eventsPerBatch {
			c.OfferLater()
			break
		}
		n, ev := l.codec.Next(in[used:], l.head, now)
		if ev.Kind == h2.Fault && used == 0 && !l.IsServer() {
			ev.Err = wrongProtocol(in, ErrSpeaksH2, ev.Err)
		}
		used += n
		if ev.Kind == h2.NeedMore {
			break
		}
		l.dispatch(&ev)
		if !c.Open() {
			used = len(in)
			break
		}
	}
	l.EndBatch()
	return used
}

func (l *link) dispatch(ev *h2.Event) {
	switch ev.Kind {
	case h2.HeadDone:
		s, _ := ev.Stream.Owner.(*shared.Stream)
		if s == nil {
			if s = l.end.newStream(ev.Stream, ev.End); s == nil {
				return
			}
		}
		s.GotHead(l.head, ev.End)
	case h2.Data:
		if s, _ := ev.Stream.Owner.(*shared.Stream); s != nil {
			s.GotData(ev.Body, ev.End)
		}
	case h2.Trailers:
		if s, _ := ev.Stream.Owner.(*shared.Stream); s != nil {
			s.GotTrailers(l.head)
		}
	case h2.Reset:
		l.gotReset(ev)
	case h2.Fault:
		l.closeByError(ev.Err)
	case h2.Sendable: // EndBatch asks the codec
	default:
		l.end.onConnEvent(*ev)
	}
}

func (l *link) gotReset(ev *h2.Event) {
	if ev.Stream == nil {
		l.end.onConnEvent(*ev)
		return
	}
	if s, _ := ev.Stream.Owner.(*shared.Stream); s != nil {
		s.GotReset(codeOfReset(ev, l.goAwayError), &ResetError{Code: ev.Code, Err: ev.Err})
	}
}

// closeByError ends the connection: GOAWAY leaves with what is queued.
func (l *link) closeByError(err error) {
	l.cause = err
	code := Malformed
	switch err {
	case h2.ErrNoPong:
		code = ConnectionLost
	case h2.ErrStalledConn, h2.ErrHeadTimeout:
		code = Timeout
	}
	l.FailAll(code, err)
	l.control()
	l.Conn().Close(nil)
}

// EndBatch ends a batch: streams that may send have their turns, control frames are queued, the timer is set.
func (l *link) EndBatch() {
	if !l.RunStreams() {
		return
	}
	conn := l.Conn()
	own := l.end.runDue(conn.Reactor().Now())
	if l.codec.Tight() && conn.Reactor().Pressure() < engine.PressureCache {
		l.codec.Widen()
	}
	l.control()
	if !conn.Open() {
		return
	}
	l.Charge(l.codec.Lent())
	if l.codec.Done() && l.Streams() == 0 {
		conn.Close(nil)
		return
	}
	l.ArmTimer(own)
	l.ArmTimer(l.codec.Deadline())
	l.check()
}

// OnSendable gives the streams their turns.
func (l *link) OnSendable(*engine.Conn) { l.RunBatch() }

// relieve ends the connection where it has waited for the rest of a head for age, and reports whether it has: memory is
// short.
func (l *link) relieve(age time.Duration) bool {
	ev := l.codec.Relieve(l.Conn().Reactor().Now(), age)
	if ev.Kind == h2.NeedMore {
		return false
	}
	l.BeginBatch()
	defer l.RecoverPanic()
	l.dispatch(&ev)
	l.AbandonBatch()
	return true
}

// OnTimeout acts on times that are due and arms the timer for the next one.
func (l *link) OnTimeout(c *engine.Conn) {
	now := c.Reactor().Now()
	l.TimerFired()
	l.BeginBatch()
	defer l.RecoverPanic()
	for {
		ev := l.codec.Expire(now)
		if ev.Kind == h2.NeedMore {
			break
		}
		l.dispatch(&ev)
		if !c.Open() {
			l.AbandonBatch()
			return
		}
	}
	if l.ExpireStreams(now) {
		l.EndBatch()
	}
}
