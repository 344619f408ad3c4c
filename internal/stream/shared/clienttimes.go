package shared

import (
	"time"

	"github.com/edge-proxy/edge/internal/stream"
)

// ClientTimes is the End of a client, but for OnDeadline and OnEnded: the deadlines for what an origin has to do. Zero
// times are defaults. Owned by its reactor, as a part of its connection.
type ClientTimes struct {
	FirstByte    time.Duration // from the end of a request to the head of its answer
	BetweenBytes time.Duration // between two pieces of an answer, or for the origin to open a full window
	TunnelIdle   time.Duration // without a byte of a tunnel, or of an unhurried answer
}

// SetDeadline sets the deadline for what the origin has to do. While it has to do nothing there is none.
func (t *ClientTimes) SetDeadline(s *Stream) {
	switch {
	case !s.link.connected: // the dial has a timeout of its own
	case s.tunnel == stream.TunnelOpen:
		s.setDeadlineIn(stream.OrTunnelIdle(t.TunnelIdle))
	case s.blocked != Unblocked:
		s.setDeadlineAt(s.blockedAt + int64(s.BetweenBytes(t.BetweenBytes)))
	case s.awaits100, s.pendingHead != nil:
		s.setDeadlineIn(s.ToFirstByte(t.FirstByte))
	case s.owed > 0, s.endDelivered, s.framing != stream.Ended && !s.finalHead:
		s.setDeadlineIn(0)
	case !s.finalHead:
		s.setDeadlineIn(s.ToFirstByte(t.FirstByte))
	case s.unhurried: // a stream of messages may be silent
		s.setDeadlineIn(stream.OrTunnelIdle(t.TunnelIdle))
	default:
		s.setDeadlineIn(s.BetweenBytes(t.BetweenBytes))
	}
}

// Relieve resets the exchanges of l whose requests the origin has not taken for age: see engine.Reliever.
func (t *ClientTimes) Relieve(l *Link, age time.Duration) {
	l.relieve(age, func(s *Stream) (time.Duration, bool) {
		return time.Duration(s.now() - s.blockedAt), s.blocked != Unblocked
	})
}

// Silence is how long an origin may send nothing on a connection before it may be broken unseen, if an exchange of it
// takes too long.
func (t *ClientTimes) Silence() time.Duration {
	return min(stream.OrDefault(t.FirstByte), stream.OrDefault(t.BetweenBytes))
}

// OnBodyReceived does nothing: an origin has deadlines, but no least rate.
func (t *ClientTimes) OnBodyReceived(*Stream, int) {}

// OnBodySent does nothing, for the same reason.
func (t *ClientTimes) OnBodySent(*Stream, int) {}

// OnTunnel does nothing: the server counts tunnels.
func (t *ClientTimes) OnTunnel() {}
