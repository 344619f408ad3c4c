package session

import (
	"math"

	"github.com/edge-proxy/edge/engine"
	"github.com/edge-proxy/edge/h1"
	"github.com/edge-proxy/edge/internal/stream"
	"github.com/edge-proxy/edge/message"
)

// bodyWriter sends one body after another on an h1 connection.
// Owned by its session.
//
//	left > 0 => framing == Counted
//	counted, and left is 0: all bytes were sent, and the end was not said
type bodyWriter struct {
	left    int64
	framing stream.Framing
}

// begin is called with the head of the message.
func (b *bodyWriter) begin(f stream.Framing, length int64) {
	b.framing, b.left = f, length
	if f == stream.Counted && length == 0 {
		b.framing = stream.NoBody
	}
}

// data sends as much of p as the queue has room for. If that is not all, the connection is congested, and the
// caller waits for OnSendable with the rest.
func (b *bodyWriter) data(c *engine.Conn, p []byte, end bool) (n int, err error) {
	if b.framing == stream.NoHead || b.framing == stream.Ended {
		return 0, ErrOrder
	}
	for {
		// An end alone always fits: what was sent before left room for it.
		room := max(c.Room()-2*chunkRoom, 0)
		switch {
		case !c.Open():
			return n, ErrDead
		case len(p) <= room || b.framing == stream.NoBody:
			return n + len(p), b.sendFitting(c, p, end)
		case room == 0:
			return n, nil
		}
		if err := b.sendFitting(c, p[:room], false); err != nil {
			return n, err
		}
		n, p = n+room, p[room:]
	}
}

// sendFitting sends p, for which there is room.
func (b *bodyWriter) sendFitting(c *engine.Conn, p []byte, end bool) (err error) {
	switch b.framing {
	case stream.NoBody:
		// The answer to HEAD, or one whose status forbids a body: body bytes are not sent.
	case stream.Counted:
		if int64(len(p)) > b.left {
			return stream.ErrTooMuch
		}
		if b.left -= int64(len(p)); b.left > 0 && end {
			return stream.ErrTooLittle
		}
		err = c.Write(p)
	case stream.UntilClose:
		err = c.Write(p)
	case stream.Chunked:
		err = b.chunk(c, p, end)
	}
	if err == nil && end {
		b.framing = stream.Ended
	}
	return err
}

// chunkRoom is more than the longest head of a chunk takes, with the end of the chunk before.
const chunkRoom = 32

// chunkCopied is the size up to which a chunk is copied to the queue: several that came in one read leave in one
// write. Above it a write of its own costs less than the copy.
const chunkCopied = 16 << 10

func (b *bodyWriter) chunk(c *engine.Conn, p []byte, end bool) error {
	if len(p) > chunkCopied {
		c.Commit(h1.AppendChunkHead(c.Reserve(chunkRoom), len(p)))
		if err := c.Write(p); err != nil {
			return err
		}
		c.Commit(append(c.Reserve(chunkRoom), "\r\n"...))
		p = nil
	}
	if len(p) == 0 && !end {
		return nil
	}
	t := h1.AppendChunk(c.Reserve(len(p)+chunkRoom), p)
	if end {
		t = h1.AppendLastChunk(t, nil)
	}
	c.Commit(t)
	return nil
}

// trailers ends the body with h where it is chunked, else without.
func (b *bodyWriter) trailers(c *engine.Conn, h *message.Head) error {
	if b.framing != stream.Chunked {
		_, err := b.data(c, nil, true)
		return err
	}
	c.Commit(h1.AppendLastChunk(c.Reserve(len(h.Base)+chunkRoom), h))
	b.framing = stream.Ended
	return nil
}

// headRoom is what a session adds to a head: the status line and the framing fields.
const headRoom = 256

// toSplice is how many bytes of the body may be sent as they are.
func (b *bodyWriter) toSplice(tunnel bool) int64 {
	switch {
	case b.framing == stream.Counted:
		return b.left
	case b.framing == stream.UntilClose && tunnel:
		return math.MaxInt64
	}
	return 0
}

// spliced notes that the kernel sent n bytes of the body.
func (b *bodyWriter) spliced(n int) {
	if b.framing == stream.Counted {
		b.left -= int64(n)
	}
	b.check()
}
