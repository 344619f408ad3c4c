package admin

import (
	"context"
	"crypto/tls"
	"net"
	"net/netip"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
)

// bounded is a listener that has so many connections open at one time. When it is full, a new connection takes the
// place of a connection that no request is served on: idle ones, and those whose client does not read, keep no client
// out. That one is of the party, a user or an address, that has the most, so that none displaces the others.
// Connections of root and of the user of the process give way to their own alone.
// Safe for any goroutine.
type bounded struct {
	net.Listener
	freed  chan struct{} // has an element after a slot may have become free
	closed chan struct{}
	once   sync.Once
	open   *atomic.Int64 // counts connections

	mu   sync.Mutex
	held map[*heldConn]struct{} // guarded by mu
}

func newBounded(l net.Listener, open *atomic.Int64) *bounded {
	return &bounded{Listener: l, freed: make(chan struct{}, 1), closed: make(chan struct{}), open: open,
		held: make(map[*heldConn]struct{}, connsMost)}
}

// Accept waits for a connection, then for its slot.
func (b *bounded) Accept() (net.Conn, error) {
	for {
		c, err := b.Listener.Accept()
		if err != nil {
			return nil, err
		}
		h := &heldConn{Conn: c, from: b, since: time.Now()}
		h.identify()
		if b.place(h) {
			b.open.Add(1)
			return h, nil
		}
		_ = c.Close()
	}
}

// place waits until h has a slot. A user that is not the owner does not wait, because the owner would have to wait
// after that.
func (b *bounded) place(h *heldConn) bool {
	for !b.admit(h) {
		if h.peer != nil && !h.owner {
			return false
		}
		select {
		case <-b.freed:
		case <-b.closed:
			return false
		}
	}
	return true
}

// admit gives h a slot, if one is free, or another connection gives way.
func (b *bounded) admit(h *heldConn) bool {
	b.mu.Lock()
	var last *heldConn
	if len(b.held) >= connsMost {
		if last = b.least(h); last == nil {
			b.mu.Unlock()
			return false
		}
		delete(b.held, last)
	}
	b.held[h] = struct{}{}
	b.mu.Unlock()
	if last != nil {
		_ = last.Close()
	}
	return true
}

// least returns the connection that gives way to h; nil: there is none. mu is held.
func (b *bounded) least(h *heldConn) (least *heldConn) {
	count := map[string]int{h.party: 1}
	for c := range b.held {
		count[c.party]++
	}
	for c := range b.held {
		switch {
		case c.serving && c.writing == 0, c.owner && !h.owner:
		case least == nil, count[c.party] > count[least.party]:
			least = c
		case count[c.party] == count[least.party] && c.before(least):
			least = c
		}
	}
	return least
}

// tellFreed makes a connection that waits for a slot look again.
func (b *bounded) tellFreed() {
	select {
	case b.freed <- struct{}{}:
	default:
	}
}

// Close ends Accept.
func (b *bounded) Close() error {
	b.once.Do(func() { close(b.closed) })
	return b.Listener.Close()
}

// heldConn is a connection that has a slot, and gives it back when it is closed.
// Safe for any goroutine.
type heldConn struct {
	net.Conn
	from  *bounded
	once  sync.Once
	party string // whose it is
	peer  *peer  // of a Unix socket; nil: TCP
	owner bool   // peer owns the process

	since   time.Time // it was opened, or serving changed; guarded by from.mu
	serving bool      // a request is served; guarded by from.mu
	writing int       // calls of Write that have not returned; guarded by from.mu
}

// identify says whose connection c is: a user's, an IPv4 address's or a network's of IPv6, since one machine has as
// many addresses there as it likes.
func (c *heldConn) identify() {
	if _, local := c.Conn.(*net.UnixConn); local {
		if c.peer = peerOf(c.Conn); c.peer == nil {
			c.peer = &peer{uid: -1, gid: -1}
		}
		c.party, c.owner = strconv.Itoa(c.peer.uid), c.peer.owns()
		return
	}
	c.party = c.RemoteAddr().String()
	if at, err := netip.ParseAddrPort(c.party); err == nil {
		ip, bits := at.Addr().Unmap().WithZone(""), 32
		if ip.Is6() {
			bits = 64
		}
		if network, err := ip.Prefix(bits); err == nil {
			c.party = network.String()
		}
	}
}

// before reports whether c gives way before d does, which is of a party with as many connections: those without a
// request do so first, then the older ones. from.mu is held.
func (c *heldConn) before(d *heldConn) bool {
	if c.serving != d.serving {
		return d.serving
	}
	return c.since.Before(d.since)
}

// serve notes that a request begins, or has ended.
func (c *heldConn) serve(begins bool) {
	c.from.mu.Lock()
	c.serving, c.since = begins, time.Now()
	c.from.mu.Unlock()
	if !begins {
		c.from.tellFreed()
	}
}

// Write writes to the client, which may not read.
func (c *heldConn) Write(p []byte) (int, error) {
	c.from.mu.Lock()
	c.writing++
	c.from.mu.Unlock()
	c.from.tellFreed()
	defer func() {
		c.from.mu.Lock()
		c.writing--
		c.from.mu.Unlock()
	}()
	return c.Conn.Write(p)
}

// Close closes the connection.
func (c *heldConn) Close() error {
	err := c.Conn.Close()
	c.once.Do(func() {
		c.from.open.Add(-1)
		c.from.mu.Lock()
		delete(c.from.held, c)
		c.from.mu.Unlock()
		c.from.tellFreed()
	})
	return err
}

// heldKey is the key of the heldConn in the context of a connection.
type heldKey struct{}

// withHeld adds to the context of a connection what is known of it.
func withHeld(ctx context.Context, c net.Conn) context.Context {
	if secure, ok := c.(*tls.Conn); ok {
		c = secure.NetConn()
	}
	h, ok := c.(*heldConn)
	if !ok {
		return ctx
	}
	if h.peer != nil && h.peer.uid >= 0 {
		ctx = context.WithValue(ctx, peerKey{}, h.peer)
	}
	return context.WithValue(ctx, heldKey{}, h)
}
