package changes

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/edge-proxy/edge/internal/base/yield"
	"github.com/edge-proxy/edge/internal/config"
	"github.com/edge-proxy/edge/internal/config/schema"
	"github.com/edge-proxy/edge/internal/plugin"
)

type part struct {
	kind, name string
	value      any                    // a pointer to what the configuration has of it
	changed    func(was any) []string // the keys that differ; nil: value has no keys
}

// keyed returns the part of a value that has keys.
func keyed[T interface{ ChangedKeys(next T) []string }](kind, name string, value T) part {
	return part{kind, name, value, func(was any) []string { return was.(T).ChangedKeys(value) }}
}

func (p *part) title() string { return titleOf(p.kind, p.name) }

// id tells a part from others of its configuration: packages may extend a section by keys, whose values have a type of
// their own.
func (p *part) id() [3]any { return [3]any{p.kind, p.name, reflect.TypeOf(p.value)} }

// routePart is a route with its destination by name: its index says nothing in another configuration, and neither does
// the number of its entry.
type routePart struct {
	of *config.Route // without Dest.Upstream and Entry
	to string
}

// partsOf returns the parts of c, in the order of its fields.
func partsOf(c *config.Config) []part {
	all := make([]part, 0, 8+len(c.Certificates)+len(c.Listeners)+len(c.Upstreams)+len(c.Routes))
	all = append(all, keyed("global", "", &c.Global), keyed("log", "", &c.Log), keyed("tls", "", &c.TLS),
		part{kind: "filters", value: &c.Filters})
	if len(c.Rules) > 0 {
		all = append(all, part{kind: "rules", value: &c.Rules})
	}
	if len(c.ErrorPages) > 0 {
		all = append(all, part{kind: "error_pages", value: &c.ErrorPages})
	}
	all = append(all, tablesOf(c)...)
	for i := range c.Certificates {
		all = append(all, keyed("certificate", c.Certificates[i].Cert, &c.Certificates[i]))
	}
	for _, l := range c.Listening() {
		kind := "listener"
		if l.Service != nil {
			kind = l.Service.Kind.Name
		}
		all = append(all, keyed(kind, l.Name, l))
	}
	for i := range c.Defined {
		if c.Defined[i].Kind == plugin.Services {
			continue // it is a part with its addresses
		}
		all = append(all, keyed(c.Defined[i].Kind.Name, c.Defined[i].Name, &c.Defined[i]))
	}
	for i := range yield.Over(len(c.Upstreams)) {
		u := c.Upstreams[i]
		if !u.TLS.On { // [upstream_defaults.tls] says nothing of it
			u.TLS = config.UpstreamTLS{Verify: true}
		}
		all = append(all, keyed("upstream", u.Name, &u))
	}
	for i := range yield.Over(len(c.Routes)) {
		all = append(all, partOfRoute(c, &c.Routes[i]))
	}
	for i := range c.Registrations {
		r := &c.Registrations[i]
		all = append(all, keyed("register", strings.TrimSpace(r.To+" "+r.Name), r))
	}
	for _, f := range c.Features {
		all = append(all, part{kind: schema.SectionOf(f).Path, value: f})
	}
	number(all)
	return all
}

// tablesOf returns the lists, the maps, the secrets and [geo]. What files have is not among it: a reload reads them
// again.
func tablesOf(c *config.Config) (all []part) {
	for i := range c.Lists {
		all = append(all, keyed("list", c.Lists[i].Name, &c.Lists[i]))
	}
	for i := range c.Maps {
		all = append(all, keyed("map", c.Maps[i].Name, &c.Maps[i]))
	}
	for _, name := range slices.Sorted(maps.Keys(c.Secrets)) {
		secret := c.Secrets[name]
		all = append(all, part{kind: "secret", name: name, value: &secret})
	}
	if len(c.Geo.Databases) > 0 {
		all = append(all, keyed("geo", "", &c.Geo))
	}
	return all
}

func partOfRoute(c *config.Config, r *config.Route) part {
	one, name := *r, r.Name
	if r.Host != "" && r.Name != "" {
		name += " (" + r.Host + ")"
	}
	one.Dest.Upstream, one.Entry = 0, 0
	to := c.DestText(&r.Dest)
	if k := r.Dest.Kind; k == config.DestStatus || k == config.DestRedirect {
		to = k.String() + ":" + to
	}
	return part{kind: "route", name: name, value: &routePart{&one, r.Dest.Before(to)}}
}

// number makes equal names different: names of certificates in one file.
func number(all []part) {
	times := make(map[[3]any]int, len(all))
	for i := range yield.Over(len(all)) {
		id := all[i].id()
		if times[id]++; times[id] > 1 {
			all[i].name += " #" + strconv.Itoa(times[id])
		}
	}
}

type address struct {
	network, host, path string
	port                int
}

func addressOf(a *config.Address) address { return address{a.Network, a.Host, a.Path, a.Port} }

func addressesOf(c *config.Config) map[address]bool {
	all := make(map[address]bool)
	for _, l := range c.Listening() {
		for _, a := range l.Addresses {
			all[addressOf(&a)] = true
		}
	}
	return all
}

// comparison adds to the parts that differ what that means.
type comparison struct {
	old, next *config.Config
	addresses [2]map[address]bool // of old and next
}

// added describes a part that old does not have.
func (c *comparison) added(p *part) Entry {
	e := Entry{Action: Added, Kind: p.kind, Name: p.name}
	switch v := p.value.(type) {
	case *config.Listener:
		c.listener(&e, nil, v)
	case *config.Upstream:
		addBackends(&e, nil, v)
	case *routePart:
		e.Details = []string{"dest " + v.to}
	}
	return e
}

// removed describes a part that next does not have.
func (c *comparison) removed(p *part) Entry {
	e := Entry{Action: Removed, Kind: p.kind, Name: p.name}
	switch v := p.value.(type) {
	case *config.Listener:
		c.listener(&e, v, nil)
	case *config.Upstream:
		addBackends(&e, v, nil)
		e.touchPool()
	}
	return e
}

func (c *comparison) changed(p *part, was any) Entry {
	e := Entry{Action: Changed, Kind: p.kind, Name: p.name}
	if p.changed != nil {
		e.Keys = p.changed(was)
	}
	switch v := p.value.(type) {
	case *config.Global:
		trustsAll := func(u config.Upstream) bool { return u.TLS.On && u.TLS.CA == "" } // by ca_file of [global]
		if config.ReplacesPool("global", e.Keys) && slices.ContainsFunc(c.old.Upstreams, trustsAll) {
			e.touchPool()
		}
	case *config.Listener:
		c.listener(&e, was.(*config.Listener), v)
	case *config.Upstream:
		c.upstream(&e, was.(*config.Upstream), v)
	case *routePart:
		c.route(&e, was.(*routePart), v)
	case schema.Target:
		e.Keys = schema.SectionOf(v).ChangedKeys(was.(schema.Target), v)
	}
	return e
}

// listener says which addresses of a listener open and close.
func (c *comparison) listener(e *Entry, old, next *config.Listener) {
	for sign, l := range map[string]*config.Listener{"+": next, "-": old} {
		if l == nil {
			continue
		}
		other := c.addresses[0]
		if sign == "-" {
			other = c.addresses[1]
		}
		for i := range l.Addresses {
			if a := &l.Addresses[i]; !other[addressOf(a)] {
				e.Details = append(e.Details, sign+" "+a.Text)
			}
		}
	}
	slices.Sort(e.Details)
	if slices.ContainsFunc(e.Details, func(one string) bool { return one[0] == '-' }) {
		e.Touches = append(e.Touches, Touch{Connections: OfClients, Effect: Undisturbed})
	}
}

func (c *comparison) upstream(e *Entry, old, next *config.Upstream) {
	gone := addBackends(e, old, next)
	if gone || connectTime(old) != connectTime(next) || config.ReplacesPool("upstreams", e.Keys) {
		e.touchPool()
	}
}

// connectTime returns how long a connection to a backend of u may take.
func connectTime(u *config.Upstream) time.Duration {
	if d := u.Retry.PerTry; d > 0 {
		return min(d, u.Timeouts.Connect)
	}
	return u.Timeouts.Connect
}

func (c *comparison) route(e *Entry, old, next *routePart) {
	e.Keys = old.of.ChangedKeys(next.of)
	if old.to != next.to {
		e.Keys = append(e.Keys, "dest")
		e.Details = append(e.Details, "- dest "+old.to, "+ dest "+next.to)
	} else if !schema.Equal(old.of.Dest, next.of.Dest) {
		e.Keys = append(e.Keys, "dest")
	}
	slices.Sort(e.Keys)
	if e.Keys = slices.Compact(e.Keys); config.ReplacesPool("routes", e.Keys) {
		e.touchPool()
	}
}

// touchPool says that connections to backends end: those that are idle at once.
func (e *Entry) touchPool() {
	e.Touches = append(e.Touches, Touch{Connections: IdleBackends, Effect: Closed},
		Touch{Connections: BusyBackends, Effect: Drained})
}

// addBackends says which backends of an upstream come, go and change, and reports whether one goes.
func addBackends(e *Entry, old, next *config.Upstream) (gone bool) {
	before := make(map[string]config.Backend)
	if old != nil {
		for _, one := range old.Backends {
			one.Pos = config.Pos{}
			before[one.String()] = one
		}
	}
	if next != nil {
		for _, one := range next.Backends {
			one.Pos = config.Pos{}
			was, found := before[one.String()]
			delete(before, one.String())
			switch {
			case !found:
				e.Details = append(e.Details, "+ backend "+one.String())
			case was.Weight != one.Weight:
				weights := fmt.Sprintf(" weight %d to %d", was.Weight, one.Weight)
				e.Details = append(e.Details, "~ backend "+one.String()+weights)
			case was != one:
				e.Details = append(e.Details, "~ backend "+one.String())
			}
		}
	}
	if old != nil {
		for i := range old.Backends {
			if name := old.Backends[i].String(); before[name].String() == name {
				e.Details = append(e.Details, "- backend "+name)
				gone = true
			}
		}
	}
	return gone
}
