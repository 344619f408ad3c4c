package config

import (
	"cmp"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/edge-proxy/edge/internal/config/plugins"
	"github.com/edge-proxy/edge/internal/config/schema"
	"github.com/edge-proxy/edge/internal/config/syntax"
	"github.com/edge-proxy/edge/internal/plugin"
	"github.com/edge-proxy/edge/lang"
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
		case known && len(e.ownKeys()) > 0:
			r.rep.Errorf(e.At(e.ownKeys()[0]), "leave it out, or give this one another name",
				"the program has a service %s of its own", syntax.Quote(e.Name))
		case known:
			e.Service = &plugins.Services.OfProgram([]string{e.Name})[0]
		case e.Lacks("type") && len(e.ownKeys()) == 0 && len(schema.Inside(e)) == 0:
			hint := "edge modules lists the types of services of this program"
			if near := syntax.DidYouMean(e.Name, own); near != "" {
				hint = near
			}
			r.rep.Errorf(e.Node().Head, hint, "a service needs %q or %q: the program has none that is called %s",
				"dest", "type", syntax.Quote(e.Name))
		case e.Struct != nil:
			e.Type = cmp.Or(e.Type, TypeTCP)
			e.Service = plugins.Services.Define(r.rep, &e.Held, e.Type, r.c.Language, try)
		}
		for _, key := range []string{"access_log", "access_log.path", "access_log.format"} {
			if e.Type != TypeTCP && e.Has(key) {
				r.rep.Warnf(schema.CodeNoEffect, e.Head(key), "",
					"edge logs the connections of services of the type %q alone", TypeTCP)
			}
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

// ownKeys returns the keys of e that its type has.
func (e *listenerEntry) ownKeys() (paths []string) {
	for _, k := range plugins.Services.Variants().List {
		for _, k := range k.Keys {
			if k.Path != "type" && e.Has(k.Path) {
				paths = append(paths, k.Path)
			}
		}
	}
	return paths
}

// TypeTCP is the type of services that relay connections to backends, and of services without a type.
const TypeTCP = "tcp"

// relayKeys are the keys of a service of the type tcp.
type relayKeys struct {
	Dest     string `edge:"dest" doc:"Backends, an upstream or addresses, where no route leads elsewhere." example:"db"`
	Peek     bool   `edge:"peek" doc:"Read the name of a TLS handshake, for routes, and pass TLS on as it comes."`
	StartTLS string `edge:"starttls" doc:"Words by which clients ask for TLS." enum:"postgres"`

	Idle time.Duration `edge:"timeouts.idle" doc:"Time a connection may be idle." default:"1h" min:"1s" max:"8760h"`
}

func init() {
	plugin.Register(plugin.Services, TypeTCP,
		"Relays connections of TCP to backends: see [TCP services](tcp.md). It is the type of a service that has none.",
		// A server makes the service, since it has the backends.
		func(*relayKeys, *plugin.Build) (*plugin.Service, error) { return &plugin.Service{}, nil })
}

// Relay is what a service of the type tcp does, beside its Routes.
type Relay struct {
	Upstream int // its index in Upstreams, for connections that no route takes; below 0: there is none
	Peek     bool
	Postgres bool // clients ask for TLS as clients of PostgreSQL do
	Idle     time.Duration
}

// IdleDefault is Relay.Idle of a service that does not say any, and for connections that a rule on handshakes leads
// elsewhere.
const IdleDefault = time.Hour

// ServiceRoute leads connections of a service to an upstream.
type ServiceRoute struct {
	// Condition of [the language](DSL.md) on connections that the route takes; it knows `tls.sni` and `tls.alpn` of a
	// handshake that was read, the addresses and the listener. Without it, all connections.
	// Example: 'tls.sni == "db.example.org"'
	When *lang.Condition `edge:"when" json:",omitempty"`
	// Backends, as `dest` of the service.
	Dest string `edge:"dest" example:"db"`

	Upstream int // its index in Upstreams
	Pos      Pos
}

type serviceRouteEntry struct {
	schema.Given
	ServiceRoute
}

// httpKeys are keys of upstreams that mean nothing for connections below HTTP.
var httpKeys = []string{"protocol", "host", "via", "sticky.cookie", "retry.on", "retry.per_try", "retry.hedge_after",
	"timeouts.first_byte", "timeouts.read", "timeouts.total", "tls.alpn", "breaker.adaptive",
	"breaker.max_retries", "pool.queue", "pool.queue_timeout", "pool.max_per_backend"}

// resolveRelays finds the upstreams that services of the type tcp, and rules on handshakes, lead to.
func resolveRelays(r *resolver) {
	ruled := func(entries []schema.Target, list []TLSRule) {
		for i, e := range schema.All[*tlsRuleEntry](entries)[:len(list)] { // none where there is no TLS
			if e.Dest != "" {
				list[i].Upstream = r.relayDest(e.Dest, e.At("dest"), "a rule on handshakes")
			}
		}
	}
	ruled(r.file.Entries(tlsRulesPath), r.c.TLS.Rules)
	for _, e := range slices.Concat(r.doc.listeners, r.doc.services) {
		ruled(schema.Inside(e), e.TLSRules)
	}
	for i, e := range r.doc.services {
		routes := schema.All[*serviceRouteEntry](schema.Inside(e))
		keys, ok := e.Struct.(*relayKeys)
		if !ok || e.Service == nil || e.Type != TypeTCP {
			if len(routes) > 0 {
				r.rep.Errorf(routes[0].Node().Head, `leave "type" out of the service`,
					"routes are for services of the type tcp")
			}
			continue
		}
		to := Relay{Upstream: -1, Peek: keys.Peek, Postgres: keys.StartTLS != "", Idle: keys.Idle}
		r.c.Services[i].Routes = routesOf(r, e, routes)
		e.checkPeek(r.rep, keys)
		if keys.Dest != "" {
			to.Upstream = r.relayDest(keys.Dest, e.At("dest"), "a service")
		} else if e.Lacks("dest") && len(routes) == 0 {
			r.rep.Errorf(e.Node().Head, `write dest = "db"`, "a service of type %q needs %q", TypeTCP, "dest")
		}
		if r.c.Relays == nil {
			r.c.Relays = make(map[string]Relay)
		}
		r.c.Relays[e.Name] = to
	}
	r.doc.reportLoop(r.c, r.rep)
	http, relays := r.c.usedUpstreams(r.leads)
	r.doc.checkRelayed(r.c, r.rep, http, relays)
}

// relayDest returns the index of the upstream that text names, below 0 where it names none, for what leads connections
// there.
func (r *resolver) relayDest(text string, at syntax.Span, what string) int {
	if scheme, rest, found := strings.Cut(text, "://"); found && (scheme == "http" || scheme == "h2c") {
		r.rep.Errorf(at, "write "+syntax.Quote(rest), "%s:// is HTTP, which %s does not speak", scheme, what)
		return -1
	}
	switch to := r.parseDest(text, at); {
	case to.Kind != DestUpstream:
		r.rep.Errorf(at, `name an upstream, or an address such as "10.0.0.7:5432"`,
			"%s leads to backends alone, not to %s", what, syntax.Quote(text))
	case len(r.c.Upstreams) > 0: // else what text says is wrong
		return to.Upstream
	}
	return -1
}

// routesOf returns the routes of the service e.
func routesOf(r *resolver, e *listenerEntry, entries []*serviceRouteEntry) (list []ServiceRoute) {
	var all *serviceRouteEntry // that takes all connections
	for _, one := range entries {
		r.file.Fill(one)
		one.Pos, one.Upstream = one.Node().Head.Pos(), -1
		if one.Has("when") && !one.Failed("when") {
			one.When = r.c.Language.Condition(r.rep, one.KeyNode("when"), lang.Handshake)
		}
		if one.Dest != "" {
			one.Upstream = r.relayDest(one.Dest, one.At("dest"), "a service")
		} else if one.Lacks("dest") {
			r.rep.Errorf(one.Node().Head, `write dest = "db"`, "a route of a service needs %q", "dest")
		}
		switch {
		case all != nil:
			r.rep.WarnConflictf(schema.CodeNoEffect, one.Node().Head, all.Node().Head, "the route at %s takes all "+
				"connections before this one", all.Node().Head.RelativeTo(one.Node().Head))
		case one.Lacks("when"):
			all = one
		case one.When != nil && strings.Contains(one.When.String(), "tls.") && e.TLS == TLSOff && !e.peeks():
			r.rep.Warnf(schema.CodeNoEffect, one.At("when"), "add peek = true to the service",
				"no handshake is read, so this is never known")
		}
		list = append(list, one.ServiceRoute)
	}
	return list
}

// peeks reports whether e reads handshakes that are not for it.
func (e *listenerEntry) peeks() bool {
	keys, ok := e.Struct.(*relayKeys)
	return ok && keys.Peek
}

// checkPeek checks the keys of a service about handshakes.
func (e *listenerEntry) checkPeek(rep *syntax.Report, keys *relayKeys) {
	switch {
	case keys.Peek && e.TLS != TLSOff:
		rep.Errorf(e.At("peek"), "leave it out: routes know the name of the handshake", "this service ends TLS itself")
	case keys.StartTLS != "" && !keys.Peek && e.TLS == TLSOff:
		rep.Errorf(e.At("starttls"), "add peek = true, which passes TLS on, or a cert, which ends it here",
			"this service reads no handshake")
	}
}

// checkRelayed checks the keys of upstreams that connections are led to: they are in relays, and in http where requests
// are led there too.
func (d *document) checkRelayed(c *Config, rep *syntax.Report, http, relays map[string]bool) {
	for _, e := range d.upstreams {
		switch key := e.HashKey; {
		case !relays[e.Name] || !e.Has("hash_key") || key.Of == "" || key.Of == "client_ip":
		case key.Text() != "":
			own := rep
			if http[e.Name] {
				own = &syntax.Report{} // it may be for requests alone
			}
			c.Upstream(e.Name).ConnectionKey = c.Language.Template(own, e.KeyNode("hash_key"), lang.Handshake)
		case !http[e.Name]:
			rep.Errorf(e.At("hash_key"), `write a text of a handshake, such as "{tls.sni}", or leave it out`,
				"%q is part of a request, and no route leads to upstream %s", key.String(), syntax.Quote(e.Name))
		}
		if e.ProxyProtocol != "" && http[e.Name] {
			rep.Errorf(e.At("proxy_protocol"), "have a service alone lead there",
				"a connection of HTTP has requests of many clients, and a route leads to upstream %s",
				syntax.Quote(e.Name))
		}
		if relays[e.Name] && !http[e.Name] {
			for _, path := range httpKeys {
				if e.Has(path) {
					rep.Errorf(e.At(path), "leave it out", "%q is for HTTP, and no route leads to upstream %s", path,
						syntax.Quote(e.Name))
				}
			}
		}
	}
}

// RelayedTo returns the upstreams that connections of l are led to as they are, by a service or by rules on handshakes.
func (c *Config) RelayedTo(l *Listener) (upstreams []int) {
	if to, ok := c.Relays[l.Name]; ok {
		upstreams = append(upstreams, to.Upstream)
	}
	for i := range l.Routes {
		upstreams = append(upstreams, l.Routes[i].Upstream)
	}
	if l.TLS != TLSOff {
		for _, rule := range c.HandshakeRules(l) {
			if rule.Dest != "" {
				upstreams = append(upstreams, rule.Upstream)
			}
		}
	}
	return slices.DeleteFunc(upstreams, func(i int) bool { return i < 0 })
}

// reportLoop reports the first listener whose connections are led to itself, maybe by others: one connection would make
// others until no descriptor is left.
func (d *document) reportLoop(c *Config, rep *syntax.Report) {
	for i, e := range slices.Concat(d.listeners, d.services) {
		if l := c.Listening()[i]; c.comesTo(l, l, make(map[*Listener]bool)) {
			at := e.Node().Head
			if e.service && e.Has("dest") {
				at = e.At("dest")
			}
			rep.Errorf(at, "lead to other addresses", "%s %s leads to itself", e.noun(), syntax.Quote(l.Name))
			return
		}
	}
}

// comesTo reports whether connections of the listener from are led to the listener to, maybe by listeners that are not
// in seen.
func (c *Config) comesTo(from, to *Listener, seen map[*Listener]bool) bool {
	seen[from] = true
	for _, i := range c.RelayedTo(from) {
		for u := &c.Upstreams[i]; u != nil; u = c.Upstream(u.Failover) {
			for _, s := range c.Listening() {
				if slices.ContainsFunc(u.Backends, s.listensFor) && (s == to || !seen[s] && c.comesTo(s, to, seen)) {
					return true
				}
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
