package handler

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"sync"
	"time"

	"github.com/edge-proxy/edge/engine"
	"github.com/edge-proxy/edge/h1"
	"github.com/edge-proxy/edge/message"
)

// switchWriter is the http.ResponseWriter for a request that may turn its connection into a tunnel: one over HTTP/1
// that asks for an upgrade which its route allows, or CONNECT.
type switchWriter struct{ *answerWriter }

// Errors of hijacked connections.
var (
	errHijackLate = errors.New("handler: Hijack after a part of the answer was sent")
	errClientGone = errors.New("handler: the client has gone")
)

// Hijack lets the handler take over the connection, as http.Hijacker has it. The connection is a tunnel through the
// exchange: the first bytes written are the head of the answer, unless WriteHeader was called with 101 before, and are
// decoded; filters of the response see it, and the access log has it. The reader is empty: what the client sent early
// comes with the first Read.
func (w switchWriter) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	switch {
	case w.hijacked != nil:
		return nil, nil, http.ErrHijacked
	case w.headSent || w.written > 0:
		return nil, nil, errHijackLate
	}
	c := newHijacked(w.s)
	w.hijacked = c
	c.joined.Run = func(*engine.Reactor) { c.join() }
	w.s.reactor.Post(&c.joined)
	if w.wrote {
		head := []byte(fmt.Sprintf("HTTP/1.1 %d %s\r\n", w.status, http.StatusText(w.status)))
		text := bytes.NewBuffer(head)
		w.fields.Write(text) //nolint:errcheck // a Buffer takes everything
		text.WriteString("\r\n")
		if _, err := c.Write(text.Bytes()); err != nil {
			c.Close()
			return nil, nil, err
		}
	}
	return c, bufio.NewReadWriter(bufio.NewReader(c), bufio.NewWriter(c)), nil
}

// hijacked is the net.Conn of a handler that took over its exchange.
//
//	Read  ◄─ body ◄─ bodies ◄─ in ◄─ SendData    as the body of a request comes
//	Write ─► dec ─► part (task) ─► to.On…        the head of the answer is decoded; a tunnel follows as it is
//
// Safe for any goroutine.
type hijacked struct {
	s        *served
	ctx      context.Context // ends when the exchange does
	cancel   context.CancelCauseFunc
	body     *requestBody
	deadline deadline // of writes
	joined   engine.Task
	closing  sync.Once
	closed   chan struct{}

	mu      sync.Mutex // held while writing
	dec     h1.Decoder // of the answer. guarded by mu
	raw     []byte     // a part of its head. guarded by mu
	tunnel  bool       // the head was a tunnel's. guarded by mu
	ended   bool       // the answer was no tunnel, and is whole. guarded by mu
	ordered int64      // bytes on their way to the client: see answerWriter. guarded by mu
}

func newHijacked(s *served) *hijacked {
	c := &hijacked{s: s, closed: make(chan struct{})}
	c.ctx, c.cancel = context.WithCancelCause(context.Background())
	c.body = newRequestBody(c.ctx, s)
	c.body.asked, c.body.request = false, &http.Request{}
	c.dec.InitResponses(nil)
	c.dec.Expect(s.verb)
	c.dec.ExpectTunnel()
	return c
}

// join tells the exchange that c has it: the end of the request, which has no body, is not the end of the client's
// bytes. On the reactor.
func (c *hijacked) join() {
	s := c.s
	if s.hijacked = c; s.x == nil {
		c.cancel(errClientGone)
	}
	s.inEnded = false
}

// Read returns what the client sent. The error is io.EOF after its end.
func (c *hijacked) Read(p []byte) (int, error) {
	n, err := c.body.Read(p)
	if err == http.ErrBodyReadAfterClose {
		err = net.ErrClosed
	}
	return n, err
}

// Write sends p to the client: the head of the answer first. It waits while the client is behind.
func (c *hijacked) Write(p []byte) (n int, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.over(); err != nil {
		return 0, err
	}
	for n < len(p) {
		piece := p[n:min(len(p), n+answerPiece)]
		if c.tunnel {
			err = c.post(&part{data: bytes.Clone(piece)})
		} else {
			err = c.answer(piece)
		}
		if err != nil {
			return n, err
		}
		n += len(piece)
	}
	return n, nil
}

// answer decodes a piece of the answer, and posts what it brings. mu is held.
func (c *hijacked) answer(p []byte) error {
	c.raw = append(c.raw, p...)
	for in := c.raw; ; c.raw = in {
		if c.ended && len(in) > 0 {
			return http.ErrContentLength
		}
		h := &message.Head{}
		n, ev, body, err := c.dec.Next(in, h)
		if err != nil {
			return fmt.Errorf("the answer of a hijacked connection: %w", err)
		}
		in = in[n:]
		if ev == h1.NeedMore {
			c.raw = bytes.Clone(in)
			return nil
		}
		p := &part{data: bytes.Clone(body), end: ev&h1.End != 0}
		switch {
		case ev&h1.HeadDone != 0:
			p.head = &message.Head{}
			h.MoveTo(p.head)
			c.tunnel = p.head.Tunnel
		case ev&h1.Trailers != 0:
			p.trailers = &message.Head{}
			h.MoveTo(p.trailers)
		}
		if p.head == nil || p.head.Status >= 200 {
			c.ended = p.end
		}
		if err := c.post(p); err != nil {
			return err
		}
	}
}

// over returns why nothing can be written any more, nil where it can.
func (c *hijacked) over() error {
	select {
	case <-c.closed:
		return net.ErrClosed
	default:
		return context.Cause(c.ctx)
	}
}

// post gives p to the reactor once the client has taken enough of the earlier pieces. mu is held.
func (c *hijacked) post(p *part) error {
	for {
		if err := c.over(); err != nil {
			return err
		}
		expired := c.deadline.wait()
		select {
		case <-expired:
			return os.ErrDeadlineExceeded
		default:
		}
		if c.ordered-c.s.released.Load() <= answerOnOrder {
			break
		}
		select {
		case <-c.s.wake:
		case <-c.ctx.Done():
		case <-c.closed:
		case <-expired:
		}
	}
	c.send(p)
	return nil
}

// send gives p to the reactor. mu is held.
func (c *hijacked) send(p *part) {
	c.ordered += int64(len(p.data))
	p.task.Run = func(*engine.Reactor) { c.s.arrive(p) }
	c.s.reactor.Post(&p.task)
}

// Close ends the connection when what was written has been sent.
func (c *hijacked) Close() error {
	err := net.ErrClosed
	c.closing.Do(func() {
		close(c.closed)
		c.body.Close() //nolint:errcheck // it returns none
		c.mu.Lock()
		defer c.mu.Unlock()
		switch ev, wrong := c.dec.EOF(); {
		case c.ended:
		case wrong == nil && ev == h1.End:
			c.send(&part{end: true, left: c.tunnel})
		default: // no answer, or a part of one
			c.send(&part{failed: true, why: errAborted})
		}
		err = nil
	})
	return err
}

// LocalAddr is the address that the client connected to.
func (c *hijacked) LocalAddr() net.Addr { return c.s.local.Net() }

// RemoteAddr is the client.
func (c *hijacked) RemoteAddr() net.Addr { return c.s.peer.Net() }

// SetDeadline bounds reads and writes.
func (c *hijacked) SetDeadline(at time.Time) error {
	c.body.deadline.set(at)
	c.deadline.set(at)
	return nil
}

// SetReadDeadline bounds reads.
func (c *hijacked) SetReadDeadline(at time.Time) error {
	c.body.deadline.set(at)
	return nil
}

// SetWriteDeadline bounds writes.
func (c *hijacked) SetWriteDeadline(at time.Time) error {
	c.deadline.set(at)
	return nil
}

var _ net.Conn = (*hijacked)(nil)
