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
	if p, ok := hello.Conn.(*pipe); ok && p.shake != nil {
		return p.shake.await(f)
	}
	return f(context.Background())
}

func (h *handshake) await(f func(ctx context.Context) error) error {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	h.mu.Lock()
	if h.closed || h.peerFIN { // a peer that sends no more cannot finish
		h.mu.Unlock()
		return net.ErrClosed
	}
	h.worker, h.giveUp = awaitsOther, cancel
	h.mu.Unlock()
	h.owner.pass(true)
	defer h.comeBack() // also after a panic: compute asks whether the handshake has a turn
	return f(ctx)
}

// comeBack ends await: it waits for a turn, unless the connection is closed.
func (h *handshake) comeBack() {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.giveUp = nil; h.closed {
		h.resume(false)
		return
	}
	h.worker = awaitsTurn
	if h.owner.turns.ask(h, true, 0) {
		h.resume(true)
	}
	for h.worker >= awaitsBytes {
		h.more.Wait()
	}
}
