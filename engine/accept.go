package engine

import (
	"cmp"
	"syscall"

	"github.com/edge-proxy/edge/poller"
)

// acceptAll takes the connections that wait at the listeners of r.
func (r *Reactor) acceptAll() {
	for _, a := range r.acceptors {
		if a.port == nil && a.ready && !a.suspended && !r.acceptFrom(a) {
			r.acceptAny = true
		}
	}
}

// acceptFrom takes waiting connections, at most as many as one tick may. It reports true when it is of no use to go on:
// none waits, or accepting is paused.
func (r *Reactor) acceptFrom(a *acceptor) bool {
	for range r.accepts {
		full := r.Pressure() >= PressureAccept
		if g := a.listener.opts.Gate; g != nil && !full && !a.end.begun {
			var backlog int
			if full, backlog = g.Full(r); full {
				a.setBacklog(r.kernel, backlog)
			}
		}
		if full && !a.end.begun {
			r.pauseAccept()
			return true
		}
		fd, peer, e := r.accept(a)
		switch e {
		case 0:
			if !r.acquireConn(a, fd) {
				a.pending = &pending{fd, peer}
				r.pauseAccept()
				return true
			}
			r.stats.Accepted++
			r.assignConn(a.listener, fd, peer)
		case syscall.EAGAIN:
			a.setBacklog(r.kernel, 0)
			a.ready = false
			return true
		// The connection died while it waited, or a firewall took it. accept(2) says to try the next one.
		case syscall.ECONNABORTED, syscall.EPERM, syscall.EPROTO, syscall.ENETDOWN, syscall.ENETUNREACH,
			syscall.EHOSTDOWN, syscall.EHOSTUNREACH, syscall.ENONET, syscall.ENOPROTOOPT, syscall.EOPNOTSUPP:
			r.stats.AcceptFailed++
		case syscall.EMFILE, syscall.ENFILE:
			if r.yield(nil, idleBatch) > 0 {
				return false // they are closed at the end of this tick
			}
			a.searchIdle(r, nil, idleBatch)
			r.pauseAccept()
			return true
		default: // ENOBUFS, ENOMEM or an unknown error, which may last
			r.pauseAccept()
			return true
		}
	}
	return false
}

// setBacklog lets at most n connections wait at a; 0: ListenOptions.Backlog. A change by less than a factor of two is
// left out, since each change is a system call.
func (a *acceptor) setBacklog(k poller.Kernel, n int) {
	most := a.listener.opts.Backlog
	if most > 0 && n >= most {
		n = 0
	}
	if n == a.backlog || n > a.backlog/2 && n < a.backlog*2 {
		return
	}
	a.backlog = n
	k.SetBacklog(a.fd, cmp.Or(n, most))
}

// accept takes the next connection: the connection that waits for room, if there is one.
func (r *Reactor) accept(a *acceptor) (poller.FD, poller.Addr, syscall.Errno) {
	if g := a.pending; g != nil {
		a.pending = nil
		return g.fd, g.peer, 0
	}
	return r.kernel.Accept(a.fd)
}

// acquireConn counts the accepted connection fd and reports whether there is room for it; all reactors share the limits
// of the engine and of the listener. It makes room by closing an idle connection. A listener that closes has no limit.
func (r *Reactor) acquireConn(a *acceptor, fd poller.FD) bool {
	if r.engine.full(fd) && !a.end.begun && r.yield(nil, 1) == 0 {
		a.searchIdle(r, nil, 1)
		return false
	}
	l, placed := a.listener, a.placeFound
	a.placeFound = false
	if n, most := l.conns.Add(1), l.connsMax.Load(); most <= 0 || n <= most || a.end.begun {
		return true
	}
	if placed || r.yield(l, 1) > 0 {
		return true
	}
	l.conns.Add(-1)
	a.searchIdle(r, l, 1)
	return false
}

// full reports whether there are Options.ConnsMax connections, of which fd is not one yet. The kernel gives the lowest
// free descriptor: below the limit no connection is counted.
func (e *Engine) full(fd poller.FD) bool {
	most := e.opts.ConnsMax
	return most > 0 && int(fd) >= most && e.Conns() >= most
}

func (r *Reactor) pauseAccept() {
	r.stats.AcceptPaused++
	r.retrySoon()
}

// assignConn gives an accepted connection to the reactor that is to own it: to r, unless r has more than its share.
func (r *Reactor) assignConn(l *Listener, fd poller.FD, peer poller.Addr) {
	to := r.engine.leastLoaded(r)
	to.load.Add(1)
	if to == r {
		r.adopt(l, fd, peer, l.accept)
		return
	}
	r.stats.HandedOff++
	t := &Task{}
	t.Run = func(to *Reactor) { to.adopt(l, fd, peer, l.accept) }
	to.Post(t)
}

// leastLoaded returns from, unless it has a quarter more connections than one of the next two reactors in turn. The
// kernel spreads connections by a hash of their addresses, which is uneven when they are few. Comparing two
// reactors spreads them about as well as comparing all, and reads two cache lines of others.
func (e *Engine) leastLoaded(from *Reactor) *Reactor {
	n, least := len(e.reactors), from
	for range min(n-1, 2) {
		if from.compared++; from.compared%n == from.index {
			from.compared++
		}
		if r := e.reactors[from.compared%n]; r.load.Load() < least.load.Load() {
			least = r
		}
	}
	if l := least.load.Load(); from.load.Load() > l+l/4 {
		return least
	}
	return from
}

// adopt makes a Conn of an accepted descriptor; accept makes its handler. It is read in this tick, since bytes may have
// come with it.
func (r *Reactor) adopt(l *Listener, fd poller.FD, peer poller.Addr, accept func(*Conn) Handler) {
	c := r.newConn(fd, peer)
	c.listener = l
	if r.stopping {
		c.state = closed
		c.release()
		return
	}
	c.state = open
	c.flags |= unwatched
	r.fresh = append(r.fresh, c)
	c.can = poller.CanRead | poller.CanWrite
	if h := l.callAccept(c, accept); h != nil {
		c.handler = h
		r.makeReady(c)
		return
	}
	c.handler = NopHandler{}
	c.drop(nil)
}

// callAccept calls accept. A panic costs this connection only, not those that are accepted after it.
func (l *Listener) callAccept(c *Conn, accept func(*Conn) Handler) (h Handler) {
	defer func() {
		if p := recover(); p != nil {
			c.reactor.Panicked(p)
			h = nil
		}
	}()
	return accept(c)
}

// watch registers c with the kernel. The kernel reports at once what is ready already, so registering late loses no
// edge.
func (c *Conn) watch() {
	if c.flags&unwatched == 0 || c.state == closed {
		return
	}
	c.flags &^= unwatched
	if e := c.reactor.kernel.Add(c.fd, c.token()); e != 0 {
		c.drop(e)
	}
}

// watchFresh registers the connections that have lived through a whole tick. A connection that ends before, as with one
// request per connection, is never registered: that saves a system call and its events.
func (r *Reactor) watchFresh() {
	for _, c := range r.fresh[:r.lived] {
		c.watch()
	}
	left := copy(r.fresh, r.fresh[r.lived:])
	clear(r.fresh[left:])
	r.fresh, r.lived = r.fresh[:left], left
}
