package config

import (
	"slices"
	"strings"

	"github.com/edge-proxy/edge/config/schema"
)

// Places knows which keys the files gave, and where. Options.Places asks for it.
// Immutable.
type Places struct{ doc *document }

// Of returns where the value of a key of a *Listener, an *Upstream or a *Route comes from: the place of the key in its
// own table, or in [tls] or [upstream_defaults]. It reports false where the value is the default of the key. path names
// the key in its section: "timeouts.connect". A nil p knows nothing.
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
		for _, e := range p.doc.listeners {
			if e.Pos == of.Pos && e.Has(path) {
				return placeOf(&e.Given, path)
			}
		}
		return placeOf(&p.doc.tls.Given, path)
	case *Upstream:
		return p.ofUpstream(of, path)
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

// Settings returns the keys of l, r and u that schema.Section.Told names for a request that comes by l and that r sends
// to u, both of which may be nil. Of the keys that the files give those are, for l and r, the numbers, sizes and times,
// and for u all. A key of r takes the place of the one of u with its name.
func (p *Places) Settings(l *Listener, r *Route, u *Upstream) []Setting {
	list := p.settings([]Setting{}, l, "listeners", "", l.entry())
	if u == nil {
		return list
	}
	e := &upstreamEntry{Upstream: *u}
	e.Retry.On = u.Retry.Conditions()
	list = p.settings(list, u, "upstreams", "", e)
	if c := u.HealthCheck; c != nil {
		check := &healthEntry{Enabled: true, HealthCheck: *c}
		list = p.settings(list, u, "upstreams.NAME.health_check", "health_check.", check)
	}
	own := p.settings(nil, r, "routes", "", &routeEntry{Route: *r})
	list = slices.DeleteFunc(list, func(s Setting) bool {
		return slices.ContainsFunc(own, func(o Setting) bool { return o.Name == s.Name })
	})
	return append(list, own...)
}

// settings adds those of e, which stands for of, to list. before is what their names begin with.
func (p *Places) settings(list []Setting, of any, section, before string, e schema.Target) []Setting {
	_, all := of.(*Upstream)
	for _, k := range edge().Section(section).Told(e, func(k *schema.Key) bool {
		_, given := p.Of(of, before+k.Path)
		return given && (all || k.Type.Number != nil)
	}) {
		s := Setting{Name: before + k.Path, Value: k.Text(k.Value(e)), At: "default", Doc: k.Gist(k.Value(e))}
		if at, given := p.Of(of, s.Name); given {
			s.At = at.FileLine()
		}
		if s.Value != "" {
			list = append(list, s)
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
