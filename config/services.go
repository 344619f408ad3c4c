package config

import (
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/edge-proxy/edge/config/plugins"
	"github.com/edge-proxy/edge/config/syntax"
	"github.com/edge-proxy/edge/plugin"
)

// resolveServices adds the services to the Config. own are services of the program, which have no type, and taken the
// names of listeners. With try each service is made once, and given up, to see whether it can be.
func resolveServices(r *resolver, own []string, taken map[string]syntax.Span, try bool) {
	for _, e := range r.doc.services {
		r.resolveListening(e)
		r.requireUniqueName(taken, e.Name, e.Node().Head, "listener")
		switch known := slices.Contains(own, e.Name); {
		case known && e.Has("type"):
			r.rep.Errorf(e.At("type"), "leave it out, or give this one another name",
				"the program has a service %s of its own", syntax.Quote(e.Name))
		case known:
			e.Service = &plugins.Services.OfProgram([]string{e.Name})[0]
		case e.Lacks("type"):
			hint := "edge modules lists the types of services of this program"
			if near := syntax.DidYouMean(e.Name, own); near != "" {
				hint = near
			}
			r.rep.Errorf(e.Node().Head, hint, "a service needs %q: the program has none that is called %s", "type",
				syntax.Quote(e.Name))
		case e.Struct != nil:
			e.Service = plugins.Services.Define(r.rep, &e.Held, e.Type, r.c.Language, try)
		}
		if e.TLS == TLSAuto {
			r.rep.Errorf(e.At("tls"), "write true or false", "a service takes TLS or does not: %q is for HTTP", "auto")
		}
		if e.Service != nil {
			r.c.Defined = append(r.c.Defined, *e.Service)
		}
		r.c.Services = append(r.c.Services, e.Listener)
	}
	for _, name := range own {
		if !slices.ContainsFunc(r.doc.services, func(e *listenerEntry) bool { return e.Name == name }) {
			r.rep.Errorf(syntax.Span{}, "add [services."+name+"] with listen",
				"the service %s of the program has no address", syntax.Quote(name))
		}
	}
}

// TypeTCP is the type of services that relay connections to backends.
const TypeTCP = "tcp"

// relayKeys are the keys of a service of the type tcp.
type relayKeys struct {
	Dest string `edge:"dest" doc:"Backends: an upstream by name, or addresses." required:"true" example:"db"`

	Idle time.Duration `edge:"timeouts.idle" doc:"Time a connection may be idle." default:"1h" min:"1s" max:"8760h"`
}

func init() {
	plugin.Register(plugin.Services, TypeTCP, "Relays connections of TCP to backends.",
		// A server makes the service, since it has the backends.
		func(*relayKeys, *plugin.Build) (*plugin.Service, error) { return &plugin.Service{}, nil })
}

// Relay is what a service of the type tcp does.
type Relay struct {
	Upstream int // its place in Upstreams
	Idle     time.Duration
}

// httpKeys are keys of upstreams that mean nothing for connections below HTTP.
var httpKeys = []string{"protocol", "host", "via", "sticky.cookie", "retry.on", "retry.per_try", "retry.hedge_after",
	"timeouts.first_byte", "timeouts.read", "timeouts.total", "hash_key", "tls.alpn", "breaker.adaptive",
	"breaker.max_retries", "pool.queue", "pool.queue_timeout", "pool.max_per_backend"}

// resolveRelays finds the upstreams that services of the type tcp lead to.
func resolveRelays(r *resolver) {
	for _, e := range r.doc.services {
		keys, ok := e.Struct.(*relayKeys)
		if !ok || keys.Dest == "" {
			continue
		}
		if scheme, rest, found := strings.Cut(keys.Dest, "://"); found && (scheme == "http" || scheme == "h2c") {
			r.rep.Errorf(e.At("dest"), "write "+syntax.Quote(rest), "%s:// is HTTP, which no service speaks", scheme)
			continue
		}
		to := r.parseDest(keys.Dest, e.At("dest"))
		switch {
		case to.Kind != DestUpstream:
			r.rep.Errorf(e.At("dest"), `name an upstream, or an address such as "10.0.0.7:5432"`,
				"a service leads to backends alone, not to %s", syntax.Quote(keys.Dest))
			continue
		case len(r.c.Upstreams) == 0:
			continue // what dest says is wrong
		}
		if r.c.Relays == nil {
			r.c.Relays = make(map[string]Relay)
		}
		r.c.Relays[e.Name] = Relay{Upstream: to.Upstream, Idle: keys.Idle}
	}
	r.doc.reportLoop(r.c, r.rep)
	http, relays := r.c.usedUpstreams(r.leads)
	for _, e := range r.doc.upstreams {
		if e.ProxyProtocol != "" && http[e.Name] {
			r.rep.Errorf(e.At("proxy_protocol"), "have a service alone lead there",
				"a connection of HTTP has requests of many clients, and a route leads to upstream %s",
				syntax.Quote(e.Name))
		}
		if relays[e.Name] && !http[e.Name] {
			for _, path := range httpKeys {
				if e.Has(path) {
					r.rep.Errorf(e.At(path), "leave it out", "%q is for HTTP, and no route leads to upstream %s", path,
						syntax.Quote(e.Name))
				}
			}
		}
	}
}

// reportLoop reports the first service that leads to itself, maybe by other services: one connection would make
// others until no descriptor is left.
func (d *document) reportLoop(c *Config, rep *syntax.Report) {
	for _, e := range d.services {
		if _, ok := c.Relays[e.Name]; ok && c.comesTo(e.Name, &e.Listener, make(map[string]bool)) {
			rep.Errorf(e.At("dest"), "lead to other addresses", "service %s leads to itself", syntax.Quote(e.Name))
			return
		}
	}
}

// comesTo reports whether the service of the name from leads to the service to, maybe by services that are not in seen.
func (c *Config) comesTo(from string, to *Listener, seen map[string]bool) bool {
	seen[from] = true
	for u := &c.Upstreams[c.Relays[from].Upstream]; u != nil; u = c.Upstream(u.Failover) {
		for i := range c.Services {
			s := &c.Services[i]
			if !slices.ContainsFunc(u.Backends, s.listensFor) {
				continue
			}
			_, relays := c.Relays[s.Name]
			if s.Name == to.Name || relays && !seen[s.Name] && c.comesTo(s.Name, to, seen) {
				return true
			}
		}
	}
	return false
}

// listensFor reports whether l has the address of b, as far as the texts of both tell.
func (l *Listener) listensFor(b Backend) bool {
	host := strings.Replace(b.Host, "localhost", "127.0.0.1", 1)
	ip, _ := netip.ParseAddr(host)
	return slices.ContainsFunc(l.Addresses, func(a Address) bool {
		if a.Network == "unix" || b.Unix != "" {
			return a.Network == "unix" && a.Path == b.Unix
		}
		all := a.Host == "" || a.Host == "*" || a.Host == "0.0.0.0" || a.Host == "::"
		return a.Port != 0 && a.Port == b.Port && (a.Host == host || a.Host == b.Host || all && ip.IsLoopback())
	})
}
