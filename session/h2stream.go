package session

import (
	"time"

	"github.com/edge-proxy/edge/h1"
	"github.com/edge-proxy/edge/h2"
	"github.com/edge-proxy/edge/message"
	"github.com/edge-proxy/edge/poller"
	"github.com/edge-proxy/edge/session/stream"
	"github.com/edge-proxy/edge/tlsconn"
)

// enter and leave are called around each callback.
func (s *h2Stream) enter() {
	s.inCallback = true
	s.link.inCallback = s
}

func (s *h2Stream) leave() {
	s.inCallback = false
	s.link.inCallback = nil
	switch {
	case s.receiver == nil:
		s.link.pool.park(s)
	case !s.finish():
		s.link.end.setDeadline(s)
	}
}

func (s *h2Stream) gotHead(h *message.Head, end bool) {
	if h.Tunnel {
		s.tunnelHead(h, end)
		return
	}
	s.gotEnd(end)
	s.endDelivered = end || s.tunnel != stream.NoTunnel && h.Status == 0
	if h.Status >= 200 {
		s.finalHead = true
		s.noContent = s.verb == message.VerbHead || h.Status == 204 || h.Status == 304
	}
	if h.Status >= 101 || h.Status == 100 {
		s.awaits100 = false
	}
	s.enter()
	s.receiver.OnHead(s, h, s.endDelivered)
	s.leave()
}

func (s *h2Stream) gotData(p []byte, end bool) {
	s.gotEnd(end)
	if s.tunnel == stream.TunnelAsked && s.link.server {
		s.earlyBytes = append(s.earlyBytes, p...)
		s.link.conn.Reactor().Account(len(p))
		return
	}
	s.deliver(p, end)
}

func (s *h2Stream) deliver(p []byte, end bool) {
	if len(p) == 0 && !end {
		return
	}
	s.endDelivered = end
	s.owed += len(p)
	s.awaits100 = s.awaits100 && !s.link.server
	s.link.end.onBodyReceived(s, len(p))
	s.enter()
	s.receiver.OnData(s, p, end)
	s.leave()
}

func (s *h2Stream) gotTrailers(h *message.Head) {
	s.gotEnd(true)
	if s.tunnel == stream.TunnelAsked && s.link.server {
		return
	}
	s.endDelivered = true
	s.enter()
	s.receiver.OnTrailers(s, h)
	s.leave()
}

// tunnelHead delivers the answer that makes a tunnel of a client's stream.
func (s *h2Stream) tunnelHead(h *message.Head, end bool) {
	if s.framing != stream.Ended || s.tunnel == stream.NoTunnel {
		s.fail(Malformed, h1.ErrSwitchedProtocols)
		return
	}
	s.gotEnd(end)
	s.tunnel, s.finalHead, s.framing = stream.TunnelOpen, true, stream.UntilClose
	s.enter()
	s.receiver.OnHead(s, h, false)
	alive := s.receiver != nil
	s.leave()
	if end && alive {
		s.deliver(nil, true)
	}
}

// deliverEarly gives the receiver the bytes that came before the tunnel opened.
func (s *h2Stream) deliverEarly() {
	early := s.earlyBytes
	s.earlyBytes = nil
	s.link.conn.Reactor().Account(-len(early))
	s.deliver(early, s.endReceived)
}

func (s *h2Stream) gotEnd(end bool) {
	if end {
		s.endReceived = true
		s.forgetCodec()
	}
}

// forgetCodec forgets the codec's stream once both directions are closed.
func (s *h2Stream) forgetCodec() {
	if s.endReceived && s.endSent {
		s.codec = nil
	}
}

// finish ends the exchange when both messages are complete, and reports whether they are: s must not be used then.
// On a server the end of the answer is enough: the rest of the request is thrown away.
func (s *h2Stream) finish() bool {
	peerMustEnd := !s.link.server || s.tunnel == stream.TunnelOpen
	if s.inCallback || s.framing != stream.Ended || !s.endDelivered && peerMustEnd {
		return false
	}
	s.linger()
	s.resetAndFree(h2.Cancel)
	return true
}

// resetAndFree resets s on the wire and frees it. It may be another exchange's afterwards.
func (s *h2Stream) resetAndFree(code h2.Code) {
	l := s.link
	s.receiver = nil
	s.resetWire(code)
	l.remove(s)
	l.end.streamEnded(s)
	if !s.inCallback {
		l.pool.park(s)
	}
}

func (s *h2Stream) resetWire(code h2.Code) {
	if cs := s.codec; cs != nil {
		s.codec = nil
		s.link.codec.Reset(cs, code)
		s.link.sendControlSoon()
	}
}

// lastCode is what the peer is told when s ends early.
func (s *h2Stream) lastCode(code Code) h2.Code {
	switch {
	case !s.link.server:
	case s.endSent:
		return h2.NoError // RFC 9113 §8.1: the answer was sent whole, nothing is wrong with it
	case s.tunnel == stream.TunnelOpen && s.verb == message.VerbConnect:
		return h2.ConnectError // §8.5: any error in the TCP connection
	case s.tunnel == stream.TunnelOpen:
		return h2.Cancel // RFC 8441 §5: what a RST would be
	}
	return resetCode(code, !s.link.server)
}

// linger lets the codec throw away the rest of a request whose answer was sent whole. The rest of a refused tunnel
// may have no end: it is reset.
func (s *h2Stream) linger() {
	l, cs := s.link, s.codec
	switch {
	case cs == nil || !l.server || !s.endSent || s.tunnel == stream.TunnelOpen:
		return
	case s.tunnel != stream.NoTunnel:
		s.resetWire(h2.NoError)
		return
	}
	s.codec = nil
	l.codec.Tick(l.conn.Reactor().Now())
	l.codec.Linger(cs)
	l.armTimer(l.codec.Deadline())
	l.sendControlSoon()
}

// fail resets the exchange. Not inside a callback of s.
func (s *h2Stream) fail(code Code, cause error) {
	if s.noContent && !s.endDelivered && s.endWithHead(code) {
		return
	}
	l, r := s.link, s.receiver
	s.receiver = nil
	s.linger()
	s.resetWire(s.lastCode(code))
	l.remove(s)
	s.inCallback = true
	s.callOnReset(r, code, cause)
	l.end.streamEnded(s)
	l.pool.park(s)
}

// endWithHead gives the receiver the end of an answer that ends with its head (RFC 9110 §6.4.1): what the origin
// did after the head is no part of the answer. It reports whether the exchange is over; the request may still be on
// its way.
func (s *h2Stream) endWithHead(code Code) bool {
	s.endDelivered, s.endReceived = true, true
	s.resetWire(resetCode(code, true))
	s.inCallback = true
	told := s.deliverEnd()
	s.inCallback = false
	if s.receiver == nil {
		s.link.pool.park(s)
		return true
	}
	return told && s.finish()
}

// deliverEnd gives the receiver the end of the answer and reports whether it returned without a panic.
func (s *h2Stream) deliverEnd() (told bool) {
	defer func() {
		if p := recover(); p != nil {
			s.link.conn.Reactor().Panicked(p)
		}
	}()
	s.receiver.OnData(s, nil, true)
	return true
}

// callOnReset calls OnReset and recovers a panic of it: the other exchanges have to be told as well.
func (s *h2Stream) callOnReset(r Receiver, code Code, cause error) {
	defer func() {
		if p := recover(); p != nil {
			s.link.conn.Reactor().Panicked(p)
		}
	}()
	r.OnReset(s, code, cause)
}

// failLater makes the task fail s: methods make no callbacks.
func (s *h2Stream) failLater(code Code, cause error) {
	s.code, s.cause = code, cause
	s.postpone(toFail)
}

func (s *h2Stream) postpone(t todo) {
	if s.todo == nothing {
		s.link.todos++
	}
	s.todo = t
	s.link.sendControlSoon()
}

// unblock gives s its turn to send.
func (s *h2Stream) unblock() {
	s.clearBlock()
	s.answerPace.Pause(s.link.conn.Reactor().Now())
	s.enter()
	s.receiver.OnSendable(s)
	s.leave()
}

// drainTunnel lets the receiver of a tunnel send what it sends last, and ends it.
func (s *h2Stream) drainTunnel() {
	if p, ok := s.receiver.(TunnelDrainer); ok {
		s.enter()
		p.OnTunnelDrain(s)
		s.leave()
	}
	if s.receiver != nil {
		s.fail(Cancelled, nil)
	}
}

// Queued returns the bytes of the connection that have not left.
func (s *h2Stream) Queued() int { return s.link.conn.Queued() }

// Release opens the window by n bytes.
func (s *h2Stream) Release(n int) {
	s.mustOwn()
	if s.receiver == nil {
		return
	}
	s.owed = max(s.owed-n, 0)
	if s.codec != nil {
		l := s.link
		l.codec.Tick(l.conn.Reactor().Now())
		l.codec.Release(s.codec, n)
		l.sendControlSoon()
	}
	if s.owed == 0 && !s.inCallback {
		s.link.end.setDeadline(s)
	}
}

// Reset ends the exchange. The others on the connection go on.
func (s *h2Stream) Reset(code Code) {
	s.mustOwn()
	if s.receiver != nil {
		s.resetAndFree(s.lastCode(code))
	}
}

// Peer is the address of the other end of the connection.
func (s *h2Stream) Peer() poller.Addr { return s.link.conn.Peer() }

// Local is the address of our end.
func (s *h2Stream) Local() poller.Addr { return s.link.conn.Local() }

// setDeadlineIn sets the deadline of s to d from now; 0 for none. The connection's timer is touched only when it would
// fire later.
func (s *h2Stream) setDeadlineIn(d time.Duration) {
	if d <= 0 {
		s.deadline = 0
		return
	}
	s.setDeadlineAt(s.link.conn.Reactor().Now() + int64(d))
}

// setDeadlineAt sets the deadline of s.
func (s *h2Stream) setDeadlineAt(at int64) {
	s.deadline = at
	s.link.armTimer(at)
}

// TLS is what is known of a TLS connection.
func (s *h2Stream) TLS() *tlsconn.Digest { return tlsconn.DigestOf(s.link.conn) }

// owesBody reports whether the exchange waits for the client's body.
func (s *h2Stream) owesBody() bool { return !s.endReceived && !s.endDelivered && s.owed == 0 }

// mayBeSilent reports whether the client may be silent for as long as the answer lasts.
func (s *h2Stream) mayBeSilent() bool { return s.unhurried && s.framing != stream.NoHead }

// answerMoves notes that a part of the answer was sent, and renews the credit of the body: see
// h1Server.answerMoves.
func (s *h2Stream) answerMoves() {
	if !s.link.server || s.endDelivered || s.endReceived || s.tunnel == stream.TunnelOpen {
		return
	}
	s.bodyPace.Renew(s.link.conn.Reactor().Now())
	if !s.inCallback {
		s.link.end.setDeadline(s)
	}
}

// Unhurry lifts the least rate of a request body, and the bound on the time between two pieces of an answer.
func (s *h2Stream) Unhurry() {
	s.unhurried = true
	if !s.inCallback && s.receiver != nil {
		s.link.end.setDeadline(s)
	}
}
