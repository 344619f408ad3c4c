package caching

import (
	"slices"
	"strings"

	"github.com/edge-proxy/edge/internal/base/yield"
	"github.com/edge-proxy/edge/internal/config"
	"github.com/edge-proxy/edge/internal/config/schema"
)

// Choice is what the key cache of a rule says of a route: how answers to requests that the rule holds for are cached.
type Choice struct {
	Rule  *config.Rule // one of the Config
	Route *Route       // nil: they are not cached
	Pos   config.Pos   // of the key; the zero Pos where c knows no places
}

// Any reports whether answers of a route of c are cached, be it only by a rule.
func Any(c *config.Config) bool {
	on := func(r *config.Route) bool {
		return OfRoute(c, r) != nil || slices.ContainsFunc(Choices(c, r), func(o Choice) bool { return o.Route != nil })
	}
	for i := range yield.Over(len(c.Routes)) {
		if on(&c.Routes[i]) {
			return true
		}
	}
	rest, needed := c.Rest()
	return needed && on(&rest)
}

// Choices returns the choices of the rules that requests of r, a route of c, may meet; none where r leads to no
// backend. Of the rules that hold for a request the last one counts.
func Choices(c *config.Config, r *config.Route) (all []Choice) {
	if !leadsToBackends(c, r) {
		return nil
	}
	eachRule(c, r, func(rule *config.Rule) {
		if e := ofRule(rule); e != nil {
			all = append(all, Choice{rule, e.over(entryOf(c, r)), e.pos()})
		}
	})
	return all
}

// Chooses reports whether r has the key cache.
func Chooses(r *config.Rule) bool { return ofRule(r) != nil }

func ofRule(r *config.Rule) *entry { return schema.Only[*entry](r.Features) }

// eachRule calls f for the rules that requests of r, a route of c, may meet.
func eachRule(c *config.Config, r *config.Route, f func(*config.Rule)) {
	lists := [][]config.Rule{r.Rules, c.Rules}
	for i := range c.Listeners {
		lists = append(lists, c.Listeners[i].Rules)
	}
	for _, list := range lists {
		for i := range list {
			f(&list[i])
		}
	}
}

// over returns how answers are cached where e is of a rule: by the keys that e names, and else by base; nil: they are
// not cached.
func (e *entry) over(base *entry) *Route {
	if !e.Enabled {
		return nil
	}
	merged := entry{Route: base.Route}
	for _, k := range schema.SectionOf(e).Keys {
		if slices.Contains(e.named, k.Path) {
			k.In(&merged).Set(k.In(e))
		}
	}
	if e.Drop != nil || e.Keep != nil { // they exclude each other
		merged.Drop, merged.Keep = e.Drop, e.Keep
	}
	return &merged.Route
}

// Action says what the rule of e does, for people.
func (e *entry) Action() string {
	switch {
	case !e.Enabled:
		return "cache = false"
	case slices.Equal(e.named, []string{"enabled"}) || len(e.named) == 0:
		return "cache = true"
	}
	return "cache with " + strings.Join(e.named, ", ")
}
