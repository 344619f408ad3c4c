package engine

import (
	"slices"
	"time"

	"github.com/edge-proxy/edge/poller"
)

// Times of a listener that closes. close(2) resets the clients that have not been accepted, although they are
// connected for their side: those in the queue, those whose last ACK of the handshake is on its way, and those that
// have sent nothing yet, which the kernel does not report under TCP_DEFER_ACCEPT.
//
//	Close              +1 s             +1.2 s
//	  ├─── IntakeAll ───┼── IntakeBegun ──┤ close(2)     with DeferAccept
//	                    ├── IntakeBegun ──┤ close(2)     without: from 0 to 200 ms
//	                                      ┤ close(2)     a Unix socket: it knows no handshake
const (
	// deferredTime is when the kernel repeats its SYN-ACK to a client that has sent nothing, and then reports it.
	deferredTime = time.Second
	// handshakeTime is for the round trip of clients that are about to connect.
	handshakeTime = 200 * time.Millisecond
	unlistenTime  = deferredTime + handshakeTime
)

// unlistening is the end of an acceptor, which goes on to accept meanwhile, above all limits.
type unlistening struct {
	timer Timer
	begun bool
	grace time.Duration // from IntakeBegun to close(2)
	by    int64         // until when it waits for descriptors
}

// Close ends l so that each connected client is served: l accepts for a while longer, above ConnsMax and under
// pressure as well, and then the sockets are closed. That takes 1.2 s with DeferAccept and 200 ms without. A Unix
// socket is closed at once; its file stays until the next Listen replaces it. Close does not wait, see Closed. Open
// connections are not touched.
// Safe for any goroutine but a reactor's.
func (l *Listener) Close() { l.close(unlistenTime) }

// close is Close within a given time.
func (l *Listener) close(within time.Duration) {
	if l.closed.Swap(true) {
		return
	}
	for _, r := range l.engine.reactors {
		r.call(func() error { r.unlisten(l, within); return nil }) //nolint:errcheck // ErrStopped: closed already
	}
}

// Closed reports whether Close was called and the last socket is closed. Safe for any goroutine.
func (l *Listener) Closed() bool { return l.closed.Load() && l.sockets.Load() == 0 }

// Reopen takes a Close back and reports whether it could: it cannot for a Unix socket, nor when all sockets are
// closed by now. It must not run at the same time as Close. Safe for any goroutine but a reactor's.
func (l *Listener) Reopen() (ok bool) {
	if !l.closed.Load() || l.addr.IsUnix() {
		return false
	}
	for _, r := range l.sharers() {
		r.call(func() error { ok = r.relisten(l) || ok; return nil }) //nolint:errcheck // ErrStopped: ok stays as it is
	}
	if !ok {
		return false
	}
	l.closed.Store(false)
	for _, r := range l.sharers() {
		r.call(func() error { //nolint:errcheck // where a socket was closed and none can be opened, the others serve
			if r.acceptorOf(l) == nil {
				return r.listen(l, false)
			}
			return nil
		})
	}
	return true
}

func (r *Reactor) acceptorOf(l *Listener) *acceptor {
	for _, a := range r.acceptors {
		if a.listener == l {
			return a
		}
	}
	return nil
}

// unlisten begins to close the socket of l.
func (r *Reactor) unlisten(l *Listener, within time.Duration) {
	a := r.acceptorOf(l)
	if a == nil {
		return
	}
	now := r.kernel.Now() // where a simulation drives the reactor r.now may be old
	a.end.begun, a.end.grace, a.end.by = true, min(handshakeTime, within/4), now+2*int64(within)
	a.ready, r.acceptAny = true, true // accepting may have been paused
	a.end.timer.Run = a.takeNoMore
	if !l.opts.DeferAccept || l.addr.IsUnix() {
		a.takeNoMore(r)
		return
	}
	r.kernel.SetIntake(a.fd, poller.IntakeAll)
	r.Arm(&a.end.timer, now+int64(within-a.end.grace))
}

// relisten takes unlisten back.
func (r *Reactor) relisten(l *Listener) bool {
	a := r.acceptorOf(l)
	if a == nil {
		return false
	}
	r.Disarm(&a.end.timer)
	a.end.begun = false
	if l.opts.DeferAccept {
		r.kernel.SetIntake(a.fd, poller.IntakeSpeaking)
	} else {
		r.kernel.SetIntake(a.fd, poller.IntakeAll)
	}
	return true
}

// takeNoMore keeps new clients away from a's socket.
func (a *acceptor) takeNoMore(r *Reactor) {
	r.kernel.SetIntake(a.fd, poller.IntakeBegun)
	a.end.timer.Run = a.close
	if a.listener.addr.IsUnix() {
		a.close(r)
		return
	}
	r.Arm(&a.end.timer, r.kernel.Now()+int64(a.end.grace))
}

// close accepts what is left and closes a's socket. If there is no descriptor for a connection that is left, it
// tries again, until by at most.
func (a *acceptor) close(r *Reactor) {
	for !r.acceptFrom(a) {
		// as many as one tick may: there may be more
	}
	if a.ready && r.now < a.end.by {
		r.Arm(&a.end.timer, r.now+int64(acceptPause))
		return
	}
	r.closeAcceptor(a)
	r.acceptors = slices.DeleteFunc(r.acceptors, func(o *acceptor) bool { return o == a })
}

// closeAcceptor closes a's socket. It removes it from epoll first: closing a socket that another process holds too
// would not do that.
func (r *Reactor) closeAcceptor(a *acceptor) {
	r.Disarm(&a.end.timer)
	if a.pending != nil {
		r.kernel.Close(a.pending.fd)
		a.pending = nil
	}
	r.kernel.Del(a.fd)
	r.kernel.Close(a.fd)
	r.freeSlot(a.slot)
	a.listener.sockets.Add(-1)
}
