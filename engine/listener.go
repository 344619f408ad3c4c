package engine

import (
	"errors"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/edge-proxy/edge/poller"
)

// acceptPause is how long a reactor that ran out of descriptors, memory or places waits before it accepts again.
const acceptPause = 20 * time.Millisecond

// ListenOptions describe a listener. The zero value but for Addr is good.
type ListenOptions struct {
	Addr        poller.Addr
	Backlog     int  // connections the kernel keeps waiting; 0: 4096
	DeferAccept bool // report a connection with its first bytes: for protocols in which the client speaks first
	V6Only      bool // an IPv6 address takes no IPv4
	ConnsMax    int  // accepted at one time, over all reactors; 0: no limit. Above it they wait in the backlog
}

// Listener is an address that an Engine accepts connections on: one socket for each reactor where the kernel can spread
// connections over several, one socket of the first reactor for Unix addresses.
// Safe for any goroutine.
type Listener struct {
	engine *Engine
	opts   ListenOptions
	addr   poller.Addr
	accept func(*Conn) Handler
	conns  atomic.Int64
	closed atomic.Bool
}

// acceptor is a Listener's socket on one reactor.
// Owned by its reactor.
type acceptor struct {
	listener *Listener
	fd       poller.FD
	slot     uint32
	ready    bool // connections may be waiting
}

// Addr returns the address; port 0 has been replaced by the one that was given.
func (l *Listener) Addr() poller.Addr { return l.addr }

// Conns returns how many connections that came by l are open.
func (l *Listener) Conns() int { return int(l.conns.Load()) }

// Listen opens o.Addr. accept is called for each connection, on the reactor that will own it, and returns its handler;
// nil closes the connection. Safe for any goroutine.
func (e *Engine) Listen(o ListenOptions, accept func(*Conn) Handler) (*Listener, error) {
	l := &Listener{engine: e, opts: o, addr: o.Addr, accept: accept}
	reactors := e.reactors
	if o.Addr.IsUnix() {
		reactors = reactors[:1]
	}
	for _, r := range reactors {
		if err := r.call(func() error { return r.listen(l, len(reactors) > 1) }); err != nil {
			l.Close()
			return nil, err
		}
	}
	e.mu.Lock()
	e.listeners = append(e.listeners, l)
	e.mu.Unlock()
	return l, nil
}

func (r *Reactor) listen(l *Listener, shared bool) error {
	fd, addr, err := r.kernel.Listen(l.addr, &poller.ListenOptions{
		Backlog: l.opts.Backlog, ReusePort: shared, DeferAccept: l.opts.DeferAccept, V6Only: l.opts.V6Only,
	})
	if err != nil {
		return err
	}
	l.addr = addr
	i, gen := r.takeSlot()
	a := &acceptor{listener: l, fd: fd, slot: i}
	r.slots[i].accept = a
	if e := r.kernel.Add(fd, poller.MakeToken(gen, i)); e != 0 {
		r.freeSlot(i)
		r.kernel.Close(fd)
		return e
	}
	r.acceptors = append(r.acceptors, a)
	return nil
}

// Close accepts what already waits, so that nobody who was told "connected" is turned away, and closes the sockets.
// Open connections are not touched. Safe for any goroutine.
func (l *Listener) Close() {
	if l.closed.Swap(true) {
		return
	}
	for _, r := range l.engine.reactors {
		r.call(func() error { r.unlisten(l); return nil }) //nolint:errcheck // ErrStopped: closed already
	}
}

func (r *Reactor) unlisten(l *Listener) {
	for i, a := range r.acceptors {
		if a.listener != l {
			continue
		}
		for !r.acceptFrom(a) {
			// a full turn of acceptsPerTick: there may be more
		}
		r.kernel.Close(a.fd)
		r.freeSlot(a.slot)
		r.acceptors = append(r.acceptors[:i], r.acceptors[i+1:]...)
		return
	}
}

func (r *Reactor) acceptAll() {
	r.acceptAny = false
	for _, a := range r.acceptors {
		if a.ready && !r.acceptFrom(a) {
			r.acceptAny = true
		}
	}
}

// tryAgain is the task of the retry timer: accepting and reading, where they had to pause.
func (r *Reactor) tryAgain() {
	r.acceptAny = true
	for _, c := range r.late {
		r.makeReady(c)
	}
	clear(r.late)
	r.late = r.late[:0]
}

func (r *Reactor) pauseAccept() {
	r.stats.AcceptPaused++
	r.Arm(&r.retry, r.now+int64(acceptPause))
}

// acceptFrom takes waiting connections, at most acceptsPerTick. It reports true when it is of no use to go on: none
// waits, or accepting is paused.
func (r *Reactor) acceptFrom(a *acceptor) bool {
	l := a.listener
	for range acceptsPerTick {
		if m := l.opts.ConnsMax; m > 0 && l.conns.Load() >= int64(m) || r.Pressure() >= PressureAccept {
			r.pauseAccept()
			return true
		}
		fd, peer, e := r.kernel.Accept(a.fd)
		switch e {
		case 0:
			r.stats.Accepted++
			r.place(l, fd, peer)
		case syscall.EAGAIN:
			a.ready = false
			return true
		case syscall.EMFILE, syscall.ENFILE, syscall.ENOBUFS, syscall.ENOMEM:
			r.pauseAccept()
			return true
		default: // the connection died while it waited (ECONNABORTED and kin): the next one
			r.stats.AcceptFailed++
			if errors.Is(e, syscall.EBADF) || errors.Is(e, syscall.EINVAL) {
				a.ready = false
				return true
			}
		}
	}
	return false
}

// place gives a fresh connection to the reactor that is to own it: to r, unless r holds more than its share.
func (r *Reactor) place(l *Listener, fd poller.FD, peer poller.Addr) {
	l.conns.Add(1)
	to := r.engine.lightest(r)
	to.load.Add(1)
	if to == r {
		r.adopt(l, fd, peer)
		return
	}
	r.stats.HandedOff++
	t := &Task{}
	t.Run = func(to *Reactor) { to.adopt(l, fd, peer) }
	to.Post(t)
}

// lightest returns from, or the reactor with the fewest connections when from holds more than the mean and an eighth.
// The kernel spreads connections by a hash of their addresses, which is lumpy when they are few.
func (e *Engine) lightest(from *Reactor) *Reactor {
	if len(e.reactors) == 1 {
		return from
	}
	var sum int64
	least := from
	for _, r := range e.reactors {
		n := r.load.Load()
		sum += n
		if n < least.load.Load() {
			least = r
		}
	}
	mean := sum / int64(len(e.reactors))
	if from.load.Load() > mean+mean/8 {
		return least
	}
	return from
}

// adopt makes a Conn of a descriptor that was accepted. It is read in this very tick: there may be bytes already.
func (r *Reactor) adopt(l *Listener, fd poller.FD, peer poller.Addr) {
	c := r.newConn(fd, peer)
	c.listener = l
	c.flags |= accepted
	if r.stopping {
		c.abandon()
		return
	}
	if err := r.register(c); err != nil {
		c.abandon()
		return
	}
	c.state = open
	c.can = poller.CanRead | poller.CanWrite
	if c.handler = l.accept(c); c.handler == nil {
		c.handler = NopHandler{}
		c.drop(nil)
		return
	}
	r.makeReady(c)
}

// abandon closes what never became a connection.
func (c *Conn) abandon() {
	c.state = closed
	c.release()
}

func (r *Reactor) newConn(fd poller.FD, peer poller.Addr) *Conn {
	c := &Conn{reactor: r, fd: fd, peer: peer, slot: noSlot, flags: wantRead | unopened}
	c.timer.Owner = (*connTimer)(c)
	return c
}
