package config

import (
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/edge-proxy/edge/backend/discovery/locator"
	"github.com/edge-proxy/edge/config/schema"
	"github.com/edge-proxy/edge/config/syntax"
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
	return &schema.Key{Path: "discover", Type: typeSources, Example: `"srv+dns://users.service.consul"`,
		Into: schema.Into(func(e *upstreamEntry) *[]string { return &e.Discovery.Sources }),
		Doc: "Where backends are found, beside those of `backends`: `dns://host:port`, `srv+dns://name`, " +
			"`file:///path`, `etcd://…`, `k8s://…`, `docker://…`, `consul://…`, up to four. See " +
			"[discovery](discovery.md)."}
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
	if _, err := locator.Parse(text, r.sources...); err != nil {
		scheme, _, _ := strings.Cut(text, "://")
		r.rep.Errorf(at, syntax.DidYouMean(scheme, slices.Concat(locator.Schemes, r.sources)), "%v", err)
	}
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
