package upstream

import (
	"time"

	"github.com/edge-proxy/edge/engine"
	"github.com/edge-proxy/edge/poller"
	"github.com/edge-proxy/edge/pool"
	"github.com/edge-proxy/edge/session"
)

// keepAliveMargin is how much earlier than an origin says a connection to it is closed: a request that is sent when the
// origin closes is lost.
const keepAliveMargin = time.Second

// Conn is a connection to a backend: one that serves an exchange after the other, or one that many share.
// Owned by its reactor.
//
//	shared == nil  =>  it is HTTP/1: client is in use, and parked under node meanwhile
//	shared != nil  =>  it is HTTP/2, or not known yet; it is never parked, and never moves
type Conn struct {
	client  session.Client
	shared  *shared
	node    pool.Node[*peer, *Conn]
	local   *local
	group   *group
	backend int
	born    int64 // reactor time at which it was dialled
	until   int64 // reactor time up to which it may be idle, once it was
	reused  bool
}

// newConn makes a Conn that is to be dialled or adopted.
func (l *local) newConn(g *group) *Conn {
	c := &Conn{local: l, group: g, backend: g.Key().backend}
	c.node.Conn = c
	c.client.Init(c, &l.head, &l.upstream.opts.Client)
	return c
}

// Open begins an exchange: its answer goes to r. Once for each time that c was taken, at once.
func (c *Conn) Open(r session.Receiver) session.Stream {
	if c.shared != nil {
		return c.shared.open(r)
	}
	c.reused = c.client.Uses() > 0
	return c.client.Open(r)
}

// Reused reports whether the connection was there, and had served others, before the exchange that Open began last.
func (c *Conn) Reused() bool { return c.reused }

// ConnectedAt returns the reactor time at which c was established, its handshake included, and whether it is. The time
// is 0 where c came from another reactor.
func (c *Conn) ConnectedAt() (at int64, stands bool) {
	if c.shared != nil {
		return c.shared.mux.ConnectedAt(), c.shared.mux.Connected()
	}
	return c.client.ConnectedAt(), c.client.Connected()
}

// Shared reports whether other exchanges may use c at the same time. Its backend may refuse one, and say so.
func (c *Conn) Shared() bool { return c.shared != nil }

// Backend returns the index of the backend that c leads to.
func (c *Conn) Backend() int { return c.backend }

// OnIdle parks c, or closes it when it has served its time.
func (c *Conn) OnIdle(*session.Client) {
	l := c.local
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
	if idle <= 0 || u.opts.Idle < 0 || u.closed.Load() {
		c.client.Close()
		return
	}
	c.until = now + int64(idle)
	c.client.SetIdleTimeout(idle)
	l.room() // or else the oldest has to go
	l.park(c)
}

// OnGone takes c out of the pool.
func (c *Conn) OnGone(_ *session.Client, _ error, unasked bool) {
	l := c.local
	if l.shard.Remove(&c.node) {
		l.publish(c.group)
		if life := l.upstream.opts.Lifetime; life > 0 && l.reactor.Now()-c.born >= int64(life) {
			l.stats.TooOld++
		}
	}
	l.stats.Connections--
	if unasked {
		l.stats.Unasked++
	}
	if !c.client.Connected() {
		l.stats.DialFailed++
		c.group.Key().h1Until.Store(0) // it may speak HTTP/2 alone by now
	}
	l.repay()
	l.freeSlot(c.backend)
}

// taken counts that an exchange got c, which was there or which others opened.
func (c *Conn) taken() {
	if m := c.shared; m != nil && m.unclaimed {
		m.unclaimed = false // it was counted when it was dialled
		return
	}
	c.local.stats.Taken++
}

// park makes c available, and lets those who wait know.
func (l *local) park(c *Conn) {
	l.shard.Park(c.group, &c.node)
	l.publish(c.group)
	if s := &l.sites[c.backend]; s.line.first != nil || l.upstream.backends[c.backend].waiting.Load() > 0 {
		l.serveLater(s)
	}
}

// publish lets the other reactors know how many connections of a peer are parked on this one, or are shared.
func (l *local) publish(g *group) {
	p := g.Key()
	if p.idle.cells == nil {
		return
	}
	n := g.Len()
	if l.upstream.share {
		n += l.sharing(g)
	}
	p.idle.mark(l.reactor.Index(), int64(n))
}

// takeIdle returns the connection of g that was parked last, if it is quiet; those that are not are closed.
func (l *local) takeIdle(g *group) *Conn {
	for {
		c, ok := l.shard.Take(g)
		if !ok {
			return nil
		}
		if l.fit(g, c) {
			return c
		}
	}
}

// fit reports whether c, just taken from g, can be used; one that cannot is closed.
func (l *local) fit(g *group, c *Conn) bool {
	l.publish(g)
	if c.client.Usable() {
		return true
	}
	l.stats.Stale++
	c.client.Close()
	return false
}

// takeOldest is takeIdle from the other end: for the connection that is missed least.
func (l *local) takeOldest(g *group) *Conn {
	for {
		c, ok := l.shard.PopOldest(g)
		if !ok {
			return nil
		}
		if l.fit(g, c) {
			return c
		}
	}
}

// dial opens a connection of g. It takes over one slot.
func (l *local) dial(g *group) (*Conn, error) {
	c := l.newConn(g)
	c.born = l.reactor.Now()
	if err := l.dialClient(c); err != nil {
		l.stats.DialFailed++
		l.freeSlot(c.backend)
		return nil, err
	}
	l.stats.Dialed++
	l.stats.Connections++
	return c, nil
}

// dialClient connects c, secured or not.
func (l *local) dialClient(c *Conn) error {
	to := c.group.Key().addr
	s := l.upstream.backends[c.backend].secure
	if s == nil {
		return c.client.Dial(l.reactor, to, &l.options)
	}
	if s.err != nil {
		return s.err
	}
	return c.client.DialTLS(l.reactor, to, &l.options, s.handshaker, s.h1)
}

// freeSlot hands a slot on to the exchange that has waited longest for one, on whichever reactor, or gives it back.
//
// An exchange that begins to wait tells oldest and then looks at open once more; whoever gives back lowers open and
// then looks at oldest once more, at its bits first. Both are sequentially consistent, so at least one of the two sees
// the other.
func (l *local) freeSlot(backend int) {
	b := &l.upstream.backends[backend]
	if b.limit == 0 {
		b.open.Add(-1)
		return
	}
	for {
		if to, _ := b.longest(); to >= 0 {
			t := l.letter(slot)
			t.backend = backend
			l.post(t, to)
			return
		}
		b.open.Add(-1)
		if to, _ := b.longest(); to < 0 || !b.acquire() {
			return
		}
	}
}

// connectOptions are those of every connection of l.
func connectOptions(o *Options) engine.DialOptions {
	return engine.DialOptions{
		Timeout: o.Connect, Socket: poller.ConnectOptions{UserTimeout: o.UserTimeout, FastOpen: o.FastOpen},
	}
}
