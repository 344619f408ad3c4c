package http3

import (
	"github.com/edge-proxy/edge/h3"
	"github.com/edge-proxy/edge/internal/stream/shared"
	"github.com/edge-proxy/edge/message"
	"github.com/edge-proxy/edge/session"
)

// wake lets what was sent outside a batch leave in this tick.
func (c *conn) wake() {
	if !c.InBatch() {
		c.by.Wake()
	}
}

func handleOf(s *shared.Stream) *h3.Stream { return s.Handle().(*h3.Stream) }

// SendHead sends h.
func (c *conn) SendHead(s *shared.Stream, h *message.Head, end bool) error {
	err := c.codec.SendHead(handleOf(s), h, end)
	c.wake()
	return sendError(err)
}

// sendError is an error of the codec as streams know it.
func sendError(err error) error {
	if err == h3.ErrListSize {
		return session.ErrHeadSize
	}
	return err
}

// SendData gives p to QUIC in DATA frames, as far as windows and memory allow. The event Sendable goes on, in the order
// of priorities.
func (c *conn) SendData(s *shared.Stream, p []byte, end bool) (n int, why shared.Blocking, err error) {
	n, err = c.codec.SendData(handleOf(s), p, end)
	c.wake()
	if err == nil && n < len(p) {
		return n, shared.ByWindow, nil
	}
	return n, shared.Unblocked, err
}

// SendTrailers ends the message with h.
func (c *conn) SendTrailers(s *shared.Stream, h *message.Head) error {
	err := c.codec.SendTrailers(handleOf(s), h)
	c.wake()
	return sendError(err)
}

// Release opens the window of s.
func (c *conn) Release(s *shared.Stream, n int) {
	c.codec.Release(handleOf(s), n)
	c.wake()
}

// Reset sends RESET_STREAM and STOP_SENDING. An answer that was sent whole is left alone.
func (c *conn) Reset(s *shared.Stream, why shared.Reason) {
	if why == shared.ReasonDone {
		c.Discard(s)
		return
	}
	c.codec.Reset(handleOf(s), reasonCode[why])
	c.by.Again() // others may have room to send
}

// Discard sends STOP_SENDING: the rest of a request is thrown away.
func (c *conn) Discard(s *shared.Stream) {
	c.codec.StopRequest(handleOf(s))
	c.wake()
}

// Await asks for the event Sendable of s.
func (c *conn) Await(s *shared.Stream) { c.codec.Await(handleOf(s)) }

// NextSendable returns none: events of QUIC have told them.
func (c *conn) NextSendable() (*shared.Stream, bool) { return nil, false }

// Congested reports whether QUIC keeps as much as it may.
func (c *conn) Congested() bool { return c.q.Full() }

// Settled is true: only a client asks.
func (c *conn) Settled() bool { return true }

// CodeOf is not asked for by a server.
func (c *conn) CodeOf(error) session.Code { return session.ConnectionLost }
