package server

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"github.com/edge-proxy/edge/engine"
	"github.com/edge-proxy/edge/h1"
	"github.com/edge-proxy/edge/internal/base/socketfile"
	"github.com/edge-proxy/edge/internal/config"
	"github.com/edge-proxy/edge/internal/config/changes"
	"github.com/edge-proxy/edge/internal/exchange/forwarding"
	"github.com/edge-proxy/edge/internal/exchange/page"
	"github.com/edge-proxy/edge/internal/http3/quicconn"
	"github.com/edge-proxy/edge/internal/l4"
	"github.com/edge-proxy/edge/internal/plugin"
	"github.com/edge-proxy/edge/internal/route"
	"github.com/edge-proxy/edge/internal/server/metrics"
	"github.com/edge-proxy/edge/internal/tls/tlsconn"
	"github.com/edge-proxy/edge/poller"
	"github.com/edge-proxy/edge/proxy"
	"github.com/edge-proxy/edge/session"
)

// listener is one address that is served. Its sockets stay open while each configuration names it; what holds for its
// connections and requests is exchanged meanwhile.
//
//	kernel ─► engine.Listener ─► tlsconn, session (for new connections) ─► proxy.Service (for new requests)
//	                                    └─ plugin.Service, where it is a service
type listener struct {
	key      string // of its address
	open     *engine.Listener
	sockets  engine.ListenOptions // of its sockets, without Addr, ConnsMax and Gate
	anyPort  bool                 // the kernel chose the port
	isHeld   bool                 // its sockets are of a supervisor
	file     *socketfile.File     // of a Unix socket; nil: none, or it was removed; guarded by shared.mu
	heldName string               // that the supervisor has given them

	begin   atomic.Pointer[func(c *engine.Conn) engine.Handler] // for new connections
	shaking atomic.Pointer[tlsconn.Handshaker]                  // of TLS handshakes; nil: there are none

	service  *proxy.Service        // nil: it has served no HTTP; guarded by shared.mu
	other    *plugin.Service       // it serves this in place of HTTP; nil: HTTP; guarded by shared.mu
	name     string                // guarded by shared.mu
	title    string                // name, or the address where the listener has none; guarded by shared.mu
	secured  bool                  // it takes TLS; guarded by shared.mu
	unasked  bool                  // as in setting; guarded by shared.mu
	clients  *clientLimit          // nil: a client has as many connections as it likes; guarded by shared.mu
	opts     session.ServerOptions // guarded by shared.mu
	sessions []*session.Server     // the last one has new connections; guarded by shared.mu

	checked func(c *engine.Conn) engine.Handler // for a self-check; guarded by shared.mu
	http3   http3Listener                       // of HTTP/3; guarded by shared.mu
}

// setting is how a reload configures one listener.
type setting struct {
	listener *listener // nil: it is to be opened
	key      string    // of its address
	config   *config.Listener
	address  *config.Address
	opts     session.ServerOptions
	requests *proxy.Listener        // nil: it is a service
	other    *plugin.Service        // nil: it serves HTTP
	secure   *tlsconn.ServerOptions // nil: it takes plain connections only
	quic     *tlsconn.ServerOptions // of handshakes over QUIC; nil: it serves no HTTP/3
	filters  []*session.ConnFilter
	postgres bool // clients ask for TLS first, as clients of PostgreSQL do
	unasked  bool // a rule denies the handshake of Handover.SelfCheck, or leads it elsewhere
}

// Full reports whether connections wait because there are too many handshakes: engine.Gate.
func (l *listener) Full(r *engine.Reactor) (full bool, backlog int) {
	if h := l.shaking.Load(); h != nil {
		return h.Full(r)
	}
	return false, 0
}

// accept begins a connection as l is configured now.
func (l *listener) accept(c *engine.Conn) engine.Handler { return (*l.begin.Load())(c) }

// listeners are the addresses that are served.
type listeners struct {
	*shared
	definitions  *definitions
	logs         *accessLogs
	traces       *traces
	certificates *certificates
	relays       *relays
	adoption     adoption
	own          ownAddresses
	handshakes   []handshakes // by Reactor.Index
	preambles    preambles
	clients      clientConns
	now          []*listener // guarded by shared.mu
	next         []setting
	retaking     bool        // a timer will take UDP ports; guarded by shared.mu
	closing      []*listener // that a reload took away, until their sockets are closed; guarded by shared.mu
}

// prepare makes the settings of all addresses from the things that the parts before have made.
func (p *listeners) prepare() error {
	p.next = nil
	if !p.reload.listen || p.reload.failed != nil {
		return nil
	}
	p.reload.onFailure(func() { p.next = nil })
	kept := make(map[string]*listener)
	for _, l := range p.now {
		if !l.isClosed() {
			kept[l.key] = l
		}
	}
	c := p.reload.config
	pages, err := pagesOf(c.ErrorPages, nil)
	if err != nil {
		return err
	}
	if err := p.adoption.checkNames(c); err != nil {
		return err
	}
	times := make(map[string]int)
	for i, l := range c.Listening() {
		set, err := p.setting(i, l, pages)
		if err != nil {
			return err
		}
		for j := range set.config.Addresses {
			a := &set.config.Addresses[j]
			key := keyOf(a) + "#"
			if l.Service != nil && a.Network != "unix" && a.Port == 0 {
				key += l.Name + " " // its port stays its own
			}
			times[key]++ // port 0 may be named several times
			set.key = fmt.Sprintf("%s%d", key, times[key])
			set.listener, set.address = kept[set.key], a
			if l := set.listener; l != nil && l.sockets.DeferAccept != set.defers() {
				return listenError(set.config, a, errOrder)
			}
			p.next = append(p.next, set)
		}
	}
	return nil
}

// errOrder refuses to turn a socket on which clients speak first into another kind, or back: the kernel holds some of
// the connections until clients speak.
var errOrder = errors.New("the address changes between clients that speak first (HTTP, TLS, peek = true) and a " +
	"service that may speak first: that takes a restart or an upgrade")

// defers reports whether connections are accepted with their first bytes.
func (s *setting) defers() bool {
	return s.address.Network != "unix" && (s.other == nil || s.secure != nil || s.other.ClientFirst)
}

// setting makes the setting of c, number i of Listening, without an address.
func (p *listeners) setting(i int, c *config.Listener, pages *page.Set) (set setting, err error) {
	secure, handshakes, err := p.certificates.options(i, c)
	if err != nil {
		return set, err
	}
	quic, err := p.certificates.quicOptions(i, c)
	if err != nil {
		return set, err
	}
	filters, err := p.definitions.connFilters(c.ConnFilters)
	if err != nil {
		return set, err
	}
	set = setting{config: c, secure: secure, quic: quic, filters: filters}
	if handshakes != nil {
		secure.Pass = p.relays.passing(c, handshakes)
		d, _ := handshakes.Explain(&tlsconn.Digest{}, "", protocolsOf(c))
		set.unasked = d.Denied || d.Passed
	}
	if of, relays := p.reload.config.Relays[c.Name]; relays {
		set.other, set.postgres = p.relays.service(c.Name), of.Postgres && secure != nil
		return set, nil
	}
	if c.Service != nil {
		set.other, err = p.definitions.service(c.Service)
		return set, err
	}
	log := p.reload.config.LogOf(c, nil)
	requests := proxyListener(c, p.logs.by(&log))
	if p.certificates.issuing.next != nil && c.TLS != config.TLSOn {
		requests.Answers = p.certificates.issuing.challenges.Answer
	}
	guardBy(requests, handshakes)
	requests.Meter, requests.Redact = p.traffic.Listener(c.Name), p.reload.config.Log.Redaction()
	requests.Tracing = p.traces.by(c)
	if requests.Pages, err = pagesOf(c.ErrorPages, pages); err != nil {
		return set, fmt.Errorf("listener %s: %w", c.Name, err)
	}
	set.opts, set.requests = sessionOptions(c), requests
	return set, nil
}

// commit opens the addresses that are new, until one fails. Then the addresses of both configurations are own ones.
func (p *listeners) commit() error {
	next := make([]*listener, 0, len(p.next))
	opened := p.next[:0]
	for _, set := range p.next {
		if set.listener == nil {
			if err := p.open(&set); err != nil {
				if err = listenError(set.config, set.address, err); !p.reload.partly {
					return err
				}
				p.reload.lost = append(p.reload.lost, err)
				if set.listener != nil {
					p.close(set.listener)
				}
				continue
			}
		}
		d := &set.listener.http3
		insists := !set.config.Versions.OptionalH3 && (d.optional || !d.waits) // else takeDatagrams opens it
		if set.quic != nil && p.suspended {
			if err := p.adoptDatagrams(set.listener, set.config.Limits.Connections); err != nil {
				return listenError(set.config, set.address, err)
			}
		} else if set.quic != nil && !p.reload.partly && insists {
			if err := p.openDatagrams(set.listener, set.config.Limits.Connections, p.patience()); err != nil {
				return listenError(set.config, set.address, err)
			}
		}
		opened, next = append(opened, set), append(next, set.listener)
	}
	p.next = opened
	p.own.use(append(next, p.now...))
	p.reload.onFailure(func() { p.own.use(p.now) })
	return nil
}

func (p *listeners) retire() {
	before := p.now
	p.now = make([]*listener, len(p.next))
	for i := range p.next {
		p.apply(&p.next[i])
		p.now[i] = p.next[i].listener
	}
	p.next = nil
	p.own.use(p.now)
	p.closing = slices.DeleteFunc(p.closing, func(l *listener) bool {
		return p.has(l) || l.open.Closed() && l.http3.isClosed()
	})
	for _, l := range before {
		if p.has(l) {
			continue
		}
		same := func(next *listener) bool { return next.name == l.name && next.service != nil }
		if i := slices.IndexFunc(p.now, same); i >= 0 && l.service != nil {
			l.service.Follow(p.now[i].service) // routes and logs know listeners by name: its guards hold for l too
		}
		p.close(l)
	}
	p.takeDatagrams() // a reload waits for no port that HTTP/3 may do without
}

func (p *listeners) describe(l *ledger) {
	follow(l, p.secure, func(r *engine.Reactor) metrics.Handshakes { return p.handshakes[r.Index()].Handshakes },
		func(n *metrics.Sample) *metrics.Handshakes { return &n.Handshakes }, nil)
	for _, one := range p.now {
		name, open := one.name, one.open
		if l.bare[name] = one.other != nil; l.bare[name] {
			p.counters.RegisterBare(name)
		} else {
			p.counters.RegisterListener(name, one.http3.server != nil)
		}
		l.ports[name] = append(l.ports[name], open)
		over := func(counted *metrics.Sample) bool {
			return open.Closed() && open.Conns() == 0 && one.http3.isClosed() && counted.Listener(name).H3Open == 0
		}
		for _, sessions := range one.sessions {
			follow(l, sessions, func(r *engine.Reactor) metrics.Sessions {
				return metrics.Sessions{ServerStats: sessions.Stats(r), Codec: sessions.H2Stats(r)}
			}, func(n *metrics.Sample) *metrics.Sessions { return &n.Listener(name).Sessions }, over)
		}
		one.http3.describe(l, name, over)
	}
}

func (p *listeners) stop() error {
	for _, l := range p.now {
		l.removeFile()
	}
	return nil
}

// has reports whether l serves the present configuration.
func (p *listeners) has(l *listener) bool { return slices.Contains(p.now, l) }

// conns returns how many connections the addresses of c have that close with e. shared.mu is held.
func (p *listeners) conns(c *config.Listener, e *changes.Entry) (n int) {
	for i := range c.Addresses {
		a := &c.Addresses[i]
		if c.Name != e.Name || !slices.Contains(e.Details, "- "+a.Text) {
			continue
		}
		for _, l := range p.now {
			if l.title == nameAt(c, a) && strings.HasPrefix(l.key, keyOf(a)+"#") {
				n += l.open.Conns() + l.http3.conns()
			}
		}
	}
	return n
}

// forgetClosed drops the listeners whose sockets were closed from the present configuration, and returns an error
// for each. shared.mu is held.
func (p *listeners) forgetClosed() (errs []error) {
	p.now = slices.DeleteFunc(slices.Clone(p.now), func(l *listener) bool {
		if l.isClosed() {
			errs = append(errs, fmt.Errorf("listen %s: %w", l.open.Addr(), errAbandoned))
		}
		return l.isClosed()
	})
	p.own.use(p.now)
	return errs
}

// apply puts a setting in place: the limits of connections for new ones, the rest for new requests.
func (p *listeners) apply(s *setting) {
	l, name := s.listener, s.config.Name
	renamed := l.name != name // counts of connections keep the name before
	l.name, l.title, l.secured, l.other = name, nameAt(s.config, s.address), s.secure != nil, s.other
	l.unasked = s.unasked
	if l.open != nil {
		l.open.SetConnsMax(s.config.Limits.Connections)
	}
	var begin func(c *engine.Conn) engine.Handler
	if s.other != nil {
		begin = s.other.Accept
	} else {
		begin = p.sessionsOf(l, s, renamed).Accept
	}
	l.checked = begin
	l.shaking.Store(nil)
	var expect func(r *engine.Reactor, n int)
	if s.secure != nil {
		l.shaking.Store(p.secure)
		expect = p.secure.Expect
		l.checked = p.secure.Server(*s.secure, unlessProof(begin))
		begin = p.secure.Server(*s.secure, unlessProof(p.counted(session.FilterSecured(name, s.filters, begin))))
	}
	if s.postgres {
		begin = l4.AfterAsking(begin)
	}
	l.clients = p.clients.limit(s.config, p.engine)
	begin = l.clients.accept(session.FilterAccepted(name, s.filters, begin))
	p.applyDatagrams(l, s)
	begin = p.preambles.announced(s.config, expect, begin)
	l.begin.Store(&begin)
}

// sessionsOf returns the sessions of new connections of HTTP.
func (p *listeners) sessionsOf(l *listener, s *setting, renamed bool) *session.Server {
	requests := l.advertised(s)
	if l.service == nil {
		l.service = p.proxy.Service(requests)
	} else {
		l.service.Use(requests)
	}
	if len(l.sessions) == 0 || l.opts != s.opts || renamed {
		l.opts = s.opts
		l.sessions = append(l.sessions, session.NewServer(p.engine, l.service, s.opts))
	}
	return l.sessions[len(l.sessions)-1]
}

// isClosed reports whether l's sockets were closed, although a configuration may name it: see Handover.Abandon.
func (l *listener) isClosed() bool { return l.open.Closed() }

// proxyListener returns what the proxy has to know of a listener.
func proxyListener(c *config.Listener, logs []proxy.AccessLog) *proxy.Listener {
	l := &proxy.Listener{
		Name: c.Name, BodyMax: c.Limits.BodySize, Log: logs,
		Trusted: trustOf(&c.Believed.Trusted), Forwarded: c.Forwarded,
		Paths: constant[route.Paths](c, &c.Paths), Parameters: constant[route.Parameters](c, &c.PathParameters),
		Underscores: constant[proxy.Underscores](c, &c.Underscores), GRPC: c.GRPC, NoWebSocket: !c.WebSocket,
		NoVia: !c.Via, Traceparent: c.Traceparent,
	}
	if id := &c.RequestID; id.On {
		accept := constant[proxy.Acceptance](id, &id.Accept)
		l.RequestID = &proxy.RequestID{Field: id.Field, Accept: accept, NoAnswer: !id.Answer}
	}
	if c.TLS != config.TLSOff {
		l.HSTS, l.StrictSNI = hstsOf(&c.TLSOptions.HSTS), c.TLSOptions.StrictSNI
		l.ClientCert = c.TLSOptions.ClientAuth == config.ClientAuthRequire
	}
	if c.RedirectToHTTPS {
		l.RedirectToHTTPS, l.RedirectDirect = uint16(c.HTTPSPort), c.Direct
	}
	return l
}

// trustOf returns the peers that a listener trusts; nil: none.
func trustOf(t *config.Trusted) *forwarding.Trust {
	if len(t.Networks) == 0 && !t.Unix {
		return nil
	}
	return &forwarding.Trust{Networks: t.Networks, Unix: t.Unix}
}

// keyOf returns a text that is different for each address.
func keyOf(a *config.Address) string {
	return fmt.Sprintf("%s %s %d %s", a.Network, a.Host, a.Port, a.Path)
}

func sessionOptions(c *config.Listener) session.ServerOptions {
	l, h2 := &c.Limits, &c.Versions.H2
	o := session.ServerOptions{
		Limits: h1.Limits{
			HeadBytes: int(l.HeaderSize), FieldCount: l.HeaderCount, RequestLine: int(l.TargetSize),
			FieldBytes: int(l.FieldSize),
		},
		HeaderTimeout: l.HeaderTimeout, IdleTimeout: l.IdleTimeout, RequestsMax: l.KeepaliveRequests,
		BodyRate: l.MinRate, HalfCloseWait: l.HalfCloseWait,
		H2:  session.H2Options{MaxStreams: h2.MaxStreams, IdleTimeout: h2.IdleTimeout, MaxAge: l.MaxAge},
		H2C: slices.Contains(c.Versions.Protocols, "h2"), NoH1: !slices.Contains(c.Versions.Protocols, "h1"),
	}
	if l.MinRate == 0 {
		o.BodyRate = -1
	}
	switch {
	case l.HalfCloseWait == 0:
		o.HalfCloseWait = session.HalfCloseLeaves
	case l.HalfCloseWait < 0:
		o.HalfCloseWait = session.HalfCloseStays
	}
	return o
}

// open opens the address of set. While reactors run it serves at once, so set is applied first. An address that a
// reload took away a moment ago still has its sockets, and is taken back with them.
func (p *listeners) open(set *setting) error {
	a := set.address
	sockets := engine.ListenOptions{
		DeferAccept: set.defers(), V6Only: a.Network == "tcp6",
		FastOpen: set.config.FastOpen, UserTimeout: set.config.UserTimeout,
	}
	l := p.closingOf(set.key)
	reopened := l != nil && l.sockets == sockets && l.open.Reopen()
	if l == nil || l.anyPort && !reopened { // clients of HTTP/3 may be on the UDP port of the number before
		l = &listener{key: set.key}
		l.anyPort = a.Network != "unix" && a.Port == 0
		set.listener = l
		p.apply(set)
	}
	set.listener = l
	p.reload.onFailure(func() { p.close(l) })
	if reopened {
		return nil
	}
	o := sockets
	o.ConnsMax, o.Suspended, o.Gate = set.config.Limits.Connections, p.suspended, l
	adopted, err := p.adoption.adopt(p.engine, l, a, o)
	if adopted || err != nil {
		l.sockets = sockets
		return p.giveFile(set, err)
	}
	var open *engine.Listener
	listen := p.listen
	if l.anyPort && set.quic != nil && !p.suspended {
		listen = p.listenBoth
	}
	for _, addr := range addrsOf(a) {
		o.Addr = addr
		o.Share = p.adoption.hasPort(addr)
		if open, err = listen(o, l); err == nil || !noIPv6(err) {
			break
		}
	}
	if err != nil {
		return err
	}
	l.open, l.sockets = open, sockets
	if a.Network == "unix" {
		l.file, err = socketfile.Made(a.Path)
	}
	return p.giveFile(set, err)
}

// giveFile gives the file of a Unix socket its owner and its mode, unless there is none, or an error.
func (p *listeners) giveFile(set *setting, err error) error {
	if err != nil || set.listener.file == nil {
		return err
	}
	c, uid, gid := set.config, -1, -1
	if p.opts.Owner != nil {
		uid, gid = p.opts.Owner.UID, p.opts.Owner.GID
	}
	if c.SocketOwner.Text != "" {
		uid, gid = c.SocketOwner.UID, c.SocketOwner.GID
	}
	return set.listener.file.Give(uid, gid, c.SocketMode)
}

// close begins to close l. Its sockets accept for another moment, see engine.Listener.Close, and a reload that names
// the address again may take l back. shared.mu is held.
func (p *listeners) close(l *listener) {
	if l.open == nil {
		return
	}
	l.open.Close()
	p.closeDatagrams(&l.http3)
	l.removeFile()
	p.adoption.drop(l)
	if !slices.Contains(p.closing, l) {
		p.closing = append(p.closing, l)
	}
}

// removeFile removes the file of a Unix socket that has closed, or is about to, unless another process has the socket.
// shared.mu is held.
func (l *listener) removeFile() {
	if l.file != nil && l.open.Suspended() {
		l.file.Close()
	} else {
		l.file.Remove()
	}
	l.file = nil
}

// addrsOf returns the addresses to try for a, one of which is opened: for both families IPv6, which takes IPv4 too, or
// IPv4 where there is no IPv6.
func addrsOf(a *config.Address) []poller.Addr {
	port := uint16(a.Port)
	switch a.Network {
	case "unix":
		return []poller.Addr{{Path: a.Path}}
	case "tcp":
		return []poller.Addr{
			{IP: netip.AddrPortFrom(netip.IPv6Unspecified(), port)},
			{IP: netip.AddrPortFrom(netip.IPv4Unspecified(), port)},
		}
	}
	ip, _ := netip.ParseAddr(a.Host) // the check has parsed it; the zero Addr is refused by Listen
	return []poller.Addr{{IP: netip.AddrPortFrom(ip, port)}}
}

func noIPv6(err error) bool {
	return errors.Is(err, unix.EAFNOSUPPORT) || errors.Is(err, unix.EADDRNOTAVAIL)
}

// listen opens an address, once no other process has it.
func (p *listeners) listen(o engine.ListenOptions, l *listener) (*engine.Listener, error) {
	if o.Addr.IsUnix() {
		return p.engine.Listen(o, l.accept)
	}
	return awaitVacancy(p.patience(), func() (*engine.Listener, error) { return p.engine.Listen(o, l.accept) })
}

// patience returns how long an address is waited for that another process has.
func (p *listeners) patience() time.Duration {
	switch {
	case p.state == made:
		return vacancyWait
	case p.reload != nil && p.reload.partly:
		return regainWait
	}
	return 0
}

// handshakes is what one reactor has counted of them. Owned by its reactor.
type handshakes struct {
	metrics.Handshakes
	_ [64]byte // reactors count at the same time: keep them off each other's cache line
}

// counted makes accept count the handshakes of clients.
func (p *listeners) counted(accept func(c *engine.Conn) engine.Handler) func(c *engine.Conn) engine.Handler {
	return func(c *engine.Conn) engine.Handler {
		if d := tlsconn.DigestOf(c); d != nil {
			p.handshakes[c.Reactor().Index()].Count(d, quicconn.Of(c) != nil)
		}
		return accept(c)
	}
}
