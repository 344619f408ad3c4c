package engine

import (
	"syscall"

	"github.com/edge-proxy/edge/poller"
)

// Moved is a connection on its way from one reactor to another: a descriptor that no kernel watches.
// Owned by its holder, which passes it to Adopt or to Discard of one reactor, once.
//
//	owner   c.Leave() ─► Moved ── mail ──► r.Adopt(Moved) ─► a Conn of r     asker
//	         └─ c is closed, without OnClose          └─► closed: FIN, bytes, or r has stopped
type Moved struct {
	fd    poller.FD
	peer  poller.Addr
	layer *layered
}

// Inherited makes a Moved of fd, a connected socket that does not block and that another process has sent, or that this
// one has made. Nothing may have come on it yet.
func Inherited(fd poller.FD) Moved { return Moved{fd: fd} }

// Leave takes an idle connection away from its reactor, so that another one may adopt it. It reports false, and
// leaves c as it is, when c is not idle: not quiet, or with bytes queued. So it does when c has no socket. Afterwards c
// is closed for all its methods and OnClose does not come. Events that are on their way find its slot empty.
func (c *Conn) Leave() (m Moved, ok bool) {
	c.mustOwn()
	if !c.Quiet() || c.fd == poller.NoFD || c.queued > 0 || c.flags&(timedOut|sendable|openDue) != 0 {
		return Moved{fd: poller.NoFD}, false
	}
	m = Moved{fd: c.fd, peer: c.peer, layer: c.layer}
	c.layer = nil
	c.reactor.kernel.Del(c.fd)
	c.fd = poller.NoFD
	c.handler = NopHandler{}
	c.drop(nil)
	c.reactor.stats.Left++
	return m, true
}

// Adopt makes m a connection of r, with the handler h; OnOpen does not come. The error is ErrUnasked when the peer has
// sent something meanwhile, ErrClosed when it has closed, ErrStopped when r has stopped; then m is closed and nothing
// is called.
func (r *Reactor) Adopt(m Moved, h Handler) (*Conn, error) {
	r.MustOwn()
	if err := r.probe(m.fd); err != nil {
		r.kernel.Close(m.fd)
		return nil, err
	}
	c := r.newConn(m.fd, m.peer)
	c.flags &^= openDue
	if e := r.kernel.Add(m.fd, c.token()); e != 0 {
		c.state = closed
		c.release()
		return nil, e
	}
	c.handler, c.layer = h, m.layer
	c.state = open
	c.can = poller.CanWrite
	r.stats.Adopted++
	return c, nil
}

// probe checks that nothing came on fd since Leave. What comes after this check is reported by Add.
func (r *Reactor) probe(fd poller.FD) error {
	if r.stopping {
		return ErrStopped
	}
	switch n, e := r.kernel.Read(fd, r.probed[:]); {
	case e == syscall.EAGAIN:
		return nil
	case e != 0:
		return e
	case n > 0:
		return ErrUnasked
	}
	return ErrClosed
}

// Discard closes m.
func (r *Reactor) Discard(m Moved) { r.kernel.Close(m.fd) }

// Feed gives l fd, a connection that did not come by its sockets, above ConnsMax. accept makes its handler. After an
// error fd is closed. On r only.
func (l *Listener) Feed(r *Reactor, fd poller.FD, accept func(*Conn) Handler) error {
	peer, err := l.addConn(r, fd)
	if err != nil {
		return err
	}
	r.adopt(l, fd, peer, accept)
	return nil
}

// addConn counts fd, which is to be a connection of l on r.
func (l *Listener) addConn(r *Reactor, fd poller.FD) (peer poller.Addr, err error) {
	r.MustOwn()
	if err = ErrStopped; !r.stopping {
		peer, err = r.kernel.Adopt(fd, nil)
	}
	if err != nil {
		r.kernel.Close(fd)
		return peer, err
	}
	l.conns.Add(1)
	r.load.Add(1)
	return peer, nil
}

// Receive makes fd, a connection that another process gave away, one of r that l accepted, above ConnsMax. accept
// returns its handler, and is called when the connection is open already: OnOpen does not come. The error is
// ErrStopped, or says that the connection has ended; then fd is closed. On r only.
func (l *Listener) Receive(r *Reactor, fd poller.FD, accept func(*Conn) Handler) error {
	peer, err := l.addConn(r, fd)
	if err != nil {
		return err
	}
	c := r.newConn(fd, peer)
	c.flags &^= openDue
	c.listener = l
	c.state = open
	c.can = poller.CanWrite // what the peer sent is reported when it is watched
	r.stats.Received++
	if h := l.callAccept(c, accept); h != nil {
		c.handler = h
		c.flags |= unwatched
		c.watch()
		return nil
	}
	c.handler = NopHandler{}
	c.drop(nil)
	return nil
}
