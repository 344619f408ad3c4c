package upstream

import (
	"time"

	"github.com/edge-proxy/edge/engine"
	"github.com/edge-proxy/edge/internal/base/invariant"
	"github.com/edge-proxy/edge/poller"
	"github.com/edge-proxy/edge/pool"
	"github.com/edge-proxy/edge/session"
)

// keepAliveMargin is how long before the time that a backend promises a connection to it is closed: a request that is
// sent while the backend closes is lost.
const keepAliveMargin = time.Second

// Conn is a connection to a backend: it serves one exchange after the other, or many share it.
// Owned by its reactor.
//
//	shared == nil  =>  it is HTTP/1, by client, or a probe will tell: it is parked, under node, between exchanges
//	shared != nil  =>  it is HTTP/2, and shared is of c: it is never parked, never moves, and client is not used
type Conn struct {
	client session.Client
	shared *shared
	node   pool.Node[*peer, *Conn]
	site   *site
	group  *group
	born   int64 // reactor time at which it was dialled
	until  int64 // reactor time up to which it may be idle, once it was
	reused bool
}

// newConn makes a Conn that is to be dialled or adopted.
func (s *site) newConn(g *group) *Conn {
	c := &Conn{site: s, group: g, born: s.local.reactor.Now()}
	c.node.Conn = c
	c.client.Init(c, &s.local.head, &s.local.upstream.opts.Client)
	return c
}

// Open begins an exchange: its answer goes to r. It is called once each time that c is taken, immediately.
func (c *Conn) Open(r session.Receiver) session.Stream {
	if invariant.On {
		c.check()
		invariant.That(!c.node.Parked(), "an exchange is opened on a connection that is parked")
	}
	if c.shared != nil {
		return c.shared.open(r)
	}
	c.reused = c.client.Uses() > 0
	return c.client.Open(r)
}

// Reused reports whether the connection was established, and had served others, before the exchange that Open began
// last.
func (c *Conn) Reused() bool { return c.reused }

// ConnectedAt returns the reactor time at which c was established, its handshake included, how long that handshake
// took, and whether c is established. The times are 0 when c came from another reactor.
func (c *Conn) ConnectedAt() (at, handshake int64, established bool) {
	if c.shared != nil {
		at, handshake = c.shared.mux.ConnectedAt()
		return at, handshake, c.shared.mux.Connected()
	}
	at, handshake = c.client.ConnectedAt()
	return at, handshake, c.client.Connected()
}

// At returns the address that c is connected to, or is to be.
func (c *Conn) At() poller.Addr { return c.group.Key().addr }

// Shared reports whether other exchanges may use c at the same time. Then its backend may refuse one of them.
func (c *Conn) Shared() bool { return c.shared != nil }

// OnIdle parks c, or closes it when it is too old or has served enough requests.
func (c *Conn) OnIdle(*session.Client) {
	l := c.site.local
	u := l.upstream
	now := l.reactor.Now()
	idle := u.idle
	if d := c.client.KeepAlive(); d > 0 {
		idle = min(idle, d-keepAliveMargin)
	}
	if life := u.opts.Lifetime; life > 0 {
		left := c.born + int64(life) - now
		if left <= 0 {
			l.stats.TooOld++
		}
		idle = min(idle, time.Duration(left))
	}
	if n := u.opts.Requests; n > 0 && c.client.Uses() >= n {
		l.stats.WornOut++
		idle = 0
	}
	if idle <= 0 || u.opts.Idle < 0 || c.site.closed {
		c.client.Close()
		return
	}
	c.until = now + int64(idle)
	c.client.SetIdleTimeout(idle)
	l.ensureCapacity() // or else the oldest has to go
	c.park()
}

// OnGone takes c out of the pool.
func (c *Conn) OnGone(_ *session.Client, cause error) {
	l := c.site.local
	if l.shard.Remove(&c.node) {
		c.publish()
		if life := l.upstream.opts.Lifetime; life > 0 && l.reactor.Now()-c.born >= int64(life) {
			l.stats.TooOld++
		}
	}
	l.stats.Connections--
	switch cause {
	case session.ErrSurplus:
		l.stats.Surplus++
	case engine.ErrUnasked:
		l.stats.Unasked++
	}
	if !c.client.Connected() {
		c.countFailed(cause)
		c.group.Key().h1Until.Store(0) // it may speak HTTP/2 alone by now
	}
	l.returnCapacity()
	c.site.origin.release(l)
}

// countFailed counts a connection that was not established, and passes its address over where no process listens
// there, or where finding that out took long.
func (c *Conn) countFailed(cause error) {
	l, again := c.site.local, ofSilent
	l.stats.DialFailed++
	switch {
	case isRefused(cause):
		again = ofRefused
	case !isUnreachable(cause, time.Duration(l.reactor.Now()-c.born)):
		return
	}
	c.site.passOver(c.group.Key(), again)
}

// countTaken counts that an exchange got c, which was parked or which others had opened.
func (c *Conn) countTaken() {
	if m := c.shared; m != nil && m.unclaimed {
		m.unclaimed = false // it was counted when it was dialled
		return
	}
	c.site.local.stats.Taken++
}

// park makes c available to exchanges that wait, and to later ones.
func (c *Conn) park() {
	s := c.site
	s.local.shard.Park(c.group, &c.node)
	c.check()
	c.publish()
	if s.queue.Len() > 0 || s.origin.waiting.Load() > 0 {
		s.serveLater()
	}
}

// publish lets the other reactors know how many connections are parked beside c.
func (c *Conn) publish() { c.site.publish(c.group) }

// takeIdle returns the connection of g that was parked last. Connections that turn out to be closed, or on which bytes
// have come, are closed on the way.
func (l *local) takeIdle(g *group) *Conn {
	for {
		c, ok := l.shard.Take(g)
		if !ok {
			return nil
		}
		if c.usable() {
			return c
		}
	}
}

// takeOldest is takeIdle for the connection that was parked first, which this reactor is least likely to use again.
func (l *local) takeOldest(g *group) *Conn {
	for {
		c, ok := l.shard.PopOldest(g)
		if !ok {
			return nil
		}
		if c.usable() {
			return c
		}
	}
}

// takeAny takes an idle connection to any address.
func (s *site) takeAny() *Conn {
	for _, g := range s.groups {
		if c := s.local.takeIdle(g); c != nil {
			return c
		}
	}
	return nil
}

// usable reports whether c, which was just taken from its group, can be used; a conn that cannot is closed.
func (c *Conn) usable() bool {
	c.check()
	c.publish()
	if c.client.Usable() {
		return true
	}
	c.site.local.stats.Stale++
	c.client.Close()
	return false
}
