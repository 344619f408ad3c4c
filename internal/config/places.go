package config

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"github.com/edge-proxy/edge/internal/config/schema"
	"github.com/edge-proxy/edge/internal/plugin"
)

// Places knows which keys the files gave, and where. Options.Places asks for it.
// Immutable.
type Places struct{ doc *document }

// Of returns where the value of a key of a *Listener, *Upstream, *Route or one of Features comes from: the place of the
// key in its own table, or in [tls] or [upstream_defaults]. It reports false where the value is the default of the key.
// path names the key in its section: "timeouts.connect". A nil p knows nothing.
func (p *Places) Of(of any, path string) (at Pos, given bool) {
	if p == nil {
		return Pos{}, false
	}
	switch of := of.(type) {
	case *Route:
		for _, e := range p.doc.routes {
			if e.Entry == of.Entry && e.Pos == of.Pos {
				return placeOf(&e.Given, path)
			}
		}
	case *Listener:
		for _, e := range slices.Concat(p.doc.listeners, p.doc.services) {
			if e.Pos == of.Pos && e.Has(path) {
				return placeOf(&e.Given, path)
			}
		}
		return placeOf(&p.doc.tls.Given, path)
	case *Upstream:
		return p.ofUpstream(of, path)
	case schema.Target:
		return placeOf(schema.GivenOf(of), strings.TrimPrefix(path, schema.SectionOf(of).Name()+"."))
	}
	return Pos{}, false
}

// ofUpstream is Of for an upstream, whose keys may stand among the defaults of all.
func (p *Places) ofUpstream(u *Upstream, path string) (at Pos, given bool) {
	check, isCheck := strings.CutPrefix(path, "health_check.")
	for _, e := range p.doc.upstreams {
		switch {
		case e.Name != u.Name:
		case !isCheck && e.Has(path):
			return placeOf(&e.Given, path)
		case isCheck && e.health != nil && e.health.Has(check):
			return placeOf(&e.health.Given, check)
		}
	}
	if isCheck {
		return placeOf(&p.doc.health.Given, check)
	}
	return placeOf(&p.doc.defaults.Given, path)
}

// Log returns where the files gave a key of [log]; false where its value is the default.
func (p *Places) Log(path string) (at Pos, given bool) {
	if p == nil {
		return Pos{}, false
	}
	return placeOf(&p.doc.log.Given, path)
}

// Setting is the value of a key, for people.
type Setting struct {
	Name  string `json:"name"`  // the key in its table
	Value string `json:"value"` // as a file has it
	At    string `json:"at"`    // where it stands; "default"
	Doc   string `json:"doc"`
}

// Settings returns the keys that schema.Section.Told names for a request that comes by l and that r sends to u; r and u
// may be nil. Where l is a service they are for a connection that is sent to u. Of the keys that the files give those
// are, for l and r, the numbers, sizes and times, for u all, and for Features those with a Show. A key of r, or of its
// Features, takes the place of one of u or c with its name.
func (p *Places) Settings(c *Config, l *Listener, r *Route, u *Upstream) []Setting {
	section := edge().Section("listeners")
	if l.Service != nil {
		section = edge().Section(plugin.Services.Section)
	}
	list := p.settings([]Setting{}, l, section, "", l.entry())
	if u != nil {
		e := &upstreamEntry{Upstream: *u}
		e.Retry.On = u.Retry.Conditions()
		list = p.settings(list, u, edge().Section("upstreams"), "", e)
		if of := u.HealthCheck; of != nil {
			check := &healthEntry{Enabled: true, HealthCheck: *of}
			list = p.settings(list, u, edge().Section("upstreams.NAME.health_check"), "health_check.", check)
		}
	}
	if relay, ok := c.Relays[l.Name]; ok {
		list = slices.DeleteFunc(list, func(s Setting) bool {
			return slices.Contains(httpKeys, s.Name) || strings.HasPrefix(s.Name, "retry.")
		})
		list = append(list, p.idleOf(l, section, relay.Idle))
	} else if u != nil {
		list = p.settings(list, r, edge().Section("routes"), "", &routeEntry{Route: *r})
	}
	ofUpstream, ofRoute := cmp.Or(u, &Upstream{}).Features, cmp.Or(r, &Route{}).Features
	for _, f := range slices.Concat(c.Features, l.Features, ofUpstream, ofRoute) {
		list = p.settings(list, f, schema.SectionOf(f), schema.SectionOf(f).Name()+".", f)
	}
	return list
}

// idleOf returns the setting timeouts.idle of the service l, whose section is in.
func (p *Places) idleOf(l *Listener, in *schema.Section, idle time.Duration) Setting {
	const path = "timeouts.idle"
	at, _ := p.Of(l, path)
	of := func(k *schema.Key) bool { return k.Path == path }
	for _, v := range in.Variants.List {
		if i := slices.IndexFunc(v.Keys, of); v.Name == TypeTCP && i >= 0 {
			return Setting{path, v.Keys[i].Text(idle), cmp.Or(at.FileLine(), "default"), v.Keys[i].Gist(idle)}
		}
	}
	return Setting{}
}

// settings adds the settings of e, an entry of in that stands for of, to list. before is what their names begin with.
func (p *Places) settings(list []Setting, of any, in *schema.Section, before string, e schema.Target) []Setting {
	_, all := of.(*Upstream)
	_, feature := of.(schema.Target)
	for _, k := range in.Told(e, func(k *schema.Key) bool {
		_, given := p.Of(of, before+k.Path)
		return given && (all || feature && len(k.Show) > 0 || !feature && k.Type.Number != nil)
	}) {
		s, v := Setting{Name: before + k.Path}, k.Value(e)
		at, _ := p.Of(of, s.Name)
		if s.Value, s.At, s.Doc = k.Text(v), cmp.Or(at.FileLine(), "default"), k.Gist(v); s.Value != "" {
			list = append(slices.DeleteFunc(list, func(o Setting) bool { return !all && o.Name == s.Name }), s)
		}
	}
	return list
}

func placeOf(g *schema.Given, path string) (at Pos, given bool) {
	if !g.Has(path) {
		return Pos{}, false
	}
	return g.Head(path).Pos(), true
}
