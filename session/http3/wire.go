package http3

import (
	"github.com/edge-proxy/edge/h3"
	"github.com/edge-proxy/edge/message"
	"github.com/edge-proxy/edge/session"
	"github.com/edge-proxy/edge/session/shared"
)

// quantum is how many bytes of data a stream sends in a turn.
const quantum = 16 << 10

// wake has what was sent outside a batch leave in this tick.
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

// SendData gives p to QUIC in DATA frames. Where a window ends, the event Sendable goes on.
func (c *conn) SendData(s *shared.Stream, p []byte, end bool) (n int, why shared.Blocking, err error) {
	hs := handleOf(s)
	defer c.wake()
	for len(p) > 0 || end {
		if len(p) > 0 && (c.q.Full() || !c.HasTurn(n > 0)) {
			return n, shared.ByQueue, nil
		}
		piece := p[:min(len(p), quantum)]
		last := end && len(piece) == len(p)
		k, err := c.codec.SendData(hs, piece, last)
		if n, p = n+k, p[k:]; err != nil {
			return n, shared.Unblocked, err
		}
		if k < len(piece) {
			return n, shared.ByWindow, nil
		}
		if last {
			break
		}
	}
	return n, shared.Unblocked, nil
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
	c.FlushSoon(true) // others may have room to send
}

// Discard sends STOP_SENDING: the rest of a request is thrown away.
func (c *conn) Discard(s *shared.Stream) {
	c.codec.StopRequest(handleOf(s))
	c.wake()
}

// Await puts s in the codec's order of streams that wait for their turns.
func (c *conn) Await(s *shared.Stream) { c.codec.Block(handleOf(s)) }

// NextSendable returns the next stream in the codec's order, unless QUIC keeps much already.
func (c *conn) NextSendable() (*shared.Stream, bool) {
	if c.q.Full() {
		return nil, false
	}
	hs := c.codec.NextSendable()
	if hs == nil {
		return nil, false
	}
	s, _ := hs.Owner.(*shared.Stream)
	return s, true
}

// Congested reports whether QUIC keeps much.
func (c *conn) Congested() bool { return c.q.Full() }

// Settled is true: only a client asks.
func (c *conn) Settled() bool { return true }

// CodeOf is not asked for by a server.
func (c *conn) CodeOf(error) session.Code { return session.ConnectionLost }
