package config

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/edge-proxy/edge/internal/config/plugins"
	"github.com/edge-proxy/edge/internal/config/schema"
	"github.com/edge-proxy/edge/internal/config/syntax"
	"github.com/edge-proxy/edge/internal/config/value"
	"github.com/edge-proxy/edge/internal/discovery/locator"
)

// Discovery is how an upstream finds further backends, and the addresses of names.
type Discovery struct {
	// Sources of backends, beside `backends`: `dns://host:port`, `srv+dns://name`, `file:///path`, `etcd://…`,
	// `k8s://…`, `docker://…`, `consul://…`, or a name of `[discoverers]`; up to four. See [discovery](discovery.md).
	// Example: "srv+dns://users.service.consul"
	Sources []string `edge:"discover" kind:"sources" local:"true" json:",omitempty"`
	// Time that backends which were found are kept while their source fails.
	// Example: "10m"
	StaleOK time.Duration `edge:"stale_ok" default:"forever" words:"forever" min:"1s" max:"8760h" show:".discover"`
	// Time that backends which were found are kept while their source answers that there are none. Three such answers
	// in a row remove them sooner.
	EmptyAfter time.Duration `edge:"empty_after" default:"30s" min:"1s" max:"24h" example:"5s" show:".discover"`
	// DNS servers to ask for names of backends, in turn until one answers; default: the servers of `/etc/resolv.conf`.
	// Example: ["10.0.0.53", "10.0.0.54:5353"]
	Resolver []netip.AddrPort `edge:"resolver" json:",omitempty"`
}

// Equal reports whether a and b say the same.
func (a *Discovery) Equal(b *Discovery) bool {
	return slices.Equal(a.Sources, b.Sources) && slices.Equal(a.Resolver, b.Resolver) && a.StaleOK == b.StaleOK &&
		a.EmptyAfter == b.EmptyAfter
}

const sourcesMax = 4

var typeSources = schema.Type{Name: "source or list", Parse: schema.FilledListOf("a source", sourceOf)} // []string

func sourceOf(before []string, s string) (source, wrong, hint string) {
	switch {
	case slices.Contains(before, s):
		return s, syntax.Quote(s) + " is there already", ""
	case len(before) == sourcesMax:
		return s, fmt.Sprintf("an upstream has %d sources at most", sourcesMax), ""
	}
	return s, "", ""
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
	// Registry to write to: `etcd://host:port,host:port/prefix`, `consul://host:port/service` or `file:///path`, as in
	// `discover`.
	To string `edge:"to" example:"etcd://10.0.0.5:2379/users/" local:"true"`
	// Name among the instances of the service: the end of the key in etcd, the ID in Consul. Default: the address. A
	// new entry of the same name replaces the old entry.
	Name string `edge:"name" example:"users-1" json:",omitempty"`
	// Name of the listener whose address is registered. Default: the first listener.
	Listener string `edge:"listener" example:"internal" json:",omitempty"`
	// Address that clients connect to. Without a port it has the port of the listener. Without a host it has the
	// address by which this machine reaches the registry, or the address of the agent of Consul, or 127.0.0.1 for a
	// file. With both it may be the address of another service.
	Address value.Endpoint `edge:"address" kind:"advertised" example:"10.0.0.7"`
	// Weight in the registry: the share of its clients' requests.
	Weight int `edge:"weight" default:"1" min:"1" max:"65535" example:"3"`
	// Zone to write to the registry.
	Zone string `edge:"zone" example:"b" json:",omitempty"`
	// Time that the entry outlives a process that died. It is renewed each third of that time.
	TTL time.Duration `edge:"ttl" default:"15s" min:"2s" max:"1h" example:"30s"`
	// Time the process goes on accepting after its entry was withdrawn, so that clients hear of it. Nothing waits where
	// the process was never registered.
	Linger time.Duration `edge:"linger" default:"1s" min:"0s" max:"1m" example:"5s"`
	// Path that Consul asks for by HTTP each third of `ttl`. Without it, edge tells Consul that it serves.
	Check string `edge:"check" kind:"target" example:"/healthz" json:",omitempty"`

	Pos Pos
}

type registerEntry struct {
	schema.Given
	Registration
}

// typeAdvertised is an address that may lack its host or its port: value.Endpoint.
var typeAdvertised = schema.Type{Name: "host:port, host, :port or unix:/path",
	Parse: schema.TextOf("an address", advertisedOf)}

func advertisedOf(s string) (e value.Endpoint, wrong, hint string) {
	whole, lacksPort := s, false
	if strings.HasPrefix(s, ":") {
		whole = "any" + s
	} else if ip, err := netip.ParseAddr(strings.Trim(s, "[]")); err == nil {
		whole, lacksPort = netip.AddrPortFrom(ip, 1).String(), true
	} else if !strings.ContainsAny(s, ":/") {
		whole, lacksPort = s+":1", true
	}
	e, wrong, hint = value.ParseEndpoint(whole)
	if lacksPort {
		e.Port = 0
	} else if whole != s {
		e.Host = ""
	}
	return e, wrong, hint
}

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
