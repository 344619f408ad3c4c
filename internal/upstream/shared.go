package upstream

import (
	"time"

	"github.com/edge-proxy/edge/internal/base/invariant"
	"github.com/edge-proxy/edge/internal/base/list"
	"github.com/edge-proxy/edge/session"
)

// sharedSet is the HTTP/2 connections to one peer that one reactor has, and the probes that may turn out to be such.
// Owned by its reactor.
//
//	Take ─► room? ──────────────yes──► Open … exchange … OnRoom
//	         │no                         ▲ connecting ones count too, up to what is assumed
//	         ├─► slot ─► dial ───────────┘
//	         └─► wait in the queue ◄── OnRoom, slot
//
//	GOAWAY, age, uses ─► it leaves the set, and ends with its last exchange
//
//	room: those that take exchanges; a connection that yields is none of them
//	conns[c.setIndex] == c; a draining one is not among them
//	awaiting: how many waiters of the site wait for one of its probes
type sharedSet struct {
	site     *site
	group    *group
	conns    []*shared
	room     list.List[shared] // the latest first
	probes   int
	awaiting int
	cause    error // of the last probe that failed
	gone     bool  // the member does not have this address any more
}

// shared is an HTTP/2 connection in a set.
// Owned by its reactor.
//
//	set == nil  =>  it is not listed, and no exchange is opened on it: it ends with its last one
//	set != nil  =>  set.conns[setIndex] is it
type shared struct {
	mux        session.Mux
	conn       *Conn
	set        *sharedSet
	setIndex   int               // in set.conns
	localIndex int               // in local.shared
	room       list.Node[shared] // its place among those with room

	unclaimed   bool  // no exchange was given it yet
	yieldsSince int64 // since when it takes none, for an exchange that waits on another reactor; 0: it takes them
	yieldedAt   int64 // when it began to do so last; 0: never
}

// newShared makes c ready to be shared.
func (l *local) newShared(c *Conn) *shared {
	m := &shared{conn: c, unclaimed: true}
	c.shared = m
	m.mux.Init(m, &l.head, &l.upstream.mux)
	return m
}

// admit makes m available.
func (t *sharedSet) admit(m *shared) {
	m.set, m.setIndex = t, len(t.conns)
	t.conns = append(t.conns, m)
	t.room.PushFront(&m.room, m)
	m.mux.SetIdleTimeout(t.site.local.upstream.idle)
	m.armIdle()
	t.site.publish(t.group)
	t.announceRoom()
}

// withRoom returns a connection of t on which an exchange may be opened, nil when there is none. fresh: one on which no
// exchange has ended, so that it cannot have grown stale.
func (t *sharedSet) withRoom(fresh bool) *Conn {
	for m := t.room.First(); m != nil; {
		older := m.room.Next()
		switch {
		case !m.hasRoom():
			m.room.Remove()
		case m.retireIfOld():
		case !fresh || m.mux.Uses() == m.mux.Streams():
			return m.conn
		}
		m = older
	}
	return nil
}

// announceRoom serves the exchanges that wait: a connection has room.
func (t *sharedSet) announceRoom() {
	if t.site.queue.Len() > 0 {
		t.site.serveLater()
	}
}

// retire ends all connections of t, each with its last exchange.
func (t *sharedSet) retire() {
	for len(t.conns) > 0 {
		t.conns[len(t.conns)-1].retire()
	}
}

// open begins an exchange.
func (m *shared) open(r session.Receiver) session.Stream {
	if invariant.On {
		invariant.That(m.set != nil, "an exchange is opened on a connection that drains")
	}
	m.conn.reused = m.mux.Connected()
	m.unclaimed = false
	s := m.mux.Open(r)
	if n := m.conn.site.local.upstream.opts.Requests; n > 0 && m.mux.Uses() >= n && m.set != nil {
		m.conn.site.local.stats.WornOut++
		m.retire()
		return s
	}
	if m.room.Listed() && !m.hasRoom() {
		m.room.Remove()
	}
	return s
}

// hasRoom reports whether an exchange may be opened, as far as is known.
func (m *shared) hasRoom() bool {
	if !m.mux.Usable() {
		return false
	}
	_, known := m.mux.Limit()
	return known || m.mux.Streams() < m.conn.group.Key().assumed()
}

// OnRoom notes how many exchanges the server takes, and serves those that wait.
func (m *shared) OnRoom(*session.Mux) {
	t := m.set
	if t == nil {
		m.retire()
		return
	}
	l := m.conn.site.local
	limited := m.noteSettings()
	idle := m.mux.Streams() == 0
	switch {
	case m.retireIfOld():
		return
	case idle && m.yieldsSince != 0:
		l.stats.Yielded++
		m.retire()
		return
	case idle && limited && !m.mux.Usable():
		// It takes nothing at all (SETTINGS_MAX_CONCURRENT_STREAMS 0). The next exchange opens another one, which must
		// not be one more that stays.
		m.retire()
		return
	case idle && !m.unclaimed && (l.upstream.opts.Idle < 0 || m.conn.site.closed):
		m.retire()
		return
	case idle:
		m.armIdle()
	}
	if m.yieldsSince != 0 || m.room.Listed() == m.hasRoom() {
		return
	}
	if m.room.Listed() {
		m.room.Remove()
		return
	}
	t.room.PushFront(&m.room, m)
	t.announceRoom()
}

// noteSettings remembers how many exchanges the server takes at a time, for the next connection to it. It reports
// whether the server has said that.
func (m *shared) noteSettings() bool {
	n, known := m.mux.Limit()
	if !known {
		return false
	}
	p := m.conn.group.Key()
	if yes := m.mux.Upgrades(); yes != p.upgrade.Load() {
		p.upgrade.Store(yes)
	}
	if n := int64(n); n > 0 && n != p.streams.Load() {
		p.streams.Store(n)
	}
	return true
}

// armIdle bounds how long m may be idle, where it may not become that old.
func (m *shared) armIdle() {
	l := m.conn.site.local
	if life := l.upstream.opts.Lifetime; life > 0 {
		left := time.Duration(m.conn.born + int64(life) - l.reactor.Now())
		m.mux.SetIdleTimeout(max(1, min(left, l.upstream.idle)))
	}
}

// retireIfOld retires m when it is as old as it may become.
func (m *shared) retireIfOld() bool {
	life := m.conn.site.local.upstream.opts.Lifetime
	if life <= 0 || m.conn.site.local.reactor.Now()-m.conn.born < int64(life) {
		return false
	}
	m.conn.site.local.stats.TooOld++
	m.retire()
	return true
}

// retire lets m end with its last exchange.
func (m *shared) retire() {
	m.leaveSet()
	if m.mux.Streams() == 0 {
		m.mux.Shutdown()
	}
}

// leaveSet makes m unavailable.
func (m *shared) leaveSet() {
	t := m.set
	if t == nil {
		return
	}
	m.room.Remove()
	last := len(t.conns) - 1
	t.conns[last].setIndex = m.setIndex
	t.conns[m.setIndex] = t.conns[last]
	t.conns[last] = nil
	t.conns = t.conns[:last]
	m.set = nil
	t.site.publish(t.group)
}

// OnDraining takes m out of its set.
func (m *shared) OnDraining(*session.Mux) {
	if m.set != nil { // else this side ends it
		m.conn.site.local.stats.GoneAway++
		m.leaveSet()
	}
}

// OnGone gives the slot of m back.
func (m *shared) OnGone(_ *session.Mux, cause error) {
	l := m.conn.site.local
	m.leaveSet()
	l.stats.Connections--
	l.unshare(m)
	if !m.mux.Connected() {
		m.conn.countFailed(cause)
	}
	m.conn.site.origin.release(l)
}

// share counts m among the connections that are shared, until OnGone.
func (l *local) share(m *shared) {
	l.stats.Shared++
	m.localIndex = len(l.shared)
	l.shared = append(l.shared, m)
}

// unshare takes m out again. What its codec has counted stays.
func (l *local) unshare(m *shared) {
	l.stats.Shared--
	counted := m.mux.H2Stats()
	l.stats.H2.Add(&counted)
	last := len(l.shared) - 1
	l.shared[last].localIndex = m.localIndex
	l.shared[m.localIndex] = l.shared[last]
	l.shared[last] = nil
	l.shared = l.shared[:last]
}
