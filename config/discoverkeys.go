package config

import (
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/edge-proxy/edge/backend/discovery/locator"
	"github.com/edge-proxy/edge/config/plugins"
	"github.com/edge-proxy/edge/config/schema"
	"github.com/edge-proxy/edge/config/syntax"
	"github.com/edge-proxy/edge/config/value"
)

// Discovery is how an upstream finds further backends, and the addresses of names.
type Discovery struct {
	Sources    []string         `json:",omitempty"` // as package backend/discovery/locator has them
	StaleOK    time.Duration    // how long backends are kept while their source fails; below 0: for ever
	EmptyAfter time.Duration    // how long they are kept while it finds none
	Resolver   []netip.AddrPort `json:",omitempty"` // the DNS servers; none: those of the machine
}

// Equal reports whether a and b say the same.
func (a *Discovery) Equal(b *Discovery) bool {
	return slices.Equal(a.Sources, b.Sources) && slices.Equal(a.Resolver, b.Resolver) && a.StaleOK == b.StaleOK &&
		a.EmptyAfter == b.EmptyAfter
}

const (
	sourcesMax   = 4
	resolversMax = 8
)

var (
	typeSources  = schema.Type{Name: "source or list", Parse: parseSourcesValue}                   // []string
	typeResolver = schema.Type{Name: "IP address or list", Parse: parseResolverValue, Truth: true} // []netip.AddrPort
)

// discoverKey is the key of an upstream that says where it finds backends.
func discoverKey() *schema.Key {
	return &schema.Key{Path: "discover", Type: typeSources, Local: true, Example: `"srv+dns://users.service.consul"`,
		Into: schema.Into(func(e *upstreamEntry) *[]string { return &e.Discovery.Sources }),
		Doc: "Where backends are found, beside those of `backends`: `dns://host:port`, `srv+dns://name`, " +
			"`file:///path`, `etcd://…`, `k8s://…`, `docker://…`, `consul://…`, or the name of one of " +
			"`[discoverers]`, up to four. See [discovery](discovery.md)."}
}

// discoveryKeys are the keys about finding backends that an upstream and the defaults of all upstreams share.
func discoveryKeys() []*schema.Key {
	return []*schema.Key{
		{Path: "stale_ok", Type: schema.Duration, Default: `"forever"`, Min: "1s", Max: "8760h",
			Words: []string{"forever"}, Example: `"10m"`,
			Into: schema.Into(func(e *upstreamEntry) *time.Duration { return &e.Discovery.StaleOK }),
			Doc:  "How long backends that were found are kept while their source fails."},
		{Path: "empty_after", Type: schema.Duration, Default: `"30s"`, Min: "1s", Max: "24h", Example: `"5s"`,
			Into: schema.Into(func(e *upstreamEntry) *time.Duration { return &e.Discovery.EmptyAfter }),
			Doc: "How long they are kept while the source answers that there are none. Three such answers in a " +
				"row remove them sooner."},
		{Path: "resolver", Type: typeResolver, Example: `["10.0.0.53", "10.0.0.54:5353"]`,
			Into: schema.Into(func(e *upstreamEntry) *[]netip.AddrPort { return &e.Discovery.Resolver }),
			Doc: "The DNS servers that are asked for names of backends, one after the other; without it those of " +
				"`/etc/resolv.conf`."},
	}
}

func parseSourcesValue(d *schema.Decoder, _ *schema.Key, n *syntax.Node) (any, bool) {
	var all []string
	right := d.Each(n, "a source", func(c *syntax.Node, s string) bool {
		switch {
		case slices.Contains(all, s):
			d.Report.Errorf(c.Value, "", "%s is there already", syntax.Quote(s))
			return false
		case len(all) == sourcesMax:
			d.Report.Errorf(c.Value, "", "an upstream has %d sources at most", sourcesMax)
			return false
		}
		all = append(all, s)
		return true
	})
	return all, right && d.Filled(n)
}

func parseResolverValue(d *schema.Decoder, _ *schema.Key, n *syntax.Node) (any, bool) {
	var all []netip.AddrPort
	right := d.Each(n, "the address of a DNS server", func(c *syntax.Node, s string) bool {
		server, err := netip.ParseAddrPort(s)
		if err != nil {
			var ip netip.Addr
			ip, err = netip.ParseAddr(strings.Trim(s, "[]"))
			server = netip.AddrPortFrom(ip, 53)
		}
		switch {
		case err != nil || server.Port() == 0:
			d.Report.Errorf(c.Value, `write one such as "10.0.0.53"`, "%s is not the IP address of a DNS server",
				syntax.Quote(s))
			return false
		case len(all) == resolversMax:
			d.Report.Errorf(c.Value, "", "%d DNS servers are enough", resolversMax)
			return false
		}
		all = append(all, server)
		return true
	})
	return all, right && d.Filled(n)
}

// checkSources reports texts of discover that name no source.
func checkSources(r *resolver, e *upstreamEntry) {
	for i, text := range e.Discovery.Sources {
		checkSource(r, text, e.ElementAt("discover", i, len(e.Discovery.Sources)))
	}
}

func checkSource(r *resolver, text string, at syntax.Span) {
	names, _ := plugins.Discoverers.Names(r.file)
	if slices.Contains(names, text) {
		return
	}
	if hint := syntax.DidYouMean(text, names); hint != "" && !strings.Contains(text, "://") {
		r.rep.Errorf(at, hint, "there is no discoverer %s", syntax.Quote(text))
		return
	}
	if _, err := locator.Parse(text, r.sources...); err != nil {
		r.rep.Errorf(at, schemeHint(text, slices.Concat(locator.Schemes, r.sources)), "%v", err)
	}
}

// warnUnusedDiscoverers warns of discoverers that no upstream names.
func warnUnusedDiscoverers(r *resolver) {
	if !r.rep.OK() {
		return
	}
	var used []string
	for i := range r.c.Upstreams {
		used = append(used, r.c.Upstreams[i].Discovery.Sources...)
	}
	plugins.Discoverers.WarnUnused(r.file, used)
}

// schemeHint returns the hint for a text with another scheme than these, or "".
func schemeHint(text string, schemes []string) string {
	scheme, _, _ := strings.Cut(text, "://")
	if slices.Contains(schemes, scheme) {
		return ""
	}
	return syntax.DidYouMean(scheme, schemes)
}

// isSource reports whether a dest says where backends are found.
func isSource(r *resolver, text string) bool {
	scheme, _, ok := strings.Cut(text, "://")
	return ok && (slices.Contains(locator.Schemes, scheme) || slices.Contains(r.sources, scheme))
}

// discoveredUpstream returns the upstream of a dest that says where its backends are found: one for all such dests.
func discoveredUpstream(r *resolver, text string, at syntax.Span) Dest {
	checkSource(r, text, at)
	i, found := r.inline[text]
	if !found {
		i = r.newUpstream(text, at)
		r.inline[text] = i
		r.c.Upstreams[i].Inline, r.c.Upstreams[i].Discovery.Sources = true, []string{text}
	}
	return Dest{Kind: DestUpstream, Upstream: i}
}

// Registration is what others find of a listener, or of a service beside edge.
type Registration struct {
	To       string         // as package backend/discovery/locator has it
	Name     string         `json:",omitempty"` // among the instances of the service; empty: its address
	Listener string         `json:",omitempty"` // whose address it is; empty: Address has a port
	Address  value.Endpoint // without a port: that of Listener; without a host: that of the machine
	Weight   int
	Zone     string        `json:",omitempty"`
	TTL      time.Duration // others find it so long after the process has died
	Linger   time.Duration // between its withdrawal and the end of accepting
	Check    string        `json:",omitempty"` // the path that Consul asks for; empty: none
	Pos      Pos
}

type registerEntry struct {
	schema.Given
	Registration
}

func registerSection() *schema.Section {
	return &schema.Section{
		Path: "register", Shape: schema.List, Single: true, New: schema.Make[registerEntry],
		Doc: "Has others find this process, or a service beside it, by the sources of their `discover`. It is " +
			"withdrawn before the process stops accepting. See [discovery](discovery.md#registration).",
		Keys: registerKeys(),
	}
}

func registerKeys() []*schema.Key {
	return []*schema.Key{
		{Path: "to", Type: schema.String, Local: true, Example: `"etcd://10.0.0.5:2379/users/"`,
			Into: schema.Into(func(e *registerEntry) *string { return &e.To }),
			Doc: "Where others look: `etcd://host:port,host:port/prefix`, `consul://host:port/service` or " +
				"`file:///path`, as in `discover`."},
		{Path: "name", Type: schema.String, Example: `"users-1"`,
			Into: schema.Into(func(e *registerEntry) *string { return &e.Name }),
			Doc: "Its name among the instances of the service: the end of the key in etcd, the ID in Consul. " +
				"Without it, its address. One of the same name takes its place."},
		{Path: "listener", Type: schema.String, Example: `"internal"`,
			Into: schema.Into(func(e *registerEntry) *string { return &e.Listener }),
			Doc:  "The name of the listener whose address is registered. Without it, the first one."},
		{Path: "address", Type: typeAdvertised, Example: `"10.0.0.7"`,
			Into: schema.Into(func(e *registerEntry) *value.Endpoint { return &e.Address }),
			Doc: "The address that others connect to. Without a port it has that of the listener. Without a host it " +
				"has the address by which this machine reaches the registry, or that of the agent of Consul, or " +
				"127.0.0.1 for a file. With both it may be that of another service."},
		{Path: "weight", Type: schema.Int, Default: "1", Min: "1", Max: "65535", Example: "3",
			Into: schema.Into(func(e *registerEntry) *int { return &e.Weight }),
			Doc:  "Its share of the requests of others."},
		{Path: "zone", Type: schema.String, Example: `"b"`,
			Into: schema.Into(func(e *registerEntry) *string { return &e.Zone }),
			Doc:  "The zone that others are told."},
		{Path: "ttl", Type: schema.Duration, Default: `"15s"`, Min: "2s", Max: "1h", Example: `"30s"`,
			Into: schema.Into(func(e *registerEntry) *time.Duration { return &e.TTL }),
			Doc:  "How long others find it after the process has died. It is renewed each third of that time."},
		{Path: "linger", Type: schema.Duration, Default: `"1s"`, Min: "0s", Max: "1m", Example: `"5s"`,
			Into: schema.Into(func(e *registerEntry) *time.Duration { return &e.Linger }),
			Doc: "How long the process goes on accepting after it was withdrawn, so that others hear of it. Nothing " +
				"waits where it was never registered."},
		{Path: "check", Type: typeTarget, Example: `"/healthz"`,
			Into: schema.Into(func(e *registerEntry) *string { return &e.Check }),
			Doc: "Of `consul://`: the path that Consul asks for by HTTP each third of `ttl`. Without it, edge tells " +
				"Consul that it serves."},
	}
}

// typeAdvertised is an address that may lack its host or its port: value.Endpoint.
var typeAdvertised = schema.Type{Name: "host:port, host, :port or unix:/path", Parse: func(
	d *schema.Decoder, _ *schema.Key, n *syntax.Node,
) (any, bool) {
	s, ok := d.String(n, "an address")
	if !ok {
		return nil, false
	}
	whole, lacksPort := s, false
	if strings.HasPrefix(s, ":") {
		whole = "any" + s
	} else if ip, err := netip.ParseAddr(strings.Trim(s, "[]")); err == nil {
		whole, lacksPort = netip.AddrPortFrom(ip, 1).String(), true
	} else if !strings.ContainsAny(s, ":/") {
		whole, lacksPort = s+":1", true
	}
	e, wrong, hint := value.ParseEndpoint(whole)
	switch {
	case wrong != "":
		d.Report.Errorf(n.Value, hint, "%s", wrong)
	case lacksPort:
		e.Port = 0
	case whole != s:
		e.Host = ""
	}
	return e, wrong == ""
}}

// resolveRegistrations adds the registrations to the Config.
func resolveRegistrations(r *resolver) {
	type id struct{ to, name, listener, address string }
	known := make(map[id]*registerEntry)
	for _, e := range r.doc.registrations {
		r.file.Fill(e)
		e.Pos = e.Node().Head.Pos()
		if e.Lacks("to") {
			r.rep.Errorf(e.Node().Head, `add to = "etcd://host:2379/name/", or consul://, or file://`,
				"it is not said where this is registered")
		}
		checkRegistration(r, e)
		by := id{e.To, e.Name, e.Listener, e.Address.String()}
		if e.Name != "" {
			by = id{to: e.To, name: e.Name}
		}
		if old := known[by]; old != nil && !e.Failed("to") && !e.Lacks("to") {
			at, first := e.Node().Head, old.Node().Head
			r.rep.Conflictf(at, first, "leave one of them out, or give each a name", "this is registered at %s already",
				first.RelativeTo(at))
		}
		known[by] = e
		r.c.Registrations = append(r.c.Registrations, e.Registration)
	}
}

// checkRegistration reports values of an entry that do not go together, and gives it its listener.
func checkRegistration(r *resolver, e *registerEntry) {
	scheme, _, _ := strings.Cut(e.To, "://")
	if _, err := locator.ParseRegistry(e.To, r.registries...); e.To != "" && err != nil {
		r.rep.Errorf(e.At("to"), schemeHint(e.To, slices.Concat(locator.Registries, r.registries)), "%v", err)
	}
	for _, word := range []struct{ key, text string }{{"name", e.Name}, {"zone", e.Zone}} {
		if strings.ContainsAny(word.text, " \t\r\n/#\x00") {
			r.rep.Errorf(e.At(word.key), "", "a %s has no blank, slash or number sign", word.key)
		}
	}
	switch {
	case e.Check != "" && scheme != "consul":
		r.rep.Errorf(e.At("check"), "leave it out", "only Consul asks instances itself")
	case e.Address.Unix != "" && (scheme == "consul" || scheme == "etcd"):
		r.rep.Errorf(e.At("address"), "", "%s takes host:port alone", scheme)
	}
	switch own := e.Address.Port != 0 || e.Address.Unix != ""; {
	case own && e.Has("listener"):
		r.rep.Errorf(e.At("listener"), "leave one of them out",
			"this is the address of a listener, and another one in \"address\"")
	case !own && e.Listener == "" && len(r.c.Listeners) > 0:
		e.Listener = r.c.Listeners[0].Name
	case e.Listener != "" && !slices.ContainsFunc(r.c.Listeners, func(l Listener) bool { return l.Name == e.Listener }):
		var names []string
		for i := range r.c.Listeners {
			names = append(names, r.c.Listeners[i].Name)
		}
		r.rep.Errorf(e.At("listener"), syntax.DidYouMean(e.Listener, names), "there is no listener %s",
			syntax.Quote(e.Listener))
	}
}
