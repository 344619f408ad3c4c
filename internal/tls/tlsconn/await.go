package tlsconn

import (
	"context"
	"crypto/tls"
	"net"
)

// Await runs f, which may block, in a callback of a tls.Config, and gives the turn of the handshake to others
// meanwhile: on two processors it is the only one. ctx ends with the connection, whose deadline goes on. On the
// goroutine of the handshake, which computes again once it has another turn.
func Await(hello *tls.ClientHelloInfo, f func(ctx context.Context) error) error {
	if s := seatOf(hello); s != nil {
		return s.await(f)
	}
	return f(context.Background())
}

func (s *seat) await(f func(ctx context.Context) error) error {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	s.mu.Lock()
	if s.closed || s.peerFIN { // a peer that sends no more cannot finish
		s.mu.Unlock()
		return net.ErrClosed
	}
	s.worker, s.giveUp = awaitsOther, cancel
	s.mu.Unlock()
	s.owner.pass(true)
	defer s.comeBack() // also after a panic: compute asks whether the handshake has a turn
	return f(ctx)
}

// comeBack ends await: it waits for a turn, unless the connection is closed.
func (s *seat) comeBack() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.giveUp = nil; s.closed {
		s.resume(false)
		return
	}
	s.worker = awaitsTurn
	if s.owner.turns.ask(s, true, 0) {
		s.resume(true)
	}
	for s.worker >= awaitsBytes {
		s.more.Wait()
	}
}
