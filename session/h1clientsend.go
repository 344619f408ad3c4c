package session

import (
	"time"

	"github.com/edge-proxy/edge/engine"
	"github.com/edge-proxy/edge/h1"
	"github.com/edge-proxy/edge/internal/stream"
	"github.com/edge-proxy/edge/internal/tls/tlsconn"
	"github.com/edge-proxy/edge/message"
	"github.com/edge-proxy/edge/poller"
)

// SendHead sends the head of the request.
func (c *Client) SendHead(h *message.Head, end bool) error {
	c.mustOwn()
	if c.receiver == nil {
		return ErrDead
	}
	if c.body.framing != stream.NoHead {
		return ErrOrder
	}
	h.Chunked, h.Close = false, false // the head said so of the client's connection
	switch {
	case end:
		h.Length = 0
		c.body.begin(stream.NoBody, 0)
	case h.Length >= 0:
		c.body.begin(stream.Counted, h.Length)
	default:
		h.Chunked = true
		c.body.begin(stream.Chunked, 0)
	}
	c.dec.Expect(h.Verb)
	if h.Upgrade || h.Verb == message.VerbConnect {
		c.dec.ExpectTunnel()
	}
	c.conn.Commit(h1.AppendRequest(c.conn.Reserve(len(h.Base)+headRoom), h))
	if end {
		c.body.framing = stream.Ended
	}
	c.awaits100 = h.Continue && !end
	c.setDeadline()
	return nil
}

// SendData sends body bytes.
func (c *Client) SendData(p []byte, end bool) (int, error) {
	c.mustOwn()
	if c.receiver == nil {
		return 0, ErrDead
	}
	n, err := c.body.data(c.conn, p, end)
	if c.awaits100 && n > 0 {
		c.awaits100 = false
		c.setDeadline()
	}
	c.onRequestSent()
	return n, err
}

// SendTrailers ends the request with h.
func (c *Client) SendTrailers(h *message.Head) error {
	c.mustOwn()
	if c.receiver == nil {
		return ErrDead
	}
	err := c.body.trailers(c.conn, h)
	c.onRequestSent()
	return err
}

func (c *Client) onRequestSent() {
	if c.tunnel {
		c.sentTunnel()
		return
	}
	if c.body.framing == stream.Ended || c.conn.Congested() {
		c.setDeadline()
	}
	if c.body.framing == stream.Ended {
		c.finish()
	}
}

// sentTunnel follows up on bytes for the origin: their end is a FIN.
func (c *Client) sentTunnel() {
	c.setDeadline()
	if c.body.framing == stream.Ended {
		c.conn.CloseWrite()
		c.finish()
	}
}

// Congested reports whether the connection's queue is above its low mark, or the connection is not established yet:
// a body that was not given to c can still go to another connection.
func (c *Client) Congested() bool { return !c.connected || c.conn.Congested() }

// Queued returns the bytes that have not left.
func (c *Client) Queued() int { return c.conn.Queued() }

// Release resumes reading when nothing is owed any more.
func (c *Client) Release(n int) {
	c.mustOwn()
	if c.owed -= n; c.owed <= 0 {
		c.owed = 0
		if c.receiver != nil {
			c.conn.ResumeRead()
			if !c.inCallback {
				c.setDeadline()
			}
		}
	}
}

// Reset ends the exchange and with it the connection: HTTP/1 has no other way to take a request back.
func (c *Client) Reset(Code) {
	c.mustOwn()
	if c.receiver == nil {
		return
	}
	c.receiver = nil
	c.conn.Close(engine.ErrClosed)
}

// SetPatience makes c a Patient.
func (c *Client) SetPatience(firstByte, between time.Duration) {
	c.patience.SetPatience(firstByte, between)
}

// Discard makes c a Discarder. A request that is not sent whole cannot be taken back but with its connection.
func (c *Client) Discard(limit int) {
	c.mustOwn()
	if c.receiver == nil {
		return
	}
	if c.body.framing != stream.Ended || c.answer == noAnswer || c.tunnel {
		c.Reset(Cancelled)
		return
	}
	owed := c.owed
	c.receiver, c.discardLeft = discarded{}, limit
	c.SetPatience(0, discardTime)
	c.discardTill = c.conn.Reactor().Now() + int64(discardTime)
	c.Release(owed)
}

// discardTime is how long a connection may take for the next piece of an answer that is thrown away. The last piece of
// all begins within that time.
const discardTime = time.Second

// discarded receives answers of Clients that are not wanted.
type discarded struct{}

func (discarded) OnHead(Stream, *message.Head, bool) {}
func (discarded) OnTrailers(Stream, *message.Head)   {}
func (discarded) OnSendable(Stream)                  {}
func (discarded) OnReset(Stream, Code, error)        {}
func (discarded) OnData(s Stream, p []byte, end bool) {
	c := s.(*Client)
	if c.discardLeft -= len(p); c.discardLeft < 0 || c.conn.Reactor().Now() > c.discardTill {
		c.Reset(Cancelled)
		return
	}
	c.Release(len(p))
}

// Peer is the address of the origin.
func (c *Client) Peer() poller.Addr { return c.conn.Peer() }

// Local is the address of our end.
func (c *Client) Local() poller.Addr { return c.conn.Local() }

// TLS is what is known of a TLS connection.
func (c *Client) TLS() *Digest { return tlsconn.DigestOf(c.conn) }
