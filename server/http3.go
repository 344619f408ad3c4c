package server

import (
	"cmp"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"golang.org/x/sys/unix"

	"github.com/edge-proxy/edge/config"
	"github.com/edge-proxy/edge/engine"
	"github.com/edge-proxy/edge/h3"
	"github.com/edge-proxy/edge/proxy"
	"github.com/edge-proxy/edge/quicconn"
	"github.com/edge-proxy/edge/session"
	"github.com/edge-proxy/edge/session/http3"
)

// http3Listener is HTTP/3 at the address of a listener: the UDP port with the number of its TCP port.
//
//	kernel ─► engine.Port ─► quicconn ─► tlsconn, session/http3 ─► proxy.Service
type http3Listener struct {
	server   *quicconn.Server
	open     *engine.Listener // nil: its sockets were never open
	on       bool             // the present configuration asks for it
	ending   bool             // open was told to close
	connsMax int
	sessions []*http3.Server // the last one has new connections
	of       *session.Server // that the last one is of
	opts     http3.ServerOptions
}

// h3Options returns the options of connections of HTTP/3.
func h3Options(c *config.Listener) http3.ServerOptions {
	return http3.ServerOptions{MaxStreams: c.Versions.H3.MaxStreams, IdleTimeout: c.Versions.H3.IdleTimeout}
}

// applyDatagrams puts a setting in place for new connections of HTTP/3.
func (p *listeners) applyDatagrams(l *listener, s *setting) {
	d := &l.http3
	if d.on = s.quic != nil; !d.on {
		d.close()
		return
	}
	of, opts := l.sessions[len(l.sessions)-1], h3Options(s.config)
	if d.of != of || d.opts != opts {
		d.of, d.opts = of, opts
		d.sessions = append(d.sessions, http3.NewServer(p.engine, of, opts))
	}
	sessions := d.sessions[len(d.sessions)-1]
	begin := func(c *engine.Conn) engine.Handler { return sessions.Accept(quicconn.Of(c)) }
	begin = p.counted(session.FilterSecured(s.config.Name, s.filters, begin))
	begin = quicconn.Secure(p.secure, *s.quic, begin)
	begin = session.FilterAccepted(s.config.Name, s.filters, begin)
	if l.clients != nil {
		begin = l.clients.accept(begin)
	}
	d.serverOn(p.engine).Use(quicconn.Accept{Begin: begin, QUIC: sessions.QUIC()})
	if d.connsMax = s.config.Limits.Connections; d.open != nil {
		d.open.SetConnsMax(d.connsMax)
	}
}

// serverOn returns the server of all configurations.
func (d *http3Listener) serverOn(e *engine.Engine) *quicconn.Server {
	if d.server == nil {
		o := quicconn.Options{CloseCode: uint64(h3.NoError)}
		rand.Read(o.Secret[:]) //nolint:errcheck // never fails
		d.server = quicconn.NewServer(e, o)
	}
	return d.server
}

// openDatagrams opens the UDP port of l, unless it is open. While another process has the sockets of this one, it has
// the port until its last connection ends.
func (p *listeners) openDatagrams(l *listener, connsMax int) (err error) {
	d := &l.http3
	if p.suspended || d.open != nil && !d.ending {
		return nil
	}
	if d.open == nil || !d.open.Reopen() {
		o := engine.ListenOptions{Addr: l.open.Addr(), V6Only: l.sockets.V6Only, ConnsMax: connsMax}
		if d.open, err = p.listenDatagrams(o, l); err != nil {
			return err
		}
	}
	d.ending = false
	if p.reload != nil {
		p.reload.onFailure(d.close)
	}
	return nil
}

func (p *listeners) listenDatagrams(o engine.ListenOptions, l *listener) (*engine.Listener, error) {
	o = engine.ListenOptions{Addr: o.Addr, V6Only: o.V6Only, ConnsMax: o.ConnsMax, Gate: l}
	open, err := p.engine.ListenDatagrams(o, l.http3.serverOn(p.engine).Port)
	if err != nil {
		return nil, fmt.Errorf("udp: %w", err)
	}
	return open, nil
}

// listenBoth opens a TCP port, and the UDP port of that number, where the kernel chooses the number.
func (p *listeners) listenBoth(o engine.ListenOptions, l *listener) (*engine.Listener, error) {
	for left := portTries; ; left-- {
		datagrams, err := p.listenDatagrams(o, l)
		if err != nil {
			return nil, err
		}
		both := o
		both.Addr = datagrams.Addr()
		open, err := p.engine.Listen(both, l.accept)
		if err == nil {
			l.http3.open = datagrams
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

// close begins to close the UDP port: it takes no new connections, and is closed after the last one.
func (d *http3Listener) close() {
	if d.open != nil && !d.ending {
		d.ending = true
		d.open.Close()
	}
}

// takeDatagrams opens the UDP ports that the present configuration asks for, and tries again while another process has
// them. shared.mu is held.
func (p *listeners) takeDatagrams() {
	again := false
	for _, l := range p.now {
		if !l.http3.on || l.isClosed() {
			continue
		}
		err := p.openDatagrams(l, l.http3.connsMax)
		if errors.Is(err, unix.EADDRINUSE) {
			again = true
		} else if err != nil {
			slog.Error("no HTTP/3: the UDP port cannot be opened", "listener", l.title, "error", err)
		}
	}
	if again {
		time.AfterFunc(portWait, func() {
			p.mu.Lock()
			defer p.mu.Unlock()
			if p.state == serving {
				p.takeDatagrams()
			}
		})
	}
}

// portWait is how often it is tried to open a UDP port that another process has.
const portWait = 100 * time.Millisecond

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
	a := AltSvcOf(s.config, port)
	if a == nil || port == 0 {
		return s.requests
	}
	told := *s.requests // other addresses have it too
	told.AltSvc = a
	return &told
}
