package health

import (
	"bytes"

	"github.com/edge-proxy/edge/engine"
	"github.com/edge-proxy/edge/internal/tls/tlsconn"
	"github.com/edge-proxy/edge/poller"
)

// rawLink is a connection for bytes: of one check, since what an answer ends with is not known.
type rawLink struct {
	engine.NopHandler
	place place
	probe *probe // nil: it was given up, or has told its result
	peer  poller.Addr
	conn  *engine.Conn
	seen  []byte
	asks  word
}

func (o *plan) dialRaw(p *probe, to poller.Addr, d *engine.DialOptions, co *tlsconn.ClientOptions) (link, error) {
	l := &rawLink{probe: p, peer: to, place: place{p.local}, asks: connectTimeout}
	var err error
	if co == nil {
		l.conn, err = p.local.reactor.Dial(to, l, d)
	} else {
		l.conn, err = o.Handshaker.Dial(p.local.reactor, to, l, d, co)
	}
	return l, err
}

func (l *rawLink) ask()            {}
func (l *rawLink) usable() bool    { return false }
func (l *rawLink) to() poller.Addr { return l.peer }
func (l *rawLink) phase() word     { return l.asks }

func (l *rawLink) close() {
	l.probe = nil
	l.place.leave()
	l.conn.Close(engine.ErrClosed)
}

// OnOpen sends what is sent first, and passes where nothing has to come.
func (l *rawLink) OnOpen(c *engine.Conn) {
	l.place.leave()
	p := l.probe
	if p == nil {
		return
	}
	l.asks = headTimeout
	if o := p.plan; o.Send != "" {
		if err := c.Write([]byte(o.Send)); err != nil {
			l.fail(finding{word: reset, outcome: Failed})
			return
		}
	}
	if p.plan.Expect == "" && p.plan.Kind == TCP {
		l.pass(c)
	}
}

// OnData looks for what has to come.
func (l *rawLink) OnData(c *engine.Conn, in []byte) int {
	p := l.probe
	if p == nil {
		return len(in)
	}
	l.asks = bodyTimeout
	if p.plan.Kind == Agent {
		l.seen = append(l.seen, in[:min(len(in), lineMax-len(l.seen))]...)
		if end := bytes.IndexAny(l.seen, "\r\n"); end >= 0 || len(l.seen) == lineMax {
			l.hear(c, end)
		}
		return len(in)
	}
	l.seen = append(l.seen, in[:min(len(in), bodyMax-len(l.seen))]...)
	switch {
	case bytes.Contains(l.seen, []byte(p.plan.Expect)):
		l.pass(c)
	case len(l.seen) == bodyMax:
		l.failExpect()
	}
	return len(in)
}

// hear tells the line that has come, which ends with the connection where end is below 0.
func (l *rawLink) hear(c *engine.Conn, end int) {
	if p := l.probe; p != nil {
		l.probe, p.link = nil, nil
		line := l.seen
		if end >= 0 {
			line = line[:end]
		}
		c.Close(nil)
		p.heard(line)
	}
}

// OnEOF ends what comes.
func (l *rawLink) OnEOF(c *engine.Conn) {
	if p := l.probe; p != nil && p.plan.Kind == Agent {
		l.hear(c, -1)
		return
	}
	l.failExpect()
	c.Close(nil)
}

// OnTimeout does nothing: the timer of the probe is earlier.
func (l *rawLink) OnTimeout(*engine.Conn) {}

// OnClose tells why the connection ended.
func (l *rawLink) OnClose(_ *engine.Conn, cause error) {
	l.place.leave()
	if l.asks == connectTimeout {
		l.fail(findingOf(cause))
		return
	}
	l.fail(finding{word: reset, outcome: Failed})
}

// pass tells that the check has passed, and ends the connection.
func (l *rawLink) pass(c *engine.Conn) {
	p := l.probe
	l.probe = nil
	c.Close(nil)
	p.link = nil
	p.pass()
}

// fail tells that it has failed.
func (l *rawLink) fail(f finding) {
	if p := l.probe; p != nil {
		l.probe = nil
		p.fail(f)
	}
}

// failExpect tells that what has to come did not.
func (l *rawLink) failExpect() {
	if p := l.probe; p != nil {
		l.fail(finding{word: body, outcome: Failed, expected: quote([]byte(p.plan.Expect)), got: quote(l.seen)})
	}
}
