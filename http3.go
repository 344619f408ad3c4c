package edge

import (
	"crypto/tls"
	"errors"
	"fmt"
	"syscall"
	"time"

	"github.com/edge-proxy/edge/engine"
	"github.com/edge-proxy/edge/h3"
	"github.com/edge-proxy/edge/internal/http3"
	"github.com/edge-proxy/edge/internal/http3/quicconn"
	"github.com/edge-proxy/edge/internal/tls/tlsconn"
	"github.com/edge-proxy/edge/proxy"
	"github.com/edge-proxy/edge/session"
)

// errHTTP3 refuses HTTP/3 where it cannot be.
var errHTTP3 = errors.New("HTTP3 needs TLS 1.3, and an address with a port")

const (
	portTries = 16             // of further numbers where the kernel chooses, and TCP has the first one already
	altSvcAge = 24 * time.Hour // for which clients remember that there is HTTP/3
)

// listenHTTP3 is listen with the UDP port of the same number, which comes first: answers over TCP name it.
func (s *Server) listenHTTP3(l *Listener, o engine.ListenOptions) error {
	if l.TLS == nil || o.Addr.IsUnix() || l.TLS.MaxVersion != 0 && l.TLS.MaxVersion < tls.VersionTLS13 {
		return fmt.Errorf("listen on %q: %w", l.Addr, errHTTP3)
	}
	for tries := 0; ; tries++ {
		server := quicconn.NewServer(s.engine, quicconn.Options{CloseCode: uint64(h3.NoError)})
		// It is not shared: datagrams would go to servers that have not the keys of their connections.
		udp, err := s.engine.ListenDatagrams(engine.ListenOptions{
			Addr: o.Addr, Gate: s.shakes(), Steering: server,
		}, server.Port)
		if err != nil {
			return err
		}
		both := o
		both.Addr = udp.Addr()
		told := *l
		if told.Listener.AltSvc == nil {
			told.Listener.AltSvc = proxy.NewAltSvc(both.Addr.IP.Port(), altSvcAge, []string{"*"})
		}
		srv := session.NewServer(s.engine, s.proxy.Service(&told.Listener), s.Session)
		server.Use(s.overQUIC(&told, srv))
		if err = s.listenTCP(&told, srv, both); err == nil {
			return nil
		}
		udp.Close()
		if o.Addr.IP.Port() != 0 || tries == portTries || !errors.Is(err, syscall.EADDRINUSE) {
			return err
		}
	}
}

// overQUIC is how connections of HTTP/3 to l begin, whose requests srv has.
func (s *Server) overQUIC(l *Listener, srv *session.Server) quicconn.Accept {
	sessions := http3.NewServer(s.engine, srv, http3.ServerOptions{})
	begin := session.FilterSecured(l.Listener.Name, s.ConnFilters, func(c *engine.Conn) engine.Handler {
		return sessions.Accept(quicconn.Of(c), false)
	})
	proved := quicconn.IfRetried(begin, session.FilterAccepted(l.Listener.Name, s.ConnFilters, begin))
	begin = quicconn.Secure(s.shakes(), tlsconn.ServerOptions{Config: configHTTP3(l.TLS)}, proved)
	begin = quicconn.IfRetried(session.FilterAccepted(l.Listener.Name, s.ConnFilters, begin), begin)
	return quicconn.Accept{
		Begin: begin, QUIC: sessions.QUIC(),
		Scarce: http3.StreamsScarce, Crowded: s.shakes().Crowded,
	}
}

// configHTTP3 is c for handshakes over QUIC.
func configHTTP3(c *tls.Config) *tls.Config {
	c = c.Clone()
	c.NextProtos, c.MinVersion = []string{"h3"}, tls.VersionTLS13
	if choose := c.GetConfigForClient; choose != nil {
		c.GetConfigForClient = func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
			chosen, err := choose(hello)
			if chosen == nil || err != nil {
				return nil, err
			}
			return configHTTP3(chosen), nil
		}
	}
	return c
}
