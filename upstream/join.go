package upstream

import (
	"time"
)

// How long a connection takes no exchange, in the hope that it becomes idle, for who waits on another reactor; and how
// much later it may do so again. An exchange that lasts longer keeps the connection.
const (
	yieldFor   = 100 * time.Millisecond
	yieldAgain = 10 * yieldFor
)

// h1For is how long an origin that chose HTTP/1 is not offered HTTP/2 again.
const h1For = 10 * time.Minute

// takeShared is Take where connections may be HTTP/2.
func (l *local) takeShared(s *site, i, address int, fresh bool, w *Waiter) (*Conn, error) {
	t := s.set(address)
	alone := w != nil && w.Upgrade && l.upstream.protocol == Auto && !t.group.Key().upgrade.Load()
	// Where the number of connections is limited, room that came just now is for those who wait.
	if s.parked == 0 || l.upstream.backends[i].limit == 0 {
		if c := l.there(t, fresh, alone); c != nil {
			c.taken()
			return c, nil
		}
	}
	if w == nil {
		w = &Waiter{}
		w.backend, w.address = i, address
		return l.withoutWaiting(w, s)
	}
	w.backend, w.address, w.fresh, w.alone = i, address, fresh, alone
	w.since = max(l.reactor.Now(), 1)
	return l.reach(w, s)
}

// withoutWaiting opens a connection for who cannot wait: where its protocol has to be found out, by HTTP/1.
func (l *local) withoutWaiting(w *Waiter, s *site) (*Conn, error) {
	if !l.upstream.backends[w.backend].acquire() {
		return nil, ErrQueueFull
	}
	if l.upstream.protocol == H2 {
		return l.dialMux(s.set(w.address))
	}
	return l.dial(s.group(w.address))
}

// there returns a connection of t that takes an exchange, nil when there is none. alone: only HTTP/1 will do.
func (l *local) there(t *set, fresh, alone bool) *Conn {
	if !alone {
		if c := t.room(fresh); c != nil {
			return c
		}
	}
	if fresh {
		return nil
	}
	return l.takeIdle(t.group)
}

// foresee spares w a connection of its own where one is there, or where it may hope for one that is being opened. It
// reports whether it does; without a connection w is in line then.
func (l *local) foresee(w *Waiter, s *site) (*Conn, bool) {
	t := s.set(w.address)
	if w.local != nil {
		if c := l.there(t, w.fresh, w.alone); c != nil {
			c.taken()
			return c, true
		}
	}
	if !w.alone && t.hoping < t.probes*t.group.Key().assumed() {
		w.hopeFor(l, s, t)
		return nil, true
	}
	return nil, false
}

// orWait is the error that goes with c.
func orWait(c *Conn) error {
	if c == nil {
		return ErrWait
	}
	return nil
}

// hopeFor puts w in line for a connection of t whose protocol is not known yet.
func (w *Waiter) hopeFor(l *local, s *site, t *set) {
	if w.local == nil {
		w.join(l, s)
	}
	w.lose()
	w.hope = t
	t.hoping++
}

// lose ends the hope of w.
func (w *Waiter) lose() {
	if w.hope != nil {
		w.hope.hoping--
		w.hope = nil
	}
}

// connectShared uses a slot for w.
func (l *local) connectShared(w *Waiter, s *site) (*Conn, error) {
	t := s.set(w.address)
	if l.upstream.protocol == H2 {
		return l.dialMux(t)
	}
	if w.alone || l.reactor.Now() < t.group.Key().h1Until.Load() {
		return l.dial(t.group)
	}
	if err := l.probe(t); err != nil {
		return nil, err
	}
	w.hopeFor(l, s, t)
	return nil, ErrWait
}

// connectMux connects m, secured or not.
func (l *local) connectMux(m *shared) error {
	to := m.conn.group.Key().addr
	s := l.upstream.backends[m.conn.backend].secure
	if s == nil {
		return m.mux.Dial(l.reactor, to, &l.options)
	}
	if s.err != nil {
		return s.err
	}
	return m.mux.DialTLS(l.reactor, to, &l.options, s.handshaker, s.h2)
}

// serveShared gives those who wait for backend i what is there for them, in the order in which they came.
func (l *local) serveShared(i int) {
	s := l.upstream.site(l, i)
	for n := l.stats.Waiting; n > 0; n-- {
		w := s.line.first
		for w != nil && !l.served(w) {
			w = w.newer
		}
		if w == nil {
			return
		}
	}
}

// served gives w what is there for it, or the news that its hope was in vain, and reports whether it did.
func (l *local) served(w *Waiter) bool {
	s := l.upstream.site(l, w.backend)
	if c := l.thereFor(w, s); c != nil {
		w.deliver(c)
		return true
	}
	t := w.hope
	if t == nil || t.probes > 0 {
		return false
	}
	if t.cause != nil {
		w.leave()
		w.taker.OnTaken(nil, t.cause)
		return true
	}
	w.lose()
	w.goOn()
	return true
}

// thereFor returns a connection for w: to any address when w waits for a slot, since the limit leaves no choice.
func (l *local) thereFor(w *Waiter, s *site) *Conn {
	if len(s.sets) == 0 {
		return nil
	}
	c := l.there(s.set(w.address), w.fresh, w.alone)
	for i := 0; c == nil && w.queued && i < len(s.sets); i++ {
		c = l.there(s.sets[i], w.fresh, w.alone)
	}
	return c
}

// askToYield asks another reactor, for the first in line, to give up a connection that cannot be moved; or this one,
// where it is of no use to w.
func (l *local) askToYield(w *Waiter) {
	s := l.upstream.site(l, w.backend)
	for _, t := range s.sets {
		if w.alone {
			t.yield(l)
		} else {
			t.resume(l, yieldFor)
		}
	}
	if w.letter == nil && w == s.line.firstQueued() && len(s.groups) > 0 {
		l.want(w, s, true)
	}
}

// yield closes a connection to the peer of t that cannot be moved, so that its slot goes to who has waited longest. One
// that is shared takes no exchange for a while, and is closed when it becomes idle.
func (l *local) yield(t *letter) {
	s := l.upstream.site(l, t.backend)
	b := &l.upstream.backends[t.backend]
	if l.olderElsewhere(b, s.line.firstQueued()) < 0 {
		return
	}
	g := s.of(t.peer)
	if g == nil {
		return
	}
	if c := l.takeOldest(g); c != nil {
		l.stats.Yielded++
		c.client.Close()
		return
	}
	for _, set := range s.sets {
		if set.group == g {
			set.yield(l)
		}
	}
}

// yield has one connection of t, an idle one if there is any, make room for somebody on another reactor.
func (t *set) yield(l *local) {
	t.resume(l, yieldFor)
	var least *shared
	for _, m := range t.conns {
		if m.yields != 0 && m.mux.Streams() > 0 {
			return // one at a time
		}
		if m.mux.Connected() && (least == nil || m.mux.Streams() < least.mux.Streams()) {
			least = m
		}
	}
	switch {
	case least == nil:
	case least.mux.Streams() == 0:
		l.stats.Yielded++
		least.retire()
	case l.reactor.Now()-least.yielded >= int64(yieldAgain) || least.yielded == 0:
		least.yields, least.yielded = l.reactor.Now(), l.reactor.Now()
		if least.roomy {
			t.unlist(least)
		}
	}
}

// sharing returns how many connections of g are shared.
func (l *local) sharing(g *group) int {
	for _, t := range l.sites[g.Key().backend].sets {
		if t.group == g {
			return len(t.conns)
		}
	}
	return 0
}

// resume lets those connections of t take exchanges again that have yielded for so long in vain.
func (t *set) resume(l *local, after time.Duration) {
	for _, m := range t.conns {
		if m.yields != 0 && l.reactor.Now()-m.yields >= int64(after) {
			m.yields = 0
			if m.hasRoom() {
				t.list(m)
				l.roomOf(m)
			}
		}
	}
}

// retire ends all connections that are shared, each with its last exchange.
func (l *local) retire() {
	for i := range l.sites {
		for _, t := range l.sites[i].sets {
			t.retire()
		}
	}
}
