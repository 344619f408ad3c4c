package engine

import (
	"slices"
	"time"

	"github.com/edge-proxy/edge/poller"
)

// Times of a listener that closes. close(2) resets the clients that have not been accepted, though they were told
// "connected": those in the queue, those whose last ACK of the handshake is on its way, and those that have said
// nothing yet, which the kernel keeps to itself under TCP_DEFER_ACCEPT.
//
//	Close              +1 s             +1.2 s
//	  ├─── IntakeAll ───┼── IntakeBegun ──┤ close(2)     with DeferAccept
//	                    ├── IntakeBegun ──┤ close(2)     without: from 0 to 200 ms
//	                                      ┤ close(2)     a Unix socket: it knows no handshake
const (
	// deferredTime is when the kernel asks a client again that has said nothing (SYN-ACK), and then hands it over.
	deferredTime = time.Second
	// handshakeTime is for the round trip of clients that are about to connect.
	handshakeTime = 200 * time.Millisecond
	unlistenTime  = deferredTime + handshakeTime
)

// unlistening is the end of an acceptor, which accepts meanwhile, whatever the limits say.
type unlistening struct {
	timer Timer
	begun bool
	grace time.Duration // from IntakeBegun to close(2)
	by    int64         // until when a lack of descriptors is waited for
}

// Close ends l so that each client that was told "connected" is served: for another while l accepts, above ConnsMax and
// under pressure as well, and then the sockets are closed. That takes 1.2 s with DeferAccept and 200 ms without. For a
// Unix socket it takes no time; its file stays: the next Listen replaces it. Close does not wait, see Closed. Open
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

// Reopen takes a Close back whose time has not come yet, and reports whether it could: not for a Unix socket, and not
// when all sockets are closed. Not at the same time as Close. Safe for any goroutine but a reactor's.
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
				return r.listen(l)
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
	now := r.kernel.Now() // of a reactor that somebody else drives r.now may be old
	a.end.begun, a.end.grace, a.end.by = true, min(handshakeTime, within/4), now+2*int64(within)
	a.ready, r.acceptAny = true, true // it may have paused
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

// close accepts what is left and closes a's socket. Where a connection is left that finds no descriptor it waits, until
// by at most.
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

// closeAcceptor closes a's socket. It is taken out of the set first: where another process holds the socket too,
// closing it here would not do that.
func (r *Reactor) closeAcceptor(a *acceptor) {
	r.Disarm(&a.end.timer)
	if a.guest != nil {
		r.kernel.Close(a.guest.fd)
		a.guest = nil
	}
	r.kernel.Del(a.fd)
	r.kernel.Close(a.fd)
	r.freeSlot(a.slot)
	a.listener.sockets.Add(-1)
}
