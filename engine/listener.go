package engine

import (
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/edge-proxy/edge/poller"
)

var errNoSockets = errors.New("there are no sockets to adopt")

// ListenOptions describe a listener. The zero value but for Addr is good.
type ListenOptions struct {
	Addr        poller.Addr
	Backlog     int  // connections the kernel keeps waiting; 0: 4096
	DeferAccept bool // report a connection with its first bytes, for protocols in which the client speaks first
	V6Only      bool // an IPv6 address takes no IPv4
	// ConnsMax is how many connections may be open at one time, over all reactors; 0: no limit. Above it
	// connections wait in the backlog, and for each of them an idle one is closed: see Yielder.
	ConnsMax int
	// Gate, if set, is asked before each connection is accepted.
	Gate Gate
	// FastOpen is how many connections may wait that came with data in their SYN (TCP Fast Open). That saves a
	// round trip for clients that were here before. The network may deliver such data twice: RFC 7413 §6.3. 0:
	// none.
	FastOpen int
	// UserTimeout bounds how long sent bytes may stay unacknowledged. 0: poller.UserTimeout; below 0: the kernel's
	// own.
	UserTimeout time.Duration
	// Share lets others listen on Addr as well, in this process or in another one of the same user: the kernel spreads
	// the connections over all. Without it an address that is taken is refused, with EADDRINUSE.
	Share bool
	// Suspended begins without accepting: see Engine.Resume.
	Suspended bool
	// Steering, if set, says whose the datagrams are that come to the sockets of ListenDatagrams.
	Steering Steering
	// Held is for sockets of Adopt that another process keeps for as long as it likes, as systemd does: Close does no
	// more than Abandon but for ports, which have connections, and Join opens no further sockets.
	Held bool
}

// Steering knows whose a datagram is that comes to an address with several sockets, of several processes perhaps.
type Steering interface {
	// Linked reports whether datagrams for another process come by the sockets: then Close keeps them open although
	// there are no connections. It may run on any reactor.
	Linked() bool
	// Steer returns the program for a number of sockets, of which socket i is on reactor i: see poller.Kernel. It may
	// run on any goroutine.
	Steer(sockets int) []poller.Instruction
}

// Gate bounds the connections that begin.
type Gate interface {
	// Full reports whether r has no room for another connection. Connections then wait in the backlog, and r asks again
	// 20 ms later at most. backlog is how many may wait there, for each socket, until none does; 0:
	// ListenOptions.Backlog, which is also the most. It runs on r and takes next to no time.
	Full(r *Reactor) (full bool, backlog int)
}

// Listener is an address that an Engine accepts connections on: one socket for each reactor where the kernel can spread
// connections over several (SO_REUSEPORT), else, and for Unix addresses, one socket of the first reactor, which gives
// the others their share.
// Safe for any goroutine.
type Listener struct {
	engine         *Engine
	opts           ListenOptions
	addr           poller.Addr
	accept         func(*Conn) Handler
	newPortHandler func(*Port) PortHandler // makes the handlers of UDP sockets; nil: its sockets are of TCP, or Unix
	shared         bool                    // each reactor has a socket; set by Listen
	connsMax       atomic.Int64
	closed         atomic.Bool  // Close was called
	paused         atomic.Bool  // Suspend was called: another process may accept by the same sockets
	adopted        bool         // its sockets are of another process; set by Adopt
	portsEnd       bool         // its ports close, and Reopen comes too late; guarded by Engine.mu
	sockets        atomic.Int32 // that listen; those that are about to close count
	opened         atomic.Int32 // sockets so far

	_     [128]byte // every reactor writes conns and reads the rest; processors fetch cache lines by twos
	conns atomic.Int64
	_     [120]byte
}

// acceptor is one of a Listener's sockets, on the reactor that accepts by it.
// Owned by its reactor.
type acceptor struct {
	listener   *Listener
	fd         poller.FD
	slot       uint32
	index      int      // in the group of the listener's sockets
	port       *Port    // of a UDP socket, nil for others
	suspended  bool     // the kernel does not watch fd: see Engine.Suspend
	ready      bool     // connections may be waiting
	searching  bool     // an idleSearch has not come back
	placeFound bool     // it closed an idle connection
	pending    *pending // nil: none
	backlog    int      // the limit that Gate.Full asked for; 0: ListenOptions.Backlog
	end        unlistening
}

// unlistening is the end of an acceptor, which goes on to accept meanwhile, above all limits.
type unlistening struct {
	timer Timer
	begun bool
	grace time.Duration // from IntakeBegun to close(2)
	by    int64         // until when it waits for descriptors
}

// Addr returns the address; port 0 has been replaced by the port that the kernel chose.
func (l *Listener) Addr() poller.Addr { return l.addr }

// Suspended reports whether Engine.Suspend was called, or ListenOptions.Suspended was set, and Engine.Resume was not.
func (l *Listener) Suspended() bool { return l.paused.Load() }

// SetConnsMax changes ListenOptions.ConnsMax. Connections above it that are open stay.
func (l *Listener) SetConnsMax(n int) { l.connsMax.Store(int64(n)) }

// Sockets returns how many of its sockets listen.
func (l *Listener) Sockets() int { return int(l.sockets.Load()) }

// Conns returns how many connections that came by l are open.
func (l *Listener) Conns() int { return int(l.conns.Load()) }

// Full reports whether there are as many connections as may be: for another one an idle one ends.
func (l *Listener) Full() bool {
	most := l.connsMax.Load()
	return most > 0 && l.conns.Load() >= most
}

// Closed reports whether Close was called and the last socket is closed. Safe for any goroutine.
func (l *Listener) Closed() bool { return l.closed.Load() && l.sockets.Load() == 0 }

// Listen opens o.Addr, on which no other socket may listen unless o.Share says so. accept is called for each
// connection, on the reactor that will own it, and returns its handler; nil closes the connection. Safe for any
// goroutine but a reactor's.
func (e *Engine) Listen(o ListenOptions, accept func(*Conn) Handler) (*Listener, error) {
	l := e.newListener(o, accept)
	if err := e.listen(l); err != nil {
		return nil, err
	}
	return l, nil
}

// listen opens the sockets of l.
func (e *Engine) listen(l *Listener) error {
	o := &l.opts
	l.shared = (len(e.reactors) > 1 || o.Share) && !o.Addr.IsUnix()
	exclusive, err := e.checkAddress(l)
	if err != nil {
		return err
	}
	err = e.reactors[0].runOn(func() error { return e.reactors[0].listen(l, exclusive) })
	if l.shared && errors.Is(err, poller.ErrNoReusePort) {
		slog.Warn("one event loop accepts for all", "address", o.Addr.String(), "reason", err)
		l.shared = false
		err = e.reactors[0].runOn(func() error { return e.reactors[0].listen(l, exclusive) })
	}
	if err != nil {
		return err
	}
	for _, r := range l.socketReactors()[1:] {
		if err := r.runOn(func() error { return r.listen(l, false) }); err != nil {
			l.Close()
			return err
		}
	}
	e.addListener(l)
	return nil
}

// Adopt is Listen for sockets that listen on one address already: sockets of another process, or of systemd. It takes
// all of them over, with o's options but for Share and V6Only, which were settled when they were bound; o.Addr is not
// looked at. Socket i belongs to reactor i modulo the number of reactors. Where there are fewer sockets than reactors,
// those that have one accept for the others; unless o.Suspended says that another process may take the sockets back,
// the others open one each: see Join. After an error the sockets are closed. Safe for any goroutine but a reactor's.
func (e *Engine) Adopt(sockets []poller.FD, o ListenOptions, accept func(*Conn) Handler) (*Listener, error) {
	l := e.newListener(o, accept)
	if err := e.adopt(l, sockets); err != nil {
		return nil, err
	}
	return l, nil
}

// adopt makes sockets the sockets of l.
func (e *Engine) adopt(l *Listener, sockets []poller.FD) error {
	l.adopted = true
	for i, fd := range sockets {
		r := e.reactors[i%len(e.reactors)]
		if err := r.runOn(func() error { return l.adopt(r, fd) }); err != nil {
			r.runOn(func() error { //nolint:errcheck // ErrStopped: the process ends
				for _, fd := range sockets[i:] {
					r.kernel.Close(fd)
				}
				return nil
			})
			e.Abandon(l)
			return err
		}
	}
	if len(sockets) == 0 {
		return fmt.Errorf("listen %s: %w", l.opts.Addr, errNoSockets)
	}
	l.shared = len(e.reactors) > 1 && !l.addr.IsUnix()
	e.addListener(l)
	if !l.opts.Suspended {
		e.Join(l)
	}
	return nil
}

// Join opens a socket on each reactor that has none of an open listener of all. It is for
// listeners of Adopt, once no other process may take their sockets back: what waits in a socket that this process alone
// has is lost with it. So Join skips a Held one: its supervisor would not have the further sockets after the end of
// this process. It skips listeners of AdoptDatagrams, too. Where the kernel refuses a socket, the other reactors go on
// to accept for that reactor. Safe for any goroutine but a reactor's.
func (e *Engine) Join(all ...*Listener) {
	all = slices.DeleteFunc(slices.Clone(all), func(l *Listener) bool {
		return l.closed.Load() || l.opts.Held || l.adopted && l.newPortHandler != nil
	})
	for few := range slices.Chunk(all, joinsPerTask) {
		e.runOnAll(func(r *Reactor) error { //nolint:errcheck // see above
			for _, l := range few {
				if !slices.Contains(l.socketReactors(), r) || len(r.acceptorsOf(l)) > 0 {
					continue
				}
				if err := r.listen(l, false); err != nil {
					slog.Debug("reactor shares a socket", "reactor", r.index, "address", l.addr.String(), "reason", err)
				}
			}
			return nil
		})
	}
}

// joinsPerTask bounds the sockets that a reactor opens in one task: each takes some 20 µs.
const joinsPerTask = 32

func (e *Engine) newListener(o ListenOptions, accept func(*Conn) Handler) *Listener {
	l := &Listener{engine: e, opts: o, addr: o.Addr, accept: accept}
	l.SetConnsMax(o.ConnsMax)
	l.paused.Store(o.Suspended)
	return l
}

// addListener adds l to the listeners that checkAddress and Drain look at.
func (e *Engine) addListener(l *Listener) {
	e.mu.Lock()
	e.listeners = append(slices.DeleteFunc(e.listeners, (*Listener).Closed), l)
	e.mu.Unlock()
}

// checkAddress returns an error where a Listener of e like l is open on the address of l. exclusive says that no other
// socket may have it: where e itself has another address with the same port, the kernel decides what goes together.
func (e *Engine) checkAddress(l *Listener) (exclusive bool, err error) {
	o := &l.opts
	if o.Share || o.Addr.IsUnix() || o.Addr.IP.Port() == 0 {
		return false, nil
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	exclusive = true
	for _, other := range e.listeners {
		switch {
		case other.Closed() || (other.newPortHandler == nil) != (l.newPortHandler == nil):
		// Ports that close would get a share of the datagrams.
		case other.addr == o.Addr && (l.newPortHandler != nil || !other.closed.Load()):
			return false, fmt.Errorf("listen %s: %w", o.Addr, syscall.EADDRINUSE)
		case other.addr.IP.Port() == o.Addr.IP.Port():
			exclusive = false
		}
	}
	return exclusive, nil
}

// socketReactors returns the reactors that have a socket of l.
func (l *Listener) socketReactors() []*Reactor {
	if l.shared {
		return l.engine.reactors
	}
	return l.engine.reactors[:1]
}

// kernelOptions returns the options of a socket of l. exclusive says that no socket may have its address yet.
func (l *Listener) kernelOptions(exclusive bool) *poller.ListenOptions {
	return &poller.ListenOptions{
		Backlog: l.opts.Backlog, ReusePort: l.shared, Exclusive: exclusive, DeferAccept: l.opts.DeferAccept,
		V6Only: l.opts.V6Only, FastOpen: l.opts.FastOpen, UserTimeout: l.opts.UserTimeout,
	}
}

// openBy opens a socket of l by k.
func (l *Listener) openBy(k poller.Kernel, exclusive bool) (poller.FD, poller.Addr, error) {
	if l.newPortHandler != nil {
		o := poller.DatagramOptions{ReusePort: l.shared, Exclusive: exclusive, V6Only: l.opts.V6Only}
		return k.ListenDatagrams(l.addr, &o)
	}
	return k.Listen(l.addr, l.kernelOptions(exclusive))
}

// adoptBy takes over fd by k, as a socket of l.
func (l *Listener) adoptBy(k poller.Kernel, fd poller.FD) (poller.Addr, error) {
	if l.newPortHandler != nil {
		return k.AdoptDatagrams(fd)
	}
	return k.Adopt(fd, l.kernelOptions(false))
}

// listen opens r's socket of l. exclusive says that no socket may have its address yet.
func (r *Reactor) listen(l *Listener, exclusive bool) error {
	fd, addr, err := l.openBy(r.kernel, exclusive)
	if err != nil {
		return err
	}
	if l.addr != addr { // only the first socket has a port to choose; others may read it by now
		l.addr = addr
	}
	if l.shared && l.opts.Steering != nil && l.opened.Load() == 0 {
		l.steer(r.kernel, fd)
	}
	return l.acceptBy(r, fd)
}

// adopt makes fd, which listens already, a socket of l on r.
func (l *Listener) adopt(r *Reactor, fd poller.FD) error {
	addr, err := l.adoptBy(r.kernel, fd)
	if err != nil {
		return err
	}
	if l.sockets.Load() == 0 {
		l.addr = addr
	} else if l.addr != addr {
		return fmt.Errorf("adopt descriptor %d: it is bound to %s and not to %s", fd, addr, l.addr)
	}
	return l.acceptBy(r, fd)
}

// acceptBy makes fd an acceptor of r. After an error fd is closed, unless it was adopted.
func (l *Listener) acceptBy(r *Reactor, fd poller.FD) error {
	i, gen := r.takeSlot()
	a := &acceptor{listener: l, fd: fd, slot: i, index: int(l.opened.Add(1)), suspended: l.paused.Load()}
	r.slots[i].accept = a
	if l.newPortHandler != nil {
		a.port = &Port{reactor: r, socket: a}
		a.port.handler = l.newPortHandler(a.port)
		if a.index == 1 {
			l.checkRoom(r.kernel.ReceiveRoom(fd))
		}
	}
	if !a.suspended {
		if e := r.kernel.Add(fd, poller.MakeToken(gen, i)); e != 0 {
			r.freeSlot(i)
			if !l.adopted {
				r.kernel.Close(fd)
			}
			return e
		}
	}
	r.acceptors = append(r.acceptors, a)
	l.sockets.Add(1)
	return nil
}

// acceptorsOf returns the acceptors that r has of l, in a list of its own.
func (r *Reactor) acceptorsOf(l *Listener) (of []*acceptor) {
	for _, a := range r.acceptors {
		if a.listener == l {
			of = append(of, a)
		}
	}
	return of
}

// pending is a connection that was accepted and waits for room below the limit.
type pending struct {
	fd   poller.FD
	peer poller.Addr
}
