package shared

import (
	"net/netip"

	"github.com/edge-proxy/edge/engine"
	"github.com/edge-proxy/edge/h1"
	"github.com/edge-proxy/edge/internal/stream"
	"github.com/edge-proxy/edge/internal/tls/tlsconn"
	"github.com/edge-proxy/edge/message"
	"github.com/edge-proxy/edge/poller"
)

// enter and leave are called around each callback.
func (s *Stream) enter() {
	s.inCallback = true
	s.link.inCallback = s
}

func (s *Stream) leave() {
	s.inCallback = false
	s.link.inCallback = nil
	switch {
	case s.receiver == nil:
		s.link.pool.park(s)
	case !s.finish():
		s.link.end.SetDeadline(s)
	}
}

// GotHead delivers the head of a message, or an interim one. h is borrowed.
func (s *Stream) GotHead(h *message.Head, end bool) {
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

// GotData delivers body bytes, and maybe the end. p is borrowed.
func (s *Stream) GotData(p []byte, end bool) {
	s.gotEnd(end)
	if s.tunnel == stream.TunnelAsked && s.link.server {
		s.earlyBytes = append(s.earlyBytes, p...)
		s.link.conn.Reactor().Account(len(p))
		return
	}
	s.deliver(p, end)
}

func (s *Stream) deliver(p []byte, end bool) {
	if len(p) == 0 && !end {
		return
	}
	s.endDelivered = end
	s.owed += len(p)
	s.awaits100 = s.awaits100 && !s.link.server
	s.link.end.OnBodyReceived(s, len(p))
	s.enter()
	s.receiver.OnData(s, p, end)
	s.leave()
}

// GotTrailers delivers trailer fields, and with them the end. h is borrowed.
func (s *Stream) GotTrailers(h *message.Head) {
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
func (s *Stream) tunnelHead(h *message.Head, end bool) {
	if s.framing != stream.Ended || s.tunnel == stream.NoTunnel {
		s.Fail(stream.Malformed, h1.ErrSwitchedProtocols)
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
func (s *Stream) deliverEarly() {
	early := s.earlyBytes
	s.earlyBytes = nil
	s.link.conn.Reactor().Account(-len(early))
	s.deliver(early, s.endReceived)
}

func (s *Stream) gotEnd(end bool) {
	if end {
		s.endReceived = true
		s.forgetHandle()
	}
}

// forgetHandle forgets the codec's stream once both directions are closed.
func (s *Stream) forgetHandle() {
	if s.endReceived && s.endSent {
		s.handle = nil
	}
}

// finish ends the exchange when both messages are complete, and reports whether they are: s must not be used then.
// On a server the end of the answer is enough: the rest of the request is thrown away.
func (s *Stream) finish() bool {
	peerMustEnd := !s.link.server || s.tunnel == stream.TunnelOpen
	if s.inCallback || s.framing != stream.Ended || !s.endDelivered && peerMustEnd {
		return false
	}
	s.linger()
	s.resetAndFree(ReasonCancel)
	return true
}

// resetAndFree resets s on the wire and frees it. It may be another exchange's afterwards.
func (s *Stream) resetAndFree(why Reason) {
	l := s.link
	s.receiver = nil
	s.resetWire(why)
	l.remove(s)
	l.end.OnEnded(s)
	if !s.inCallback {
		l.pool.park(s)
	}
}

func (s *Stream) resetWire(why Reason) {
	if s.handle != nil {
		s.link.wire.Reset(s, why)
		s.handle = nil
	}
}

// linger throws away the rest of a request whose answer was sent whole. The rest of a refused tunnel may have no
// end: it is reset.
func (s *Stream) linger() {
	switch {
	case s.handle == nil || !s.link.server || !s.endSent || s.tunnel == stream.TunnelOpen:
	case s.tunnel != stream.NoTunnel:
		s.resetWire(ReasonDone)
	default:
		s.link.wire.Discard(s)
		s.handle = nil
	}
}

// GotReset resets the exchange, whose stream of the codec is gone.
func (s *Stream) GotReset(code stream.Code, cause error) {
	s.handle = nil
	s.Fail(code, cause)
}

// Fail resets the exchange. Not inside a callback of s.
func (s *Stream) Fail(code stream.Code, cause error) {
	if s.noContent && !s.endDelivered && s.endWithHead(code) {
		return
	}
	l, r := s.link, s.receiver
	s.receiver = nil
	s.linger()
	s.resetWire(s.reason(code))
	l.remove(s)
	s.inCallback = true
	s.callOnReset(r, code, cause)
	l.end.OnEnded(s)
	l.pool.park(s)
}

// endWithHead gives the receiver the end of an answer that ends with its head (RFC 9110 §6.4.1): what the origin
// did after the head is no part of the answer. It reports whether the exchange is over; the request may still be on
// its way.
func (s *Stream) endWithHead(code stream.Code) bool {
	s.endDelivered, s.endReceived = true, true
	s.resetWire(reasonOf(code, true))
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
func (s *Stream) deliverEnd() (told bool) {
	defer func() {
		if p := recover(); p != nil {
			s.link.conn.Reactor().Panicked(p)
		}
	}()
	s.receiver.OnData(s, nil, true)
	return true
}

// callOnReset calls OnReset and recovers a panic of it: the other exchanges have to be told as well.
func (s *Stream) callOnReset(r stream.Receiver, code stream.Code, cause error) {
	defer func() {
		if p := recover(); p != nil {
			s.link.conn.Reactor().Panicked(p)
		}
	}()
	r.OnReset(s, code, cause)
}

// FailLater makes the task fail s: methods make no callbacks.
func (s *Stream) FailLater(code stream.Code, cause error) {
	s.code, s.cause = code, cause
	s.postpone(toFail)
}

func (s *Stream) postpone(t todo) {
	if s.todo == nothing {
		s.link.todos++
	}
	s.todo = t
	s.link.FlushSoon(false)
}

// GotRoom gives s its turn to send, in a batch: there is room again.
func (s *Stream) GotRoom() {
	s.clearBlock()
	s.answerPace.Pause(s.now())
	s.enter()
	s.receiver.OnSendable(s)
	s.leave()
}

// drainTunnel lets the receiver of a tunnel send what it sends last, and ends it.
func (s *Stream) drainTunnel() {
	if p, ok := s.receiver.(stream.TunnelDrainer); ok {
		s.enter()
		p.OnTunnelDrain(s)
		s.leave()
	}
	if s.receiver != nil {
		s.Fail(stream.Cancelled, nil)
	}
}

// Queued returns the bytes of the connection that have not left.
func (s *Stream) Queued() int { return s.link.conn.Queued() }

// Release opens the window by n bytes.
func (s *Stream) Release(n int) {
	s.mustOwn()
	if s.receiver == nil {
		return
	}
	s.owed = max(s.owed-n, 0)
	if s.handle != nil {
		s.link.wire.Release(s, n)
	}
	if s.owed == 0 && !s.inCallback {
		s.link.end.SetDeadline(s)
	}
}

// Reset ends the exchange. The others on the connection go on.
func (s *Stream) Reset(code stream.Code) {
	s.mustOwn()
	if s.receiver != nil {
		s.resetAndFree(s.reason(code))
	}
}

// Peer is the address of the other end of the connection when the exchange began.
func (s *Stream) Peer() poller.Addr {
	if s.peer != nil {
		return *s.peer
	}
	return s.link.conn.Peer()
}

// PeerIP returns the IP of Peer, in fewer instructions.
func (s *Stream) PeerIP() netip.AddrPort {
	if s.peer != nil {
		return s.peer.IP
	}
	return engine.PeerIP(s.link.conn)
}

// SocketIP returns the IP of the other end of the socket, whatever the connection was told: a carried one is told
// nothing.
func (s *Stream) SocketIP() netip.Addr {
	if s.peer != nil {
		return s.peer.IP.Addr()
	}
	return s.link.conn.Socket().IP.Addr()
}

// Local is the address of our end.
func (s *Stream) Local() poller.Addr { return s.link.conn.Local() }

// TLS is what is known of a TLS connection.
func (s *Stream) TLS() *tlsconn.Digest { return tlsconn.DigestOf(s.link.conn) }

// owesBody reports whether the exchange waits for the client's body.
func (s *Stream) owesBody() bool { return !s.endReceived && !s.endDelivered && s.owed == 0 }

// mayBeSilent reports whether the client may be silent for as long as the answer lasts.
func (s *Stream) mayBeSilent() bool { return s.unhurried && s.framing != stream.NoHead }

// answerMoves notes that a part of the answer was sent, and renews the credit of the body: a client may be busy with
// the answer.
func (s *Stream) answerMoves() {
	if !s.link.server || s.endDelivered || s.endReceived || s.tunnel == stream.TunnelOpen {
		return
	}
	s.bodyPace.Renew(s.now())
	if !s.inCallback {
		s.link.end.SetDeadline(s)
	}
}

// Unhurry lifts the least rate of a request body, and the bound on the time between two pieces of an answer.
func (s *Stream) Unhurry() {
	s.unhurried = true
	if !s.inCallback && s.receiver != nil {
		s.link.end.SetDeadline(s)
	}
}

// reason is what the peer is told when s ends early.
func (s *Stream) reason(code stream.Code) Reason {
	switch {
	case !s.link.server:
	case s.endSent:
		return ReasonDone // RFC 9113 §8.1, RFC 9114 §4.1
	case s.tunnel == stream.TunnelOpen && s.verb == message.VerbConnect:
		return ReasonConnectBroken // RFC 9113 §8.5: any error in the TCP connection
	case s.tunnel == stream.TunnelOpen:
		return ReasonCancel // RFC 8441 §5: what a RST would be
	}
	return reasonOf(code, !s.link.server)
}
