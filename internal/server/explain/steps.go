package explain

import (
	"fmt"
	"slices"
	"strings"

	"github.com/edge-proxy/edge/internal/config"
	"github.com/edge-proxy/edge/internal/config/plugins"
	"github.com/edge-proxy/edge/internal/filter"
	"github.com/edge-proxy/edge/internal/plugin"
	"github.com/edge-proxy/edge/internal/plugin/tags"
	"github.com/edge-proxy/edge/internal/server"
	"github.com/edge-proxy/edge/message"
)

// steps collects what happens to a request on its way, in the order in which the proxy does it.
type steps struct {
	head   message.Head // of the request as it came
	places *config.Places
	list   []Step
}

// add adds a step about a key of a listener or a route.
func (s *steps) add(phase string, of any, key, text string, values ...any) {
	pos, _ := s.places.Of(of, key)
	s.list = append(s.list, Step{Phase: phase, Text: fmt.Sprintf(text, values...), At: pos.FileLine()})
}

// stepsOf returns what happens to a request that comes by l and is taken by r, which may be nil, and has seen rules.
func stepsOf(cfg *config.Config, q *asked, l *config.Listener, r *config.Route, seen []server.DryRule) []Step {
	s := &steps{places: cfg.Places, list: []Step{}}
	_ = q.decode(&s.head) // it came so far
	s.listener(l)
	s.filters(cfg, l, r, seen)
	if r != nil {
		s.request(r)
		s.answer(r)
	}
	s.addIf(l.TLS != config.TLSOff && l.TLSOptions.HSTS.MaxAge >= 0, "answer", l, "hsts.max_age",
		"Strict-Transport-Security on secured connections")
	var lower [256]byte
	told := server.AltSvcOf(l, 0)
	s.addIf(told != nil && told.Tells(s.head.LowerHost(&lower)), "answer", l, "protocols",
		"Alt-Svc tells clients on secured connections of HTTP/3")
	return s.list
}

// addIf adds a step about a key that says something.
func (s *steps) addIf(says bool, phase string, of any, key, text string, values ...any) {
	if says {
		s.add(phase, of, key, text, values...)
	}
}

// listener adds what the listener asks for, before a route is chosen.
func (s *steps) listener(l *config.Listener) {
	const phase = "listener"
	secured, o := l.TLS != config.TLSOff, &l.TLSOptions
	_, underscores := s.places.Of(l, "underscores")
	s.connection(l)
	s.addIf(len(l.Believed.Trusted.Networks) > 0 || l.Believed.Trusted.Unix, phase, l, "trusted_proxies",
		"forwarding fields are believed from trusted_proxies alone")
	s.addIf(underscores, phase, l, "underscores", "fields with _ in their names: %s", l.Underscores)
	s.addIf(secured && o.StrictSNI, phase, l, "strict_sni", "a host that the handshake did not name is answered 421")
	s.addIf(l.RedirectToHTTPS, phase, l, "redirect_to_https", "http is redirected to https, port %d", l.HTTPSPort)
	s.addIf(l.RequestID.On, phase, l, "request_id", "the field %s has the number of the request", l.RequestID.Field)
	s.addIf(l.Traceparent, phase, l, "traceparent", "a request without a trace begins one")
	s.addIf(l.Limits.BodySize > 0, phase, l, "limits.body_size", "a body above %s is answered 413",
		tags.SizeText(l.Limits.BodySize))
	s.addIf(l.Paths != "matched", phase, l, "paths", "paths are %s", l.Paths)
	s.addIf(l.PathParameters != "keep", phase, l, "path_parameters", "parameters of paths: %s", l.PathParameters)
}

// connection adds what l does with a connection, before there is a request.
func (s *steps) connection(l *config.Listener) {
	const phase = "listener"
	senders := &l.Believed.ProxyProtocol.From
	s.addIf(len(senders.Networks) > 0 || senders.Unix, phase, l, "proxy_protocol.from",
		"the client is the one that a header of the PROXY protocol tells, if the sender is in proxy_protocol.from")
	for _, name := range l.ConnFilters {
		s.add(phase, l, "connection_filters", "the connection filter %s may close the connection (not run here)", name)
	}
	s.addIf(l.TLS != config.TLSOff && l.TLSOptions.ClientAuth == config.ClientAuthRequire, phase, l, "client_auth",
		"a client without a valid certificate is refused")
}

// filters adds the filters of a request, in their order, and those that the route and rules take out.
func (s *steps) filters(cfg *config.Config, l *config.Listener, r *config.Route, seen []server.DryRule) {
	lists := cfg.FilterLists(l, r)
	before := lists.Before()
	own, without := lists.OfRoute(before)
	for _, m := range before {
		if !slices.Contains(without, m.Name) {
			s.member(cfg, m, r, seen)
		}
	}
	for _, m := range own {
		s.member(cfg, m, r, seen)
	}
	for _, m := range before {
		if m.Stands && slices.Contains(without, m.Name) && !slices.ContainsFunc(own, m.Names) {
			s.filter(cfg, m.Name, "the route takes it out", true)
		}
	}
}

// member adds a filter that may run.
func (s *steps) member(cfg *config.Config, m plugins.FilterMember, r *config.Route, seen []server.DryRule) {
	first, runs := m.Stands, m.Stands // before the route is chosen, and then
	for _, d := range seen {
		for _, name := range d.Rule.Filters {
			if taken, out := strings.CutPrefix(name, "!"); d.Held && taken == m.Name {
				runs = !out
			}
		}
		if r == nil || !slices.ContainsFunc(r.Rules, func(of config.Rule) bool { return of.Pos == d.Rule.Pos }) {
			first = runs
		}
	}
	switch {
	case !runs && m.Stands:
		s.filter(cfg, m.Name, "a rule takes it out", m.Moved && first)
	case runs && !m.Stands:
		s.filter(cfg, m.Name, "", false)
		s.list[len(s.list)-1].Text += " (added by a rule)"
	case runs:
		s.filter(cfg, m.Name, "", false)
	}
}

// filter adds the filter of that name. It is made to see which functions it has. out says what takes it out, "":
// nothing, and late that BeforeRoute has run by then.
func (s *steps) filter(cfg *config.Config, name, out string, late bool) {
	step := Step{Phase: "filter", Text: name + ", of the program"}
	var phases []string
	var says string // what becomes of the answer
	if c := cfg.Find(plugin.Filters, name); c != nil {
		step.Text, step.At = fmt.Sprintf("%s, of type %s", name, c.Type), c.Pos.FileLine()
		if c.When != nil {
			step.Text += fmt.Sprintf(", when %s", c.When)
		}
		made, explained, warned, err := filter.Try(&c.Table, &s.head)
		if phases, says = made, explained; err != nil {
			step.Text += ": it cannot be made: " + err.Error()
		}
		for _, line := range warned {
			s.list = append(s.list, Step{Phase: "filter", Text: name + " warns: " + line, At: step.At})
		}
	}
	switch {
	case late && slices.Contains(phases, "BeforeRoute"):
		step.Text += ": BeforeRoute alone, " + out
	case out != "":
		step.Text += ": " + out
	case len(phases) > 0:
		step.Text += ": " + strings.Join(phases, ", ")
		if slices.Contains(phases, "BeforeRoute") || slices.Contains(phases, "Request") {
			step.Text += " (not run here)"
		}
		if says != "" {
			step.Text += ": " + says
		}
	}
	s.list = append(s.list, step)
}

// request adds what the route does with the request.
func (s *steps) request(r *config.Route) {
	const phase = "request"
	s.addIf(r.ReadBody > 0, phase, r, "read_body", "up to %s of the body are received before rules and filters",
		tags.SizeText(r.ReadBody))
	switch w := r.Rewrite; {
	case w.Path != nil:
		s.add(phase, r, "rewrite.path", "the path becomes %s", w.Path)
	case w.StripPrefix != "" && w.AddPrefix != "":
		s.add(phase, r, "rewrite.strip_prefix", "%s at the begin of the path becomes %s", w.StripPrefix, w.AddPrefix)
	case w.StripPrefix != "":
		s.add(phase, r, "rewrite.strip_prefix", "%s is taken off the path", w.StripPrefix)
	case w.AddPrefix != "":
		s.add(phase, r, "rewrite.add_prefix", "%s is put before the path", w.AddPrefix)
	}
	s.addIf(r.BufferRequest > 0, phase, r, "buffer_request", "a body of up to %s is received whole first",
		tags.SizeText(r.BufferRequest))
	s.fields(phase, r, "headers.request", r.RequestHeaders)
}

// answer adds what the route does with the answer.
func (s *steps) answer(r *config.Route) {
	const phase = "answer"
	s.addIf(r.RewriteLocation, phase, r, "rewrite_location", "a Location that names the backend becomes a path here")
	s.fields(phase, r, "headers.response", r.ResponseHeaders)
	s.addIf(r.InterceptErrors, phase, r, "intercept_errors", "error_pages take the place of the backend's")
}

func (s *steps) fields(phase string, r *config.Route, key string, list []config.Header) {
	for _, f := range list {
		if f.Value == "" {
			s.add(phase, r, key, "the field %s is removed", f.Name)
		} else {
			s.add(phase, r, key, "the field %s is set to %q", f.Name, f.Value)
		}
	}
}
