package engine

import (
	"net/netip"

	"github.com/edge-proxy/edge/poller"
)

// Carrier is what carries a Conn without a socket: QUIC is one. Its methods run on the reactor of the Conn.
type Carrier interface {
	// OnFlush sends what there is to send, in the flush step of a tick: see Carried.AskFlush.
	OnFlush()
	// OnDrop says that the Conn is over, after OnClose of its handler. It may send what tells the peer.
	OnDrop()
}

// Mover is a Handler that has to know when the peer of its carried Conn goes to another address.
type Mover interface {
	// OnMove comes while Peer of c still tells the address before. Runs on c's reactor.
	OnMove(c *Conn)
}

// Carried is a Conn without a socket, as its Carrier sees it. The Conn's handler has its callbacks, times and limits as
// for any other; it sends and receives by the Carrier, since the Conn itself takes no bytes.
// Owned by its reactor.
type Carried struct {
	conn  *Conn
	port  *Port
	by    Carrier
	local poller.Addr
	waits bool // in Port.waiting
}

// Accept makes a connection that by carries, between p's address local and peer, and sets *k. It is counted and limited
// as any connection of p's Listener; accept makes its handler, which has OnOpen in this tick. It reports false when no
// connection is taken: the listener closes, the engine drains, memory is short, there are as many connections as may
// be, or accept has returned nil.
func (p *Port) Accept(peer netip.AddrPort, local netip.Addr, k *Carried, by Carrier, accept func(*Conn) Handler) bool {
	r, l := p.reactor, p.socket.listener
	r.MustOwn()
	full := r.Pressure() >= PressureAccept
	if g := l.opts.Gate; g != nil && !full {
		full, _ = g.Full(r)
	}
	ends := p.closed || p.socket.suspended || p.socket.end.begun || r.stopping
	ends = ends || r.engine.Draining() // from the first moment of a drain
	if full || ends || !r.acquireConn(p.socket, poller.NoFD) {
		r.stats.AcceptPaused++
		return false
	}
	if l.closed.Load() { // after it is counted: either endPorts sees the connection, or this sees the end
		l.conns.Add(-1)
		return false
	}
	r.stats.Accepted++
	r.load.Add(1)
	c := r.newConn(poller.NoFD, poller.Addr{IP: peer})
	c.listener, c.state = l, open
	at := poller.Addr{IP: netip.AddrPortFrom(local, l.addr.IP.Port())}
	*k = Carried{conn: c, port: p, by: by, local: at}
	c.layer = &layered{carried: k}
	if c.handler = l.callAccept(c, accept); c.handler == nil {
		c.handler, k.by = NopHandler{}, nil
		c.drop(nil)
		return false
	}
	r.makeReady(c)
	return true
}

// CarrierOf returns what carries c; nil where it has a socket, or is over.
func CarrierOf(c *Conn) Carrier {
	if !c.layer.isCarried() {
		return nil
	}
	return c.layer.carried.by
}

// isCarried reports whether the Conn of ly has no socket of its own.
func (ly *layered) isCarried() bool { return ly != nil && ly.carried != nil }

// Conn is the connection; nil once it is over: a Carrier that outlives it holds nothing of it.
func (k *Carried) Conn() *Conn { return k.conn }

// Moved says that the peer has another address, or comes to another address of ours. Peer and Local of the Conn tell it
// from now on; what was counted or decided by the address before stands.
func (k *Carried) Moved(peer netip.AddrPort, local netip.Addr) {
	k.conn.mustOwn()
	if h, ok := k.conn.handler.(Mover); ok {
		h.OnMove(k.conn)
	}
	k.conn.peer = poller.Addr{IP: peer}
	k.local = poller.Addr{IP: netip.AddrPortFrom(local, k.local.IP.Port())}
}

// AskFlush asks for a call of OnFlush in the flush step of this tick.
func (k *Carried) AskFlush() {
	if c := k.conn; c != nil && c.state < closed {
		c.makeDirty()
	}
}

// AwaitRoom asks for a call of OnFlush once the kernel takes more: Reserve of its Port has returned nil. Where the
// Port is closed, it never takes more.
func (k *Carried) AwaitRoom() {
	switch p := k.port; {
	case p.closed || k.waits:
	case p.blocked:
		k.waits = true
		p.waiting = append(p.waiting, k)
	default:
		k.AskFlush()
	}
}

// SetHeld says how many bytes the Carrier keeps that the handler has sent and the peer has not taken: Queued and
// Congested of the Conn tell them. A connection that closes is over when there are none.
func (k *Carried) SetHeld(n int) {
	c := k.conn
	if c == nil || c.state == closed {
		return
	}
	c.mustOwn()
	c.queued = n
	switch low := c.reactor.opts.SendLow; {
	case n > low:
		c.flags |= congested
	case c.flags&congested != 0, c.state == closing && n == 0:
		c.makeDirty() // it goes on, also where OnFlush tells this
	}
}

// drop tells the Carrier that the Conn is over. A panic ends nothing else: OnClose may have panicked before.
func (k *Carried) drop() {
	defer func() {
		if v := recover(); v != nil {
			k.conn.reactor.Panicked(v)
		}
		k.conn = nil
	}()
	if k.by != nil { // else it was never begun
		k.by.OnDrop()
	}
}
