package explain

import (
	"fmt"
	"net/netip"

	"github.com/edge-proxy/edge/internal/config"
	"github.com/edge-proxy/edge/internal/server"
)

// relay says what becomes of a connection to a TCP service.
func (a *Answer) relay(cfg *config.Config, q *asked) {
	in, others, _ := q.choose(cfg.Services)
	a.OtherListeners = append(a.OtherListeners, others...)
	l := in.listener
	if l == nil {
		a.Why = "no service takes it: the connection is refused, or another program answers"
		if http, _, _ := q.choose(cfg.Listeners); http.listener != nil {
			a.Why = "HTTP is spoken there, by the listener " + http.listener.Name + ": ask for http:// or https://"
		}
		return
	}
	a.Listener = &Listener{Name: l.Name, At: l.Pos.FileLine(), Address: in.address.Text, TLS: l.TLS.String()}
	if l.TLS != config.TLSOff || cfg.Relays[l.Name].Peek {
		a.Listener.SNI = q.serverName()
	}
	if l.TLS != config.TLSOff {
		shake := server.DryShake(cfg, l, netip.AddrPortFrom(q.client, 0), a.Listener.SNI)
		if a.Handshake = handshakeOf(shake); shake.Denied {
			a.Why = "a rule denies the handshake: no backend is connected to"
			return
		}
	}
	s := &steps{places: cfg.Places, list: []Step{}}
	s.connection(l)
	relay, known := cfg.Relays[l.Name]
	switch {
	case a.Handshake != nil && a.Handshake.Passed != "":
		a.passed(cfg, q, s, l, cfg.Upstream(a.Handshake.Passed))
	case known:
		s.addIf(relay.Peek, "listener", l, "peek", "the ClientHello is read, and goes to the backend as it came")
		s.addIf(relay.Postgres, "listener", l, "starttls", "a client of PostgreSQL that asks for TLS is told to begin")
		u, taken := server.DryRoute(cfg, l, netip.AddrPortFrom(q.client, 0), q.serverName())
		s.routes(l, taken)
		if u == nil {
			a.Why = "no route takes it, and there is no dest: the connection is closed"
			break
		}
		a.relayedTo(cfg, q, s, l, u)
		a.Settings, a.Log = cfg.Places.Settings(cfg, l, nil, u), logOf(cfg, l, nil)
	default:
		a.note("the service decides by itself what it does with a connection: its type is %q", l.Service.Type)
		a.Settings = cfg.Places.Settings(cfg, l, nil, nil)
	}
	a.Steps = s.list
}

// passed says what becomes of a connection to l that a rule on its handshakes leads to u.
func (a *Answer) passed(cfg *config.Config, q *asked, s *steps, l *config.Listener, u *config.Upstream) {
	a.Why = "a rule passes the connection on as it is: there is no request"
	a.relayedTo(cfg, q, s, l, u)
	a.Steps, a.Settings, a.Log = s.list, []config.Setting{}, logOf(cfg, l, nil)
}

// relayedTo says that the connection goes to u.
func (a *Answer) relayedTo(cfg *config.Config, q *asked, s *steps, l *config.Listener, u *config.Upstream) {
	s.relayed(u)
	a.Upstream = upstreamOf(u, &config.Route{}, server.DryRelay(cfg, l, u, q.client, q.serverName()))
	a.Upstream.Protocol = "tcp"
	if a.Upstream.Key != "" && u.ConnectionKey == nil {
		a.Upstream.Key = "client_ip"
	}
	q.noteClient(a, a.Upstream.Key != "")
}

// routes adds which routes of the service l were asked, up to the route that takes the connection.
func (s *steps) routes(l *config.Listener, taken int) {
	for i := range l.Routes {
		r, does := &l.Routes[i], "does not take it"
		if i == taken {
			does = "takes it"
		}
		when := ""
		if r.When != nil {
			when = ": " + r.When.String()
		}
		s.list = append(s.list, Step{Phase: "route", Text: fmt.Sprintf("route %d %s%s", i+1, does, when),
			At: r.Pos.FileLine()})
		if i == taken {
			return
		}
	}
}

// relayed adds what backends of u are sent first, and who takes the connections that none of them can have.
func (s *steps) relayed(u *config.Upstream) {
	const phase = "backend"
	s.addIf(u.ProxyProtocol != "", phase, u, "proxy_protocol",
		"a header of the PROXY protocol (%s) tells it the client, before all else", u.ProxyProtocol)
	s.addIf(u.Failover != "", phase, u, "failover", "where none can be connected to, upstream %s is tried", u.Failover)
}
