package shared

import (
	"math/rand/v2"
	"time"

	"github.com/edge-proxy/edge/engine"
	"github.com/edge-proxy/edge/internal/stream"
	"github.com/edge-proxy/edge/message"
)

// Terms are what a server gives to its clients: receivers for their requests, and times. Immutable.
type Terms struct {
	Service       stream.Service
	HeaderTimeout time.Duration // until the first SETTINGS
	IdleTimeout   time.Duration // without an exchange
	MaxAge        time.Duration // after which a connection takes no new exchanges; 0: none
	BodyTimeout   time.Duration // between two reads of a request body
	SendTimeout   time.Duration // for a client to take what is queued for it
	PerByte       int64         // time that a byte of a body is worth, ns; 0: no least rate
}

// ServerTimes is the End of a server, but for OnEnded: the deadlines for clients, which have to take their answers and
// to send their bodies. Owned by its reactor, as a part of its connection.
type ServerTimes struct {
	terms *Terms
	stats *ServerStats // of the reactor
}

// SetDeadline sets the deadline for what the client has to do: take its answer, or send its body. While bytes of its
// body are owed it has to do nothing.
func (t *ServerTimes) SetDeadline(s *Stream) {
	switch {
	case s.drainEnds: // the end of the drain is sooner than any other deadline
	case s.tunnel == stream.TunnelOpen && s.blocked == Unblocked:
		s.setDeadlineIn(0)
	case s.blocked != Unblocked:
		s.setDeadlineIn(s.answerPace.TimeToTake(t.terms.SendTimeout, s.now()))
	case s.endReceived || s.endDelivered || s.owed > 0 || s.awaits100, s.mayBeSilent():
		s.setDeadlineIn(0)
	case s.unhurried:
		s.setDeadlineIn(stream.OrTunnelIdle(0))
	default:
		d := t.terms.BodyTimeout
		if t.terms.PerByte > 0 {
			d = min(d, s.bodyPace.Shrink(s.now()))
		}
		s.setDeadlineIn(d)
	}
}

// OnDeadline resets an exchange that takes too long: with 408 where it is the body and that is still possible.
func (t *ServerTimes) OnDeadline(s *Stream) {
	switch {
	case s.drainEnds:
		t.stats.DrainedTunnels++
		s.drainTunnel()
	case s.blocked != Unblocked:
		t.stats.Timeouts++
		s.Fail(stream.Timeout, engine.ErrTimeout)
	case s.mayBeSilent(): // it became so after this deadline was set
	default:
		t.stats.Timeouts++
		t.stats.SlowBodies++
		if s.framing == stream.NoHead {
			answer := message.Head{Status: 408, Length: 0}
			_ = s.queueHead(&answer, true) // the stream is reset in any case
		}
		s.Fail(stream.Timeout, stream.ErrSlowBody)
	}
}

// OnBodyReceived notes that n bytes of a body have come.
func (t *ServerTimes) OnBodyReceived(s *Stream, n int) {
	if b := t.terms.PerByte; b > 0 && s.tunnel != stream.TunnelOpen {
		s.bodyPace.Earn(n, b, int64(max(stream.BodyGrace, t.terms.BodyTimeout)), s.now())
	}
}

// OnBodySent notes that n bytes of an answer were sent that the client did not take at once.
func (t *ServerTimes) OnBodySent(s *Stream, n int) {
	perByte := t.terms.PerByte
	if s.unhurried || s.tunnel == stream.TunnelOpen { // a client may work on a message before it reads on
		perByte = 0
	}
	s.answerPace.AddTaken(n, perByte, t.terms.SendTimeout, s.now())
}

// OnTunnel counts the tunnel.
func (t *ServerTimes) OnTunnel() { t.stats.Tunnels++ }

// Relieve resets the exchanges of l that the client has kept waiting for age: see engine.Reliever.
func (t *ServerTimes) Relieve(l *Link, age time.Duration) {
	t.stats.GivenUp += l.relieve(age, t.waited)
}

// waited returns for how long the client keeps s waiting, and whether it does.
func (t *ServerTimes) waited(s *Stream) (time.Duration, bool) {
	now := s.now()
	switch {
	case s.blocked != Unblocked:
		return s.answerPace.WaitedFor(t.terms.SendTimeout, now), true
	case s.deadline == 0 || !s.owesBody() || s.awaits100:
		return 0, false
	case s.tunnel == stream.TunnelOpen || s.mayBeSilent() || s.unhurried:
		return 0, false
	}
	return s.bodyPace.OwedFor(t.terms.BodyTimeout-time.Duration(s.deadline-now), now), true
}

// DrainTunnels gives each tunnel of l a random part of the time that is left: their clients should not all come back at
// once.
func (t *ServerTimes) DrainTunnels(l *Link, left time.Duration) {
	for _, s := range l.live {
		if s.tunnel == stream.TunnelOpen {
			s.drainEnds = true
			s.setDeadlineIn(1 + rand.N(left-left/8+1))
		}
	}
}
