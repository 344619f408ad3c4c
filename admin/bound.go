package admin

import (
	"net"
	"sync"
	"sync/atomic"
)

// bounded is a listener that has so many connections open at one time. It takes no further one from the kernel until
// one has closed.
// Safe for any goroutine.
type bounded struct {
	net.Listener
	room   chan struct{} // holds one element for each connection
	closed chan struct{}
	once   sync.Once
	open   *atomic.Int64 // counts connections
}

// Accept waits for room, then for a connection.
func (b *bounded) Accept() (net.Conn, error) {
	select {
	case b.room <- struct{}{}:
	case <-b.closed:
		return nil, net.ErrClosed
	}
	c, err := b.Listener.Accept()
	if err != nil {
		<-b.room
		return nil, err
	}
	b.open.Add(1)
	return &heldConn{Conn: c, from: b}, nil
}

// Close ends Accept.
func (b *bounded) Close() error {
	b.once.Do(func() { close(b.closed) })
	return b.Listener.Close()
}

// heldConn gives its place back when it is closed.
type heldConn struct {
	net.Conn
	from *bounded
	once sync.Once
}

// Close closes the connection.
func (c *heldConn) Close() error {
	err := c.Conn.Close()
	c.once.Do(func() {
		c.from.open.Add(-1)
		<-c.from.room
	})
	return err
}
