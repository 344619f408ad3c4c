package engine

import (
	"syscall"
	"time"

	"github.com/edge-proxy/edge/poller"
)

// Waits between attempts to connect to a Unix socket whose backlog is full, doubling.
const (
	redialFirst = int64(time.Millisecond)
	redialLast  = int64(50 * time.Millisecond)
)

// connectTimeout is the default of DialOptions.Timeout.
const connectTimeout = 5 * time.Second

// DialOptions describe how to connect. The zero value is good.
type DialOptions struct {
	Timeout time.Duration         // to connect; 0: 5 s
	Socket  poller.ConnectOptions // for the socket
}

// dialing is what a Conn remembers while it connects.
type dialing struct {
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
	if err := c.connect(); err != nil {
		r.stats.DialFailed++
		r.freeSlot(c.slot)
		c.state = closed
		return nil, err
	}
	r.stats.Dialed++
	c.setTimeout(timeout)
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
