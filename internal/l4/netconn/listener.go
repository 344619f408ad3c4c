package netconn

import (
	"net"
	"sync"

	"github.com/edge-proxy/edge/engine"
)

// waitingMax is how many connections of a Listener may wait for Accept.
const waitingMax = 1024

// Listener is a net.Listener for a server that blocks, whose connections come from reactors: its Handler is what an
// engine.Listener calls for each of them. Safe for any goroutine. The zero value is good.
//
//	l := &netconn.Listener{}
//	e.Listen(options, l.Handler)
//	go server.Serve(l)
type Listener struct {
	mu      sync.Mutex
	cond    *sync.Cond // for Accept; nil before the first; guarded by mu, as all below
	waiting []*Conn    // for Accept, the oldest first
	addr    net.Addr   // of the first connection
	closed  bool
}

var _ net.Listener = (*Listener)(nil)

// Handler returns the handler that takes c over for Accept; nil, which closes c, after Close, and where 1024
// connections wait. On the reactor of c.
func (l *Listener) Handler(*engine.Conn) engine.Handler {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed || len(l.waiting) >= waitingMax {
		return nil
	}
	return arriving{Listener: l}
}

// arriving is the handler of a connection before it is a Conn.
type arriving struct {
	engine.NopHandler
	*Listener
}

func (l arriving) OnOpen(c *engine.Conn) {
	s := New(c)
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed { // since it was accepted
		c.Close(nil)
		return
	}
	if l.addr == nil {
		l.addr = s.LocalAddr()
	}
	l.waiting = append(l.waiting, s)
	l.wake()
}

// wake makes all that wait in Accept look again. mu is held.
func (l *Listener) wake() {
	if l.cond != nil {
		l.cond.Broadcast()
	}
}

// Accept waits for a connection, or for Close: then the error is net.ErrClosed.
func (l *Listener) Accept() (net.Conn, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for {
		switch {
		case l.closed:
			return nil, net.ErrClosed
		case len(l.waiting) > 0:
			c := l.waiting[0]
			l.waiting[0] = nil
			l.waiting = l.waiting[1:]
			return c, nil
		case l.cond == nil:
			l.cond = sync.NewCond(&l.mu)
		}
		l.cond.Wait()
	}
}

// Close ends Accept, and closes connections that wait for it. The engine.Listener goes on: Handler closes what comes.
func (l *Listener) Close() error {
	l.mu.Lock()
	waiting := l.waiting
	l.waiting, l.closed = nil, true
	l.wake()
	l.mu.Unlock()
	for _, c := range waiting {
		c.Close() //nolint:errcheck // it has no error
	}
	return nil
}

// Addr returns the address that the first connection came to; before there was a connection, ":0".
func (l *Listener) Addr() net.Addr {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.addr == nil {
		return &net.TCPAddr{}
	}
	return l.addr
}
