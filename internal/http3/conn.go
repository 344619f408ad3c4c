package http3

import (
	"time"

	"github.com/edge-proxy/edge/engine"
	"github.com/edge-proxy/edge/h3"
	"github.com/edge-proxy/edge/internal/stream/shared"
	"github.com/edge-proxy/edge/message"
	"github.com/edge-proxy/edge/quic"
	"github.com/edge-proxy/edge/session"
)

// carrier is a quicconn.Conn.
type carrier interface {
	QUIC() *quic.Conn
	Conn() *engine.Conn
	Wake()
	Again()
}

// conn is one HTTP/3 connection of a client: the shared.Wire of its streams.
// Owned by its reactor.
type conn struct {
	engine.NopHandler
	shared.Link
	shared.ServerEnd
	by    carrier
	q     *quic.Conn // of by
	codec h3.Conn
	head  *message.Head // the reactor's, lent to the codec
	stats *session.ServerStats

	leaving    bool  // Shutdown was called
	leaveBy    int64 // when a connection without further exchanges ends; 0: not known yet
	silenceMax int64 // after which a client that is to leave counts as gone, if three PTOs are over
}

// leaveTime is the time a client has to close a connection that takes no further exchanges. RFC 9000 §10.2:
// CONNECTION_CLOSE resets all streams, and a client that has acknowledged an answer may not have read it yet.
const leaveTime = 5 * time.Second

const (
	readTime = time.Second            // after the last answer a client is taken to have read it
	askTime  = 200 * time.Millisecond // after the handshake the first request is taken not to be on its way
)

// newStream makes the stream of a request, unless the process cannot take more: then the client may ask elsewhere.
func (c *conn) newStream(hs *h3.Stream, end bool) *shared.Stream {
	s := c.NewStream(hs, c.head, end)
	if s == nil {
		c.stats.H3Shed++
		c.codec.Reset(hs, h3.RequestRejected)
		return nil
	}
	hs.Owner = s
	return s
}

// Shutdown sends GOAWAY. A client without an exchange, which has read its answers and sends no first request either,
// gets the last GOAWAY at once, and the connection ends when it has acknowledged that: others wait for the UDP port.
// After an upgrade nobody waits, and a request that crosses the first GOAWAY is served. A second call does nothing.
func (c *conn) Shutdown(now int64) {
	if c.leaving {
		return
	}
	c.leaving = true
	rest := askTime
	if c.asked() {
		rest = readTime
	}
	if c.Conn().Suspended() || !c.Idle() && c.asked() {
		c.silenceMax = int64(leaveTime) // an answer would be lost
	} else if c.Idle() && now-c.IdleSince(c.Conn()) >= int64(rest) {
		c.leaveBy = now
		c.codec.Shutdown(now)
	}
	c.codec.Shutdown(now)
}

// asked reports whether the client has made a request.
func (c *conn) asked() bool { return h3.Opened(&c.codec) > 0 }

// CloseIdle ends the connection once the client has acknowledged all that was sent, a GOAWAY among it: a request that
// crosses it may be asked elsewhere.
func (c *conn) CloseIdle() {
	now := c.Conn().Reactor().Now()
	c.codec.Shutdown(now)
	c.codec.Shutdown(now)
	c.Conn().Close(nil)
}

// Idle reports whether no exchange is in progress, and nothing is on its way.
func (c *conn) Idle() bool { return c.Streams() == 0 && c.codec.Streams() == 0 && c.q.Held() == 0 }

// over reports whether the connection has to end: after a fault, or in a drain, leaveTime after the last exchange, or
// when the client counts as gone.
func (c *conn) over(now int64) bool {
	if c.Streams() > 0 {
		return false
	}
	if !c.codec.Done() {
		silence := c.q.Silence(now)
		return silence > 0 && silence >= c.silenceMax && c.codec.GoingAway() && c.codec.Streams() == 0
	}
	if c.codec.GoingAway() && c.leaveBy == 0 {
		switch c.leaveBy = now; {
		case !c.asked():
		case c.Conn().Suspended():
			c.leaveBy += int64(readTime)
		default:
			c.leaveBy += int64(leaveTime)
		}
	}
	return now >= c.leaveBy
}

// OnPart ends an idle connection whose client has not closed it after GOAWAY.
func (c *conn) OnPart(ec *engine.Conn) {
	c.stats.DrainedH3++
	c.Part(ec)
}

// OnMove lets the exchanges in progress keep the address that rules have judged them by.
func (c *conn) OnMove(*engine.Conn) { c.KeepPeer() }

// OnClose resets the exchanges that were in progress.
func (c *conn) OnClose(_ *engine.Conn, cause error) {
	c.Charge(0)
	c.stats.H3Open--
	c.FailAll(session.ConnectionLost, cause)
}

// Activity is what the connection does at the moment: see session.ActivityOf.
func (c *conn) Activity(f func(r session.Receiver, tunnel bool)) session.Activity {
	if f != nil {
		c.Each(f)
	}
	return session.Activity{
		Kind: session.KindH3, Requests: h3.Opened(&c.codec), Streams: c.Streams(), Idle: c.Idle(),
	}
}

var (
	_ engine.Reliever = (*conn)(nil)
	_ engine.Yielder  = (*conn)(nil)
	_ engine.Parter   = (*conn)(nil)
	_ engine.Mover    = (*conn)(nil)
)
