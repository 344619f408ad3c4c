package engine

import (
	"cmp"
	"slices"
	"syscall"
	"time"

	"github.com/edge-proxy/edge/internal/base/invariant"
	"github.com/edge-proxy/edge/poller"
)

// Waits between attempts to connect to a Unix socket whose backlog is full, doubling.
const (
	redialFirst = int64(time.Millisecond)
	redialLast  = int64(50 * time.Millisecond)
)

// connectTimeout is the default of DialOptions.Timeout.
const connectTimeout = 5 * time.Second

// staggerDefault is the Connection Attempt Delay of RFC 8305 §8.
const staggerDefault = 250 * time.Millisecond

// DialOptions describe how to connect. The zero value is good.
type DialOptions struct {
	Timeout time.Duration         // to connect; 0: 5 s
	Socket  poller.ConnectOptions // for the socket
	// Preamble is sent before all else, and before TLS: a header of the PROXY protocol for instance. Borrowed until the
	// return of Dial.
	Preamble []byte

	// Others are tried as well where the address that is dialled is slow or fails: each Stagger after the one before
	// it, 0 for 250 ms, or when that one fails. The first that is established is the connection; the others are closed.
	Others  []poller.Addr
	Stagger time.Duration
	// Decided is told which address it is, and which were tried before it: failed has the error of each, nil where it
	// was only slower. Before OnOpen; nil: not called. Both lists are borrowed until return.
	Decided func(established poller.Addr, slower []poller.Addr, failed []error)
}

// dialing is what a Conn remembers while it connects.
type dialing struct {
	race  *race // nil: there is one address
	retry Timer // a Unix socket with a full backlog; see redial
	wait  int64
	opts  poller.ConnectOptions
}

// Dial connects to an IP address or a Unix socket. A failure that is known at once is returned, and then nothing is
// called; all others reach h.OnClose, without OnOpen. Write while connecting queues.
func (r *Reactor) Dial(to poller.Addr, h Handler, o *DialOptions) (*Conn, error) {
	r.MustOwn()
	if r.stopping {
		return nil, ErrStopped
	}
	d := &dialing{}
	timeout := connectTimeout
	if o != nil {
		d.opts = o.Socket
		if o.Timeout > 0 {
			timeout = o.Timeout
		}
	}
	c := r.newConn(poller.NoFD, to)
	c.handler, c.dialing = h, d
	var err error
	if o != nil && len(o.Others) > 0 {
		err = beginRace(c, to, o)
	} else {
		err = c.connect()
	}
	if err != nil {
		r.stats.DialFailed++
		r.freeSlot(c.slot)
		c.state = closed
		return nil, err
	}
	r.stats.Dialed++
	c.setTimeout(timeout)
	if o != nil && len(o.Preamble) > 0 {
		c.Write(o.Preamble) //nolint:errcheck // an empty queue takes it
	}
	return c, nil
}

// connect begins to connect, or arranges to try again.
func (c *Conn) connect() error {
	r, d := c.reactor, c.dialing
	fd, e := r.kernel.Connect(c.peer, &d.opts)
	switch e {
	case 0, syscall.EINPROGRESS:
	case syscall.EAGAIN: // connect(2): only a Unix socket whose backlog is full says so, and no event will follow
		if !c.peer.IsUnix() {
			return e
		}
		d.wait = min(max(2*d.wait, redialFirst), redialLast)
		d.retry.Run = c.redial
		r.Arm(&d.retry, r.now+d.wait)
		r.stats.Redials++
		return nil
	case syscall.EMFILE, syscall.ENFILE:
		r.yieldLater() // for the next dials
		return ErrNoDescriptors
	default:
		return e
	}
	c.fd = fd
	if e := r.kernel.Add(fd, c.token()); e != 0 {
		r.kernel.Close(fd)
		c.fd = poller.NoFD
		return e
	}
	return nil
}

// redial is the task of the retry timer.
func (c *Conn) redial(r *Reactor) {
	if c.state != connecting {
		return
	}
	if err := c.connect(); err != nil {
		c.drop(err)
	}
}

// finishConnect reports whether the connection is established by now.
func (c *Conn) finishConnect() bool {
	if c.can&(poller.CanWrite|poller.Broken) == 0 {
		if c.flags&timedOut != 0 {
			c.reactor.stats.ConnectTimeouts++
			c.drop(ErrConnectTimeout)
		}
		return false
	}
	if e := c.reactor.kernel.SockError(c.fd); e != 0 {
		c.drop(e)
		return false
	}
	if c.can&poller.CanWrite == 0 {
		return false
	}
	c.dialing = nil
	c.state = open
	c.setTimeout(0)
	if c.queued > 0 || c.flags&finDue != 0 {
		c.makeDirty()
	}
	return true
}

// race is the attempts of a Conn that connects to one of several addresses (RFC 8305 §5). Each attempt is a Conn of its
// own; the first attempt that is established gives its descriptor to the Conn that was dialled, and the others are
// closed. Owned by its Conn's reactor.
//
//	Dial ─► attempt 1 ──stagger, or its failure──► attempt 2 ─► … ─► established: adopt ─► OnOpen
//	                                                             └─► all have failed ─► OnClose
//
//	over => attempts == nil
//	not over => conn has no descriptor: it is connecting, or was closed a moment ago
type race struct {
	conn     *Conn
	untried  []poller.Addr // not tried yet
	attempts []*attempt    // under way
	stagger  int64
	next     Timer
	opts     DialOptions // of an attempt
	decided  func(established poller.Addr, slower []poller.Addr, failed []error)
	slower   []poller.Addr // that were tried, in their order
	failed   []error       // by index in slower; nil: it has not failed yet
	cause    error         // of the first failure
	over     bool
}

// attempt is one address that is tried.
// Owned by its race.
type attempt struct {
	NopHandler
	race  *race
	conn  *Conn
	to    poller.Addr
	index int // its index in race.slower
}

// beginRace begins to connect c to one of several addresses. An error says that every one has failed at once.
func beginRace(c *Conn, to poller.Addr, o *DialOptions) error {
	a := &race{
		conn: c, untried: append([]poller.Addr{to}, o.Others...), decided: o.Decided,
		stagger: int64(cmp.Or(o.Stagger, staggerDefault)), opts: DialOptions{Timeout: o.Timeout, Socket: o.Socket},
	}
	c.dialing.race = a
	a.next.Run = func(*Reactor) { a.start() }
	if !a.start() {
		a.over = true
		return a.cause
	}
	return nil
}

// start tries the next address, or the one after it where that fails at once. It reports whether an attempt is under
// way.
func (a *race) start() bool {
	r := a.conn.reactor
	for len(a.untried) > 0 && !a.over {
		one := &attempt{race: a, to: a.untried[0], index: len(a.slower)}
		a.untried = a.untried[1:]
		a.slower, a.failed = append(a.slower, one.to), append(a.failed, nil)
		conn, err := r.Dial(one.to, one, &a.opts)
		if err != nil {
			a.note(one, err)
			continue
		}
		one.conn = conn
		a.attempts = append(a.attempts, one)
		if len(a.untried) > 0 {
			r.Arm(&a.next, r.now+a.stagger)
		}
		return true
	}
	return len(a.attempts) > 0
}

// check panics when an invariant of a does not hold.
func (a *race) check() {
	if invariant.On {
		invariant.That(!a.over || a.attempts == nil, "%d attempts after a race", len(a.attempts))
		invariant.That(a.over || a.conn.fd == poller.NoFD, "a race goes on, and its conn has a descriptor")
	}
}

// note remembers that an attempt has failed.
func (a *race) note(one *attempt, err error) {
	a.failed[one.index] = err
	if a.cause == nil {
		a.cause = err
	}
}

// OnOpen ends the race: the Conn that was dialled gets the descriptor, which the kernel tells of under its name from
// now on. What the kernel has told already it tells again.
func (one *attempt) OnOpen(c *Conn) {
	a, r := one.race, c.reactor
	to := a.conn
	if a.over || to.state != connecting {
		c.Close(ErrClosed)
		return
	}
	a.check()
	r.kernel.Del(c.fd)
	to.fd, c.fd = c.fd, poller.NoFD
	to.peer, to.can = one.to, 0
	a.stop()
	if e := r.kernel.Add(to.fd, to.token()); e != 0 {
		to.drop(e)
		return
	}
	if a.decided != nil {
		a.decided(one.to, a.slower[:one.index], a.failed[:one.index])
	}
}

// OnClose goes on with the next address at once, or fails where there is none.
func (one *attempt) OnClose(_ *Conn, cause error) {
	a := one.race
	if a.over {
		return
	}
	a.note(one, cause)
	a.attempts = slices.DeleteFunc(a.attempts, func(other *attempt) bool { return other == one })
	if !a.start() {
		a.stop()
		a.conn.drop(a.cause)
	}
	a.check()
}

// stop ends the race: attempts under way are closed.
func (a *race) stop() {
	a.over = true
	a.conn.reactor.Disarm(&a.next)
	for _, one := range a.attempts {
		one.conn.Close(ErrClosed)
	}
	a.attempts = nil
}
