package server

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"github.com/edge-proxy/edge/engine"
	"github.com/edge-proxy/edge/h3"
	"github.com/edge-proxy/edge/internal/config"
	"github.com/edge-proxy/edge/internal/http3"
	"github.com/edge-proxy/edge/internal/http3/quicconn"
	"github.com/edge-proxy/edge/internal/server/metrics"
	"github.com/edge-proxy/edge/proxy"
	"github.com/edge-proxy/edge/session"
)

// http3Listener is HTTP/3 at the address of a listener: the UDP port with the number of its TCP port.
//
//	kernel ─► engine.Port ─► quicconn ─► tlsconn, internal/http3 ─► proxy.Service
type http3Listener struct {
	server   *quicconn.Server
	countsAs string // the name that server counts under; guarded by ledger.mu
	// open is nil where its sockets were never open. The ledger reads it without shared.mu.
	open     atomic.Pointer[engine.Listener]
	on       bool            // the present configuration asks for it
	optional bool            // as config.Versions.OptionalH3
	waits    bool            // another process has the port, and it is opened once that has closed it
	failed   bool            // the port could not be opened for another reason; a reload tries again
	toldAt   time.Time       // when the event log was last told so
	ending   atomic.Bool     // open was told to close; reactors read it
	grace    time.Duration   // that connections have when open closes
	cutAt    time.Time       // when they are cut
	untold   *proxy.Listener // requests once the port is open: clients are told of it; nil: they are already
	connsMax int
	sessions []*http3.Server // the last one has new connections
	of       *session.Server // that the last one is of
	opts     http3.ServerOptions
}

// h3Options returns the options of connections of HTTP/3.
func h3Options(c *config.Listener) http3.ServerOptions {
	return http3.ServerOptions{MaxStreams: c.Versions.H3.MaxStreams, IdleTimeout: c.Versions.H3.IdleTimeout}
}

// retryModes are the values of the key h3.retry.
var retryModes = map[string]quicconn.Retry{
	"auto": quicconn.RetryAuto, "always": quicconn.RetryAlways, "never": quicconn.RetryNever,
}

// applyDatagrams puts a setting in place for new connections of HTTP/3.
func (p *listeners) applyDatagrams(l *listener, s *setting) {
	d := &l.http3
	d.grace, d.optional = p.reload.config.Global.GracePeriod, s.config.Versions.OptionalH3
	if d.on = s.quic != nil; !d.on {
		d.waits, d.failed = false, false
		p.closeDatagrams(d)
		return
	}
	of, opts := l.sessions[len(l.sessions)-1], h3Options(s.config)
	if d.of != of || d.opts != opts {
		d.of, d.opts = of, opts
		d.sessions = append(d.sessions, http3.NewServer(p.engine, of, opts))
	}
	sessions := d.sessions[len(d.sessions)-1]
	begin := func(c *engine.Conn) engine.Handler { return sessions.Accept(quicconn.Of(c), d.ending.Load()) }
	begin = p.counted(session.FilterSecured(s.config.Name, s.filters, begin))
	// RFC 9000 §21.3: the source of a first packet may be forged, so that address is judged once it is proved.
	proved := func(begin func(*engine.Conn) engine.Handler) func(*engine.Conn) engine.Handler {
		return l.clients.accept(session.FilterAccepted(s.config.Name, s.filters, begin))
	}
	begin = quicconn.Secure(p.secure, *s.quic, quicconn.IfRetried(begin, proved(begin)))
	begin = quicconn.IfRetried(proved(begin), l.clients.acceptUnproved(begin))
	d.serverOn(p.engine, &p.opts).Use(quicconn.Accept{
		Begin: begin, QUIC: sessions.QUIC(), Scarce: http3.StreamsScarce,
		Retry: retryModes[s.config.Versions.H3.Retry], Crowded: p.secure.Crowded,
	})
	d.connsMax = s.config.Limits.Connections
	if open := d.open.Load(); open != nil {
		open.SetConnsMax(d.connsMax)
	}
}

// serverOn returns the server of all configurations.
func (d *http3Listener) serverOn(e *engine.Engine, o *Options) *quicconn.Server {
	if d.server == nil {
		d.server = quicconn.NewServer(e, quicconn.Options{
			Secret: o.QUICSecret, Generation: o.Generation, CloseCode: uint64(h3.NoError),
		})
	}
	return d.server
}

// openDatagrams opens the UDP port of l, unless it is open. While another process has the sockets of this one, it has
// the port, too; it is waited for that long.
func (p *listeners) openDatagrams(l *listener, connsMax int, wait time.Duration) error {
	d := &l.http3
	if p.suspended || d.isOpen() {
		return nil
	}
	if open := d.open.Load(); open != nil && open.Reopen() {
		if open.Suspended() {
			if err := p.engine.Resume(open); err != nil {
				return udpError{err}
			}
		}
	} else {
		o := engine.ListenOptions{Addr: l.open.Addr(), V6Only: l.sockets.V6Only, ConnsMax: connsMax}
		open, err := awaitVacancy(wait, func() (*engine.Listener, error) { return p.listenDatagrams(o, l) })
		if err != nil {
			return err
		}
		d.open.Store(open)
	}
	d.ending.Store(false)
	if p.reload != nil {
		p.reload.onFailure(func() { p.closeDatagrams(d) })
	}
	return nil
}

// state tells operators of the UDP port, as admin.Listener does. shared.mu is held.
func (d *http3Listener) state() string {
	switch {
	case d.isOpen():
		return "open"
	case d.on && d.failed:
		return "failed"
	case d.on:
		return "waiting"
	case d.isClosed():
		return ""
	}
	return "closing"
}

// closingOf returns the listener of an address while it closes, or nil. Its UDP port may have connections longer than
// TCP takes to close, and no other program can open that port meanwhile. shared.mu is held.
func (p *listeners) closingOf(key string) *listener {
	for _, l := range p.closing {
		if l.key == key && (!l.open.Closed() || !l.anyPort && !l.http3.isClosed()) {
			return l
		}
	}
	return nil
}

// describe makes l follow what counts at the port, under the name of the listener, until over says that it has closed.
// The server outlives a new name of the listener.
func (d *http3Listener) describe(l *ledger, name string, over func(*metrics.Sample) bool) {
	for _, sessions := range d.sessions {
		follow(l, sessions, sessions.H3Stats,
			func(n *metrics.Sample) *h3.Stats { return &n.Listener(name).H3Codec }, over)
	}
	if server := d.server; server != nil {
		counts := follow(l, server, func(r *engine.Reactor) metrics.QUIC {
			return metrics.QUIC{Stats: server.Stats(r), Codec: server.Codec(r)}
		}, func(n *metrics.Sample) *metrics.QUIC { return &n.Listener(d.countsAs).QUIC }, over)
		counts.rename = nil
		if d.countsAs = cmp.Or(d.countsAs, name); d.countsAs != name {
			counts.rename = func() { d.countsAs = name }
			time.AfterFunc(0, func() { l.gather(false) }) // a process may have no Prometheus that asks
		}
	}
}

// isOpen reports whether there are new connections.
func (d *http3Listener) isOpen() bool { return d.open.Load() != nil && !d.ending.Load() }

// isClosed reports whether the UDP port is closed, which its last connection delays, or was never open.
func (d *http3Listener) isClosed() bool {
	open := d.open.Load()
	return open == nil || open.Closed()
}

// conns returns how many connections of HTTP/3 are open.
func (d *http3Listener) conns() int {
	if open := d.open.Load(); open != nil {
		return open.Conns()
	}
	return 0
}

func (p *listeners) listenDatagrams(o engine.ListenOptions, l *listener) (*engine.Listener, error) {
	server := l.http3.serverOn(p.engine, &p.opts)
	o = engine.ListenOptions{Addr: o.Addr, V6Only: o.V6Only, ConnsMax: o.ConnsMax, Gate: l, Steering: server}
	open, err := p.engine.ListenDatagrams(o, server.Port)
	if err != nil {
		return nil, udpError{err}
	}
	return open, nil
}

// listenBoth opens a TCP port, and the UDP port of that number, where the kernel chooses the number. The TCP port is
// alone where there is no UDP, and HTTP/3 is optional.
func (p *listeners) listenBoth(o engine.ListenOptions, l *listener) (*engine.Listener, error) {
	for left := portTries; ; left-- {
		datagrams, err := p.listenDatagrams(o, l)
		switch {
		case err != nil && l.http3.optional:
			return p.listen(o, l)
		case err != nil:
			return nil, err
		}
		both := o
		both.Addr = datagrams.Addr()
		open, err := p.engine.Listen(both, l.accept)
		if err == nil {
			l.http3.open.Store(datagrams)
			return open, nil
		}
		datagrams.Close()
		if left == 0 || !errors.Is(err, unix.EADDRINUSE) {
			return nil, err
		}
	}
}

// portTries is how many further numbers are tried, where TCP has the first one already.
const portTries = 16

// closeDatagrams begins to close the UDP port: it takes no new connections, clients get GOAWAY, and it is closed after
// the last connection. grace_period bounds that: a reload that names the port again must not meet clients that stay.
// shared.mu is held.
func (p *listeners) closeDatagrams(d *http3Listener) {
	if !d.isOpen() {
		return
	}
	d.ending.Store(true)
	open := d.open.Load()
	open.Close()
	p.eachOver(open, func(c *engine.Conn, h engine.Handler) {
		if h, ok := h.(engine.DrainBeginner); ok {
			h.OnDrainBegin(c)
		}
	})
	d.cutAt = time.Now().Add(d.grace)
	time.AfterFunc(d.grace, func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		if d.ending.Load() && !time.Now().Before(d.cutAt) { // else it was opened again meanwhile
			p.eachOver(d.open.Load(), func(c *engine.Conn, _ engine.Handler) { c.Close(engine.ErrClosed) })
		}
	})
}

// eachOver calls f for each connection of a port, on its reactor.
func (p *listeners) eachOver(open *engine.Listener, f func(*engine.Conn, engine.Handler)) {
	p.engine.Survey(func(c *engine.Conn, l *engine.Listener, h engine.Handler) {
		if l == open {
			f(c, h)
		}
	})
}

// takeDatagrams opens the UDP ports that the present configuration asks for, and tries again while another process has
// them. Of an optional one the event log is told once. shared.mu is held.
func (p *listeners) takeDatagrams() {
	if p.suspended {
		return // Resume does
	}
	again := false
	for _, l := range p.now {
		if !l.http3.on || l.isClosed() {
			continue
		}
		d := &l.http3
		err := p.openDatagrams(l, d.connsMax, 0)
		waits := errors.Is(err, unix.EADDRINUSE)
		told := d.waits && (d.optional || time.Since(d.toldAt) < toldEvery)
		waiting, failing := slog.LevelInfo, slog.LevelError
		if d.optional {
			waiting, failing = slog.LevelWarn, slog.LevelWarn
		}
		failed := err != nil && !waits
		switch {
		case waits && !told:
			d.toldAt = time.Now()
			slog.Log(context.Background(), waiting, "HTTP/3 waits for its UDP port", "listener", l.title, "error", err,
				"holder", whoHolds("/proc", l.open.Addr(), true, p.opts.Before))
		case failed && !d.failed:
			slog.Log(context.Background(), failing, "no HTTP/3: the UDP port cannot be opened", "listener", l.title,
				"error", err)
		case err == nil && (d.waits || d.failed):
			slog.Info("HTTP/3 has its UDP port", "listener", l.title)
		}
		if d.untold != nil && d.isOpen() {
			l.service.Use(d.untold)
			d.untold = nil
		}
		d.waits, d.failed = waits, failed
		again = again || waits
	}
	if again && !p.retaking {
		p.retaking = true
		time.AfterFunc(portWait, func() {
			p.mu.Lock()
			defer p.mu.Unlock()
			p.retaking = false
			if p.state < draining {
				p.takeDatagrams()
			}
		})
	}
}

const (
	portWait  = 500 * time.Millisecond // between two tries to open a UDP port that another process has
	toldEvery = time.Minute            // between two lines of the event log that name that process
)

// AltSvcOf returns what tells clients of HTTP/3 at an address of l with a port of TCP, which may be 0 where it is not
// known; nil: they are not told.
func AltSvcOf(l *config.Listener, port int) *proxy.AltSvc {
	o := &l.Versions.H3
	if !l.ServesHTTP3() || !o.Advertise {
		return nil
	}
	return proxy.NewAltSvc(uint16(cmp.Or(o.AdvertisePort, port)), o.MaxAge, o.Hosts)
}

// advertised returns the requests of s for l, whose clients are told of HTTP/3 where that is served. A port that the
// kernel chooses is known once l is open.
func (l *listener) advertised(s *setting) *proxy.Listener {
	port := s.address.Port
	if port == 0 && l.open != nil {
		port = int(l.open.Addr().IP.Port())
	}
	l.http3.untold = nil
	a := AltSvcOf(s.config, port)
	if a == nil || port == 0 {
		return s.requests
	}
	told := *s.requests // other addresses have it too
	told.AltSvc = a
	if !l.http3.isOpen() { // a client that meets the process before this one there would not come back soon
		l.http3.untold = &told
		return s.requests
	}
	return &told
}
