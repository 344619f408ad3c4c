package engine

import (
	"cmp"
	"errors"
	"fmt"
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

// Close ends l so that each connected client is served: l accepts for a while longer, above ConnsMax and under
// pressure as well, and then the sockets are closed. That takes 1.2 s with DeferAccept and 200 ms without. A Unix
// socket is closed at once; its file stays until the next Listen replaces it. Close does not wait, see Closed. Open
// connections are not touched. Suspended listeners are abandoned. Ports take no connections any more, and close
// after their last connection.
// Safe for any goroutine but a reactor's.
func (l *Listener) Close() { l.close(unlistenTime, false) }

// close is Close within a given time; at once where hasty is set, after stopConnects.
func (l *Listener) close(within time.Duration, hasty bool) {
	if l.closed.Swap(true) {
		return
	}
	for _, r := range l.engine.reactors {
		r.runOn(func() error { r.unlisten(l, within, hasty); return nil }) //nolint:errcheck // ErrStopped: it is closed
	}
}

// stopConnects lets no client begin to connect to listeners from now on, and reports whether none has begun. It looks
// once for all of them, on its own goroutine: the system's list of connections may be long.
func (e *Engine) stopConnects(listeners []*Listener) bool {
	var sockets []poller.FD
	for _, l := range listeners {
		if l.closed.Load() || l.opts.Held || l.addr.IsUnix() {
			continue
		}
		for _, r := range e.reactors {
			r.runOn(func() error { //nolint:errcheck // ErrStopped: there is none
				for _, a := range r.acceptorsOf(l) {
					if a.port == nil && !a.suspended {
						r.kernel.SetIntake(a.fd, poller.IntakeBegun)
						sockets = append(sockets, a.fd)
					}
				}
				return nil
			})
		}
	}
	return len(sockets) == 0 || !e.reactors[0].kernel.ConnectsBegun(sockets...)
}

// Reopen takes a Close back and reports whether it could: it cannot for a Unix socket, nor when all sockets are
// closed by now. It must not run at the same time as Close. Safe for any goroutine but a reactor's.
func (l *Listener) Reopen() (ok bool) {
	if !l.closed.Load() || l.addr.IsUnix() || l.newPortHandler != nil && !l.keepPorts() {
		return false
	}
	for _, r := range l.engine.reactors {
		r.runOn(func() error { ok = r.relisten(l) || ok; return nil }) //nolint:errcheck // ErrStopped: ok stays
	}
	l.closed.Store(!ok)
	l.engine.Join(l)
	return ok
}

// unlisten begins to close the sockets of l.
func (r *Reactor) unlisten(l *Listener, within time.Duration, hasty bool) {
	for _, a := range r.acceptorsOf(l) {
		if a.suspended || l.opts.Held && a.port == nil { // another process has it: its clients are not to notice
			a.abandon(r)
		} else {
			a.unlisten(r, within, hasty)
		}
	}
}

// unlisten begins to close a's socket.
func (a *acceptor) unlisten(r *Reactor, within time.Duration, hasty bool) {
	now := r.kernel.Now() // where a simulation drives the reactor r.now may be old
	a.end.begun, a.end.grace, a.end.by = true, min(handshakeTime, within/4), now+2*int64(within)
	a.ready, r.acceptAny = true, true // accepting may have been paused
	if a.port != nil {
		a.end.timer.Run = func(*Reactor) { a.port.close() }
		a.port.close()
		return
	}
	a.end.timer.Run = a.refuseNewClients
	if hasty && !a.listener.addr.IsUnix() {
		a.close(r)
		return
	}
	if l := a.listener; !l.opts.DeferAccept || l.addr.IsUnix() {
		a.refuseNewClients(r)
		return
	}
	r.kernel.SetIntake(a.fd, poller.IntakeAll)
	r.Arm(&a.end.timer, now+int64(within-a.end.grace))
}

// relisten takes unlisten back. It reports whether r has a socket of l.
func (r *Reactor) relisten(l *Listener) bool {
	of := r.acceptorsOf(l)
	for _, a := range of {
		r.Disarm(&a.end.timer)
		a.end.begun = false
		if a.port != nil {
			continue
		}
		if l.opts.DeferAccept {
			r.kernel.SetIntake(a.fd, poller.IntakeSpeaking)
		} else {
			r.kernel.SetIntake(a.fd, poller.IntakeAll)
		}
	}
	return len(of) > 0
}

// refuseNewClients keeps new clients away from a's socket.
func (a *acceptor) refuseNewClients(r *Reactor) {
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
		r.Arm(&a.end.timer, r.now+int64(retryPause))
		return
	}
	a.remove(r)
}

// remove closes a's socket and takes a off r.
func (a *acceptor) remove(r *Reactor) {
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
	if a.port != nil {
		a.port.closed = true
		r.Disarm(&a.port.retry)
	}
	r.kernel.Del(a.fd)
	r.kernel.Close(a.fd)
	r.freeSlot(a.slot)
	a.listener.sockets.Add(-1)
}

// Suspend stops all reactors from accepting by the sockets of all, before it returns. They stay open, and what connects
// waits in the kernel, or is accepted by another process that has the same sockets. Listeners that close are left
// alone. Drain leaves suspended listeners alone too. Safe for any goroutine but a reactor's.
func (e *Engine) Suspend(all ...*Listener) {
	e.mu.Lock()
	e.suspended = true
	for _, l := range all {
		l.paused.Store(true)
	}
	e.mu.Unlock()
	e.onSockets(all, func(a *acceptor, r *Reactor) error { a.suspend(r); return nil }) //nolint:errcheck // see Stop
}

// Resume takes Suspend back: the sockets of all get the options of their listeners again, which another process may
// have changed, and what waits is accepted. A Drain that is under way ends early, and Draining is false. Giving ends.
// An error says of which sockets that failed, which stay suspended. Safe for any goroutine but a reactor's.
func (e *Engine) Resume(all ...*Listener) error {
	if g := e.giving.Load(); g != nil {
		g.End()
	}
	e.mu.Lock()
	e.suspended = false
	e.draining.Store(false)
	for _, l := range all {
		l.paused.Store(false)
	}
	e.mu.Unlock()
	return e.onSockets(all, (*acceptor).resume)
}

// Abandon closes the sockets of all at once, without a moment for clients that are about to connect: another process
// has the same sockets and serves them. Open connections are not touched. Safe for any goroutine but a reactor's.
func (e *Engine) Abandon(all ...*Listener) {
	for _, l := range all {
		l.closed.Store(true)
	}
	e.onSockets(all, func(a *acceptor, r *Reactor) error { a.abandon(r); return nil }) //nolint:errcheck // see Stop
}

// Duplicate returns second descriptors of the sockets of each listener, in the order of their group. The caller closes
// them. Safe for any goroutine but a reactor's.
func (e *Engine) Duplicate(all ...*Listener) ([][]poller.FD, error) {
	type copied struct {
		of *acceptor
		fd poller.FD
	}
	copies := make([][]copied, len(e.reactors)) // by Reactor.Index
	err := e.onSockets(all, func(a *acceptor, r *Reactor) error {
		fd, errno := r.kernel.Duplicate(a.fd)
		if errno != 0 {
			return fmt.Errorf("socket %d of %s: %w", a.index, a.listener.addr, errno)
		}
		copies[r.index] = append(copies[r.index], copied{a, fd})
		return nil
	})
	every := slices.Concat(copies...)
	if err != nil {
		r := e.reactors[0]
		r.runOn(func() error { //nolint:errcheck // ErrStopped: the process ends
			for _, c := range every {
				r.kernel.Close(c.fd)
			}
			return nil
		})
		return nil, err
	}
	slices.SortFunc(every, func(a, b copied) int { return cmp.Compare(a.of.index, b.of.index) })
	sockets := make(map[*Listener][]poller.FD, len(all))
	for _, c := range every {
		sockets[c.of.listener] = append(sockets[c.of.listener], c.fd)
	}
	groups := make([][]poller.FD, len(all))
	for i, l := range all {
		groups[i] = sockets[l]
	}
	return groups, nil
}

// onSockets runs f for the sockets of all: in one task for each reactor, since each would wait for a tick.
func (e *Engine) onSockets(all []*Listener, f func(*acceptor, *Reactor) error) error {
	chosen := make(map[*Listener]bool, len(all))
	for _, l := range all {
		chosen[l] = true
	}
	return e.runOnAll(func(r *Reactor) error {
		var errs []error
		for _, a := range slices.Clone(r.acceptors) {
			if chosen[a.listener] {
				errs = append(errs, f(a, r))
			}
		}
		return errors.Join(errs...)
	})
}

// suspend takes a's socket out of the kernel's set.
func (a *acceptor) suspend(r *Reactor) {
	if a.suspended || a.end.begun {
		return
	}
	a.suspended = true
	a.placePending(r)
	r.kernel.Del(a.fd)
	if a.port != nil {
		a.port.retryLater()
	}
}

// resume takes suspend back.
func (a *acceptor) resume(r *Reactor) error {
	if !a.suspended {
		return nil
	}
	_, err := a.listener.adoptBy(r.kernel, a.fd)
	if err == nil {
		if e := r.kernel.Add(a.fd, poller.MakeToken(r.slots[a.slot].gen, a.slot)); e != 0 {
			err = e
		}
	}
	if err != nil {
		return fmt.Errorf("listen %s: %w", a.listener.addr, err)
	}
	a.suspended, a.backlog = false, 0 // a second listen(2) has set the backlog
	return nil
}

// abandon closes a's socket, which another process has. The connections of a port send by it.
func (a *acceptor) abandon(r *Reactor) {
	if a.port != nil {
		a.unlisten(r, 0, false)
		return
	}
	a.placePending(r)
	a.remove(r)
}

// placePending serves the connection that waits for room as one above the limit, which no other connection may be.
func (a *acceptor) placePending(r *Reactor) {
	if g := a.pending; g != nil {
		a.pending = nil
		a.listener.conns.Add(1)
		r.stats.Accepted++
		r.assignConn(a.listener, g.fd, g.peer)
	}
}
