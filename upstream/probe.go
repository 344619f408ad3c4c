package upstream

import "github.com/edge-proxy/edge/session"

// probe is a connection whose protocol the handshake is to tell. Exchanges wait for it in line meanwhile.
// Owned by its reactor.
//
//	handshake ─► HTTP/2: shared, for all who wait
//	         ├─► HTTP/1: for the first of them; the others open their own
//	         └─► none: they are told why
type probe struct {
	link session.Probe
	conn *Conn
	set  *set
}

// probe opens such a connection of t. It takes over one slot.
func (l *local) probe(t *set) error {
	c := l.newConn(t.group)
	c.born = l.reactor.Now()
	p := &probe{conn: c, set: t}
	p.link.Init(p)
	s := l.upstream.backends[c.backend].secure
	err := s.err
	if err == nil {
		err = p.link.Dial(l.reactor, t.group.Key().addr, &l.options, s.handshaker, s.any)
	}
	if err != nil {
		l.stats.DialFailed++
		l.freeSlot(c.backend)
		return err
	}
	t.probes++
	t.cause = nil
	l.stats.Dialed++
	l.stats.Connections++
	return nil
}

// OnAgreed makes the connection what it turned out to be.
func (p *probe) OnAgreed(link *session.Probe, isH2 bool) {
	c, t, l := p.conn, p.set, p.conn.local
	t.probes--
	if !isH2 {
		t.group.Key().h1Until.Store(l.reactor.Now() + int64(h1For))
		c.client.Attach(link)
		l.first(t, c)
		l.serveLater(&l.sites[c.backend]) // those who hoped in vain
		return
	}
	t.group.Key().h1Until.Store(0)
	m := l.newShared(c)
	l.share(m)
	m.mux.Attach(link)
	if t.gone || l.upstream.closed.Load() && t.hoping == 0 {
		m.mux.Shutdown()
		l.serveLater(&l.sites[c.backend])
		return
	}
	l.admit(t, m)
}

// first gives c to the first who hoped for a connection of t, or parks it. It is not quiet: the backend's session
// tickets may be about to come.
func (l *local) first(t *set, c *Conn) {
	for w := l.sites[c.backend].line.first; w != nil; w = w.newer {
		if w.hope == t {
			w.leave()
			w.taker.OnTaken(c, nil)
			return
		}
	}
	c.OnIdle(nil)
}

// OnFailed lets those who hoped know that there is no connection.
func (p *probe) OnFailed(_ *session.Probe, cause error) {
	l, t := p.conn.local, p.set
	t.probes--
	t.cause = cause
	l.stats.Connections--
	l.stats.DialFailed++
	l.freeSlot(p.conn.backend)
	l.serveLater(&l.sites[p.conn.backend])
}
