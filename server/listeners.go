package server

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"github.com/edge-proxy/edge/config"
	"github.com/edge-proxy/edge/engine"
	"github.com/edge-proxy/edge/h1"
	"github.com/edge-proxy/edge/internal/socketfile"
	"github.com/edge-proxy/edge/poller"
	"github.com/edge-proxy/edge/proxy"
	"github.com/edge-proxy/edge/proxy/forwarding"
	"github.com/edge-proxy/edge/route"
	"github.com/edge-proxy/edge/session"
	"github.com/edge-proxy/edge/tlsconn"
)

// listener is one address that is served. Its sockets stay open while each generation names the address; what holds for
// its connections and requests is exchanged meanwhile.
//
//	kernel ─► engine.Listener ─► tlsconn, session (for new connections) ─► proxy.Service (for new requests)
type listener struct {
	key      string // of its address
	open     *engine.Listener
	sockets  engine.ListenOptions // of its sockets, without Addr, ConnsMax and Gate
	anyPort  bool                 // the kernel chose the port
	isHeld   bool                 // its sockets are of a supervisor
	file     *socketfile.File     // of a Unix socket; nil: none, or it was removed; guarded by Server.mu
	heldName string               // that the supervisor has given them

	begin    atomic.Pointer[func(c *engine.Conn) engine.Handler] // for new connections
	shaking  atomic.Pointer[tlsconn.Handshaker]                  // of TLS handshakes; nil: there are none
	service  *proxy.Service
	name     string                // guarded by Server.mu
	title    string                // name, or the address where the listener has none; guarded by Server.mu
	secured  bool                  // it takes TLS; guarded by Server.mu
	opts     session.ServerOptions // guarded by Server.mu
	sessions []*session.Server     // the last one has new connections; guarded by Server.mu
}

// setting is how a build configures one listener.
type setting struct {
	listener *listener
	config   *config.Listener
	name     string
	title    string
	opts     session.ServerOptions
	connsMax int
	requests *proxy.Listener
	server   *Server
	secure   *tlsconn.ServerOptions // nil: it takes plain connections only
	filters  []*session.ConnFilter
}

// apply puts s in place: the limits of connections for new ones, the rest for new requests.
func (l *listener) apply(s *setting) {
	renamed := l.name != s.name // what connections have counted stays that of the name before
	l.name, l.title, l.secured = s.name, s.title, s.secure != nil
	l.service.Use(s.requests)
	if l.open != nil {
		l.open.SetConnsMax(s.connsMax)
	}
	if len(l.sessions) == 0 || l.opts != s.opts || renamed {
		l.opts = s.opts
		l.sessions = append(l.sessions, session.NewServer(s.server.engine, l.service, s.opts))
	}
	begin := l.sessions[len(l.sessions)-1].Accept
	l.shaking.Store(nil)
	if s.secure != nil {
		l.shaking.Store(s.server.secure)
		begin = s.server.secure.Server(*s.secure, s.server.counted(session.FilterSecured(s.name, s.filters, begin)))
	}
	begin = session.FilterAccepted(s.name, s.filters, begin)
	l.begin.Store(&begin)
}

// Full reports whether connections wait because there are too many handshakes: engine.Gate.
func (l *listener) Full(r *engine.Reactor) bool {
	h := l.shaking.Load()
	return h != nil && h.Full(r)
}

// accept begins a connection as l is configured now.
func (l *listener) accept(c *engine.Conn) engine.Handler { return (*l.begin.Load())(c) }

// openListeners keeps the listeners whose address is named again and opens the others, until one fails.
func (b *build) openListeners() error {
	kept := make(map[string]*listener)
	for _, l := range b.server.present.listeners {
		if !l.isClosed() {
			kept[l.key] = l
		}
	}
	pages, err := pagesOf(b.config.ErrorPages, nil)
	if err != nil {
		return err
	}
	if err := b.server.handover.checkNames(b.config); err != nil {
		return err
	}
	times := make(map[string]int)
	for i := range b.config.Listeners {
		c := &b.config.Listeners[i]
		log := b.config.LogOf(c, nil)
		logs, err := b.logsBy(&log)
		if err != nil {
			return err
		}
		secure, handshakes, err := b.secureOptions(i)
		if err != nil {
			return err
		}
		filters, err := b.connFilters(c.ConnFilters)
		if err != nil {
			return err
		}
		opts := sessionOptions(c)
		requests := proxyListener(c, logs)
		guardBy(requests, handshakes)
		requests.Meter = b.server.traffic.Listener(c.Name)
		if requests.Pages, err = pagesOf(c.ErrorPages, pages); err != nil {
			return fmt.Errorf("listener %s: %w", c.Name, err)
		}
		for _, a := range c.Addresses {
			key := keyOf(&a)
			times[key]++ // port 0 may be named several times
			key = fmt.Sprintf("%s#%d", key, times[key])
			set := setting{listener: kept[key], config: c, name: c.Name, title: nameAt(c, &a), opts: opts,
				connsMax: c.Limits.Connections, requests: requests, server: b.server, secure: secure,
				filters: filters}
			if set.listener == nil {
				if set.listener, err = b.open(key, &a, &set); err != nil {
					if err = listenError(c, &a, err); !b.partly {
						return err
					}
					b.lose(set.listener, err)
					continue
				}
			}
			b.settings = append(b.settings, set)
			b.listeners = append(b.listeners, set.listener)
		}
	}
	return nil
}

// lose leaves an address out. l is what was opened of it; nil: nothing.
func (b *build) lose(l *listener, err error) {
	b.lost = append(b.lost, err)
	if l != nil {
		b.server.closeListener(l)
	}
}

// isClosed reports whether l's sockets were closed, although a generation may name its address: see Handover.Abandon.
func (l *listener) isClosed() bool { return l.open.Closed() }

// regain opens what the present configuration names and no listener has any more. The error names what it cannot
// open, and is not served. s.applying and s.mu are held.
func (h *Handover) regain() error {
	s := h.server
	b := s.build(s.present.config)
	b.partly = true
	err := b.replace(true)
	if err == nil {
		return errors.Join(b.lost...)
	}
	b.lost = []error{err}
	s.present.listeners = slices.DeleteFunc(slices.Clone(s.present.listeners), func(l *listener) bool {
		if !l.isClosed() {
			return false
		}
		b.lost = append(b.lost, fmt.Errorf("listen %s: %w", l.open.Addr(), errAbandoned))
		return true
	})
	s.own.use(s.present.listeners)
	return errors.Join(b.lost...)
}

var errAbandoned = errors.New("it was closed, since another process had dropped it: a reload opens it again")

// proxyListener returns what the proxy has to know of a listener.
func proxyListener(c *config.Listener, logs []proxy.AccessLog) *proxy.Listener {
	l := &proxy.Listener{
		Name: c.Name, BodyMax: c.Limits.BodySize, Log: logs, Trusted: trustOf(&c.Trusted), Forwarded: c.Forwarded,
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
		l.RedirectToHTTPS = uint16(c.HTTPSPort)
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
	l := &c.Limits
	o := session.ServerOptions{
		Limits:        h1.Limits{HeadBytes: int(l.HeaderSize), FieldCount: l.HeaderCount},
		HeaderTimeout: l.HeaderTimeout, IdleTimeout: l.IdleTimeout, RequestsMax: l.KeepaliveRequests,
		BodyRate: l.MinRate, HalfCloseWait: l.HalfCloseWait,
		H2:  session.H2Options{MaxStreams: c.H2.MaxStreams, IdleTimeout: c.H2.IdleTimeout, MaxAge: l.MaxAge},
		H2C: slices.Contains(c.Protocols, "h2"), NoH1: !slices.Contains(c.Protocols, "h1"),
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

// open opens an address. While reactors run it serves at once, so set is applied first. An address that a reload took
// away a moment ago still has its sockets, and is taken back with them.
func (b *build) open(key string, a *config.Address, set *setting) (*listener, error) {
	sockets := engine.ListenOptions{
		DeferAccept: a.Network != "unix", V6Only: a.Network == "tcp6",
		FastOpen: set.config.FastOpen, UserTimeout: set.config.UserTimeout,
	}
	l := b.server.closingListener(key)
	if l == nil {
		l = &listener{key: key, service: b.server.proxy.Service(set.requests)}
		l.anyPort = a.Network != "unix" && a.Port == 0
		l.apply(set)
	}
	b.fresh = append(b.fresh, func() { b.server.closeListener(l) })
	if l.open != nil && l.sockets == sockets && l.open.Reopen() {
		return l, nil
	}
	o := sockets
	o.ConnsMax, o.Suspended, o.Gate = set.connsMax, b.server.handover.suspended, l
	adopted, err := b.server.handover.adopt(l, a, o)
	if adopted || err != nil {
		l.sockets = sockets
		return l, l.giveFile(set, err)
	}
	var open *engine.Listener
	for _, addr := range addrsOf(a) {
		o.Addr = addr
		o.Share = b.server.handover.hasPort(addr)
		if open, err = b.listen(o, l); err == nil || !noIPv6(err) {
			break
		}
	}
	if err != nil {
		return nil, err
	}
	l.open, l.sockets = open, sockets
	if a.Network != "unix" {
		return l, nil
	}
	l.file, err = socketfile.Made(a.Path)
	return l, l.giveFile(set, err)
}

// giveFile gives the file of a Unix socket its owner and its mode, unless there is none, or an error.
func (l *listener) giveFile(set *setting, err error) error {
	if err != nil || l.file == nil {
		return err
	}
	return l.file.Give(set.server.socketRights(set.config))
}

// closeListener begins to close l. Its sockets accept for another moment, see engine.Listener.Close, and a reload that
// names the address again may take l back. s.mu is held.
func (s *Server) closeListener(l *listener) {
	if l.open == nil {
		return
	}
	l.open.Close()
	l.removeFile()
	s.handover.drop(l)
	if !slices.Contains(s.closing, l) {
		s.closing = append(s.closing, l)
	}
}

// removeFile removes the file of a Unix socket that has closed, or is about to, unless another process has the socket.
// Server.mu is held.
func (l *listener) removeFile() {
	if l.file != nil && l.open.Suspended() {
		l.file.Close()
	} else {
		l.file.Remove()
	}
	l.file = nil
}

// forgetClosed removes listeners from s.closing that have closed or were taken back. s.mu is held.
func (s *Server) forgetClosed() {
	s.closing = slices.DeleteFunc(s.closing, func(l *listener) bool { return s.present.listens(l) || l.open.Closed() })
}

// closingListener returns the listener of an address while it closes, or nil. s.mu is held.
func (s *Server) closingListener(key string) *listener {
	for _, l := range s.closing {
		if l.key == key && !l.open.Closed() {
			return l
		}
	}
	return nil
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

// vacancyWait is how long a start waits for an address: a process that ends keeps its addresses for a moment, see
// engine.Listener.Close.
const (
	vacancyWait  = 2 * time.Second
	vacancyPause = 20 * time.Millisecond
	regainWait   = 200 * time.Millisecond // for a process that was killed: all of its sockets close in that moment
)

// listen opens an address, once nobody else has it.
func (b *build) listen(o engine.ListenOptions, l *listener) (*engine.Listener, error) {
	begun, wait := time.Now(), time.Duration(0)
	switch {
	case o.Addr.IsUnix():
	case b.server.state == made:
		wait = vacancyWait
	case b.partly:
		wait = regainWait
	}
	for {
		open, err := b.server.engine.Listen(o, l.accept)
		if !errors.Is(err, unix.EADDRINUSE) || time.Since(begun) >= wait {
			return open, err
		}
		time.Sleep(vacancyPause)
	}
}
