package config

import (
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

func placeOf(g *schema.Given, path string) (at Pos, given bool) {
	if !g.Has(path) {
		return Pos{}, false
	}
	return g.Head(path).Pos(), true
}
