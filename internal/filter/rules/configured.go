package rules

import (
	"fmt"

	"github.com/edge-proxy/edge/internal/config"
	"github.com/edge-proxy/edge/internal/config/plugins"
	"github.com/edge-proxy/edge/internal/filter/ratelimit"
	"github.com/edge-proxy/edge/internal/plugin"
	"github.com/edge-proxy/edge/lang"
	"github.com/edge-proxy/edge/proxy"
	"github.com/edge-proxy/edge/proxy/cache"
)

// Type is what counters and metrics have as the type of rules.
const Type = "rules"

// Maker makes filters of the rules of a configuration.
type Maker struct {
	Dest  func(upstream string) proxy.Destination // the destination with the name of an upstream
	Build func(name string) *plugin.Build         // nil: there is no server

	// Cache returns what a rule says of the cache, nil where it says nothing; without Cache no rule says anything.
	Cache func(of *config.Rule) *cache.Choice

	Filters []string // those that rules name, 64 at most

	// Watch is told of every rule that is asked. No request waits in a tarpit then. nil: not called.
	Watch func(of *config.Rule, asked Asked)
}

// Asked is what became of a rule that was asked.
type Asked struct {
	Held    bool
	Refused *proxy.Error  // with which the request ends when it would be sent on, for its condition: see proxy.Evaluate
	Clauses []lang.Clause // what the parts of the condition were; nil: there is none
}

// BeforeRoute makes a filter of rules that run before a route is chosen; nil where there are none. whose names them in
// metrics and errors: a listener, or "defaults".
func (m *Maker) BeforeRoute(list []config.Rule, whose string) (*proxy.Filter, error) {
	return m.make(list, whose, proxy.PhaseBeforeRoute)
}

// Around returns the filters of a route with its rules: they are asked before its filters, and the fields that they set
// are set after the fields of the filters.
func (m *Maker) Around(filters []*proxy.Filter, list []config.Rule, route string) ([]*proxy.Filter, error) {
	f, err := m.make(list, route, proxy.PhaseRequest)
	if f == nil || err != nil {
		return filters, err
	}
	last := *f
	last.Request = nil
	all := append([]*proxy.Filter{{Name: f.Name, Request: f.Request, NamesMatch: f.NamesMatch}}, filters...)
	return append(all, &last), nil
}

func (m *Maker) make(list []config.Rule, whose string, in proxy.Phase) (*proxy.Filter, error) {
	if len(list) == 0 {
		return nil, nil
	}
	var b *plugin.Build
	if m.Build != nil {
		b = m.Build(whose)
	}
	s, f, err := newSet(m.rules(list), in, b)
	if err != nil {
		return nil, fmt.Errorf("rules of %s: %w", whose, err)
	}
	if m.Watch != nil {
		s.watch = func(i int, asked Asked) { m.Watch(&list[i], asked) }
	}
	return f, nil
}

// rules returns the rules of a configuration as rules of this package.
func (m *Maker) rules(list []config.Rule) (all []Rule) {
	for i := range list {
		c := &list[i]
		r := Rule{
			Name: c.Name, When: c.When, Set: c.Set, Tag: c.Tag, NoLog: c.NoLog, Timeout: c.Timeout,
			RequestFields: c.Request, AnswerFields: c.Response, Rewrite: c.Rewrite,
			Deny: c.Deny, Drop: c.Drop, Tarpit: c.Tarpit,
		}
		on, off := plugins.SplitFilters(c.Filters)
		r.On, r.Off = m.switchesOf(on), m.switchesOf(off)
		if len(c.QueryDel)+len(c.QuerySet)+len(c.QueryAdd) > 0 {
			r.Query = &Query{Del: c.QueryDel, Set: c.QuerySet, Add: c.QueryAdd}
		}
		if c.Respond.On {
			r.Respond = &Respond{Status: c.Respond.Status, Body: c.Respond.Body, Type: c.Respond.Type}
		}
		if c.Redirect.To != nil {
			r.Redirect = &Redirect{To: c.Redirect.To, Status: c.Redirect.Status}
		}
		if limit, ok := c.Limit.Config.(*ratelimit.Config); ok {
			r.Limit = limit
		}
		if c.Dest != "" {
			r.To = m.Dest(c.Dest)
		}
		if m.Cache != nil {
			r.Cache = m.Cache(c)
		}
		all = append(all, r)
	}
	return all
}
