package upstream

import (
	"time"

	"github.com/edge-proxy/edge/engine"
	"github.com/edge-proxy/edge/internal/tls/tlsconn"
	"github.com/edge-proxy/edge/poller"
	"github.com/edge-proxy/edge/session"
)

// dialHTTP1 opens a connection of g. It takes over one slot.
func (s *site) dialHTTP1(g *group) (*Conn, error) {
	c := s.newConn(g)
	if err := s.connect(c, &c.client, H1); err != nil {
		return nil, s.failDial(err)
	}
	s.local.countDialed()
	return c, nil
}

// dial opens an HTTP/2 connection of t. It takes over one slot.
func (t *sharedSet) dial() (*Conn, error) {
	s := t.site
	c := s.newConn(t.group)
	m := s.local.newShared(c)
	if err := s.connect(c, &m.mux, H2); err != nil {
		return nil, s.failDial(err)
	}
	s.local.countDialed()
	s.local.share(m)
	t.admit(m)
	return c, nil
}

// dialer is a session.Client or a session.Mux.
type dialer interface {
	Dial(r *engine.Reactor, to poller.Addr, o *engine.DialOptions) error
	DialTLS(r *engine.Reactor, to poller.Addr, o *engine.DialOptions, hs *tlsconn.Handshaker, co *tlsconn.ClientOptions,
	) error
}

// connect dials the peer of c. Where connections are secured the handshake offers p.
func (s *site) connect(c *Conn, d dialer, p Protocol) error {
	l, to, secure := s.local, c.group.Key().addr, s.origin.tls
	switch {
	case secure == nil:
		return d.Dial(l.reactor, to, c.dialOptions(true))
	case secure.err != nil:
		return secure.err
	}
	return d.DialTLS(l.reactor, to, c.dialOptions(true), secure.handshaker, secure.offers[p])
}

// countDialed counts a connection that is being opened.
func (l *local) countDialed() {
	l.stats.Dialed++
	l.stats.Connections++
}

// failDial gives the slot back of a connection that could not even be begun.
func (s *site) failDial(err error) error {
	s.local.stats.DialFailed++
	s.origin.release(s.local)
	return err
}

// h1For is how long a server that chose HTTP/1 is not offered HTTP/2 again.
const h1For = 10 * time.Minute

// probe is a connection whose handshake will tell which protocol it speaks. Exchanges wait for it in the queue
// meanwhile. Owned by its reactor.
//
//	handshake ─► HTTP/2: shared, for all that wait
//	         ├─► HTTP/1: for the first of them; the others open their own
//	         └─► none: they are told why
type probe struct {
	link session.Probe
	conn *Conn
	set  *sharedSet
}

// probe opens a connection of t whose protocol is not known. It takes over one slot.
func (t *sharedSet) probe() error {
	s := t.site
	l, secure := s.local, s.origin.tls
	p := &probe{conn: s.newConn(t.group), set: t}
	p.link.Init(p)
	err := secure.err
	if err == nil {
		to, o := t.group.Key().addr, p.conn.dialOptions(false)
		err = p.link.Dial(l.reactor, to, o, secure.handshaker, secure.offers[Auto])
	}
	if err != nil {
		return s.failDial(err)
	}
	t.probes++
	t.cause = nil
	l.countDialed()
	return nil
}

// OnAgreed makes an HTTP/2 or an HTTP/1 connection of the probe.
func (p *probe) OnAgreed(link *session.Probe, isH2 bool) {
	c, t, s := p.conn, p.set, p.conn.site
	l := s.local
	t.probes--
	if !isH2 {
		t.group.Key().h1Until.Store(l.reactor.Now() + int64(h1For))
		c.client.Attach(link)
		t.giveFirst(c)
		s.serveLater() // the others that waited for it open their own
		return
	}
	t.group.Key().h1Until.Store(0)
	m := l.newShared(c)
	l.share(m)
	m.mux.Attach(link)
	if t.gone || s.closed && t.awaiting == 0 {
		m.mux.Shutdown()
		s.serveLater()
		return
	}
	t.admit(m)
}

// giveFirst gives c to the first exchange that waits for a probe of t, or parks it. Whether c is quiet is not asked:
// the backend's session tickets may be about to come.
func (t *sharedSet) giveFirst(c *Conn) {
	for w := t.site.queue.First(); w != nil; w = w.place.Next() {
		if w.awaits == t {
			w.leave()
			w.taker.OnTaken(c, nil)
			return
		}
	}
	c.OnIdle(nil)
}

// OnFailed tells those that waited for p that there is no connection.
func (p *probe) OnFailed(_ *session.Probe, cause error) {
	s, t := p.conn.site, p.set
	t.probes--
	t.cause = cause
	s.local.stats.Connections--
	p.conn.countFailed(cause)
	s.origin.release(s.local)
	s.serveLater()
}
