package explain

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/edge-proxy/edge/config"
	"github.com/edge-proxy/edge/config/filters"
	"github.com/edge-proxy/edge/filter"
	"github.com/edge-proxy/edge/plugin"
	"github.com/edge-proxy/edge/proxy/retry"
	"github.com/edge-proxy/edge/server"
)

// steps collects what happens to a request on its way, in the order in which the proxy does it.
type steps struct {
	places *config.Places
	list   []Step
}

// add adds a step about a key of a listener or a route.
func (s *steps) add(phase string, of any, key, text string, values ...any) {
	pos, _ := s.places.Of(of, key)
	s.list = append(s.list, Step{Phase: phase, Text: fmt.Sprintf(text, values...), At: at(pos)})
}

// stepsOf returns what happens to a request that comes by l and is taken by r, which may be nil, and has seen rules.
func stepsOf(cfg *config.Config, l *config.Listener, r *config.Route, seen []server.DryRule) []Step {
	s := &steps{places: cfg.Places, list: []Step{}}
	s.listener(l)
	s.filters(cfg, l, r, seen)
	if r != nil {
		s.request(r)
		s.answer(r)
	}
	if l.TLS != config.TLSOff && l.TLSOptions.HSTS.MaxAge >= 0 {
		s.add("answer", l, "hsts.max_age", "Strict-Transport-Security on secured connections")
	}
	return s.list
}

// listener adds what the listener asks for, before a route is chosen.
func (s *steps) listener(l *config.Listener) {
	const phase = "listener"
	if len(l.Trusted.Networks) > 0 || l.Trusted.Unix {
		s.add(phase, l, "trusted_proxies", "forwarding fields are believed from trusted_proxies alone")
	}
	if l.TLS != config.TLSOff && l.TLSOptions.ClientAuth == config.ClientAuthRequire {
		s.add(phase, l, "client_auth", "a client without a valid certificate is refused")
	}
	if _, given := s.places.Of(l, "underscores"); given {
		s.add(phase, l, "underscores", "fields with _ in their names: %s", l.Underscores)
	}
	if l.TLS != config.TLSOff && l.TLSOptions.StrictSNI {
		s.add(phase, l, "strict_sni", "a host that the handshake did not name is answered 421")
	}
	if l.RedirectToHTTPS {
		s.add(phase, l, "redirect_to_https", "http is redirected to https, port %d", l.HTTPSPort)
	}
	if l.RequestID.On {
		s.add(phase, l, "request_id", "the field %s has the number of the request", l.RequestID.Field)
	}
	if l.Traceparent {
		s.add(phase, l, "traceparent", "a request without a trace begins one")
	}
	if n := l.Limits.BodySize; n > 0 {
		s.add(phase, l, "limits.body_size", "a body above %s is answered 413", size(n))
	}
	if l.Paths != "matched" {
		s.add(phase, l, "paths", "paths are %s", l.Paths)
	}
	if l.PathParameters != "keep" {
		s.add(phase, l, "path_parameters", "parameters of paths: %s", l.PathParameters)
	}
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
func (s *steps) member(cfg *config.Config, m filters.Member, r *config.Route, seen []server.DryRule) {
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
	if c := cfg.Find(plugin.Filters, name); c != nil {
		step.Text, step.At = fmt.Sprintf("%s, of type %s", name, c.Type), at(c.Pos)
		if c.When != nil {
			step.Text += fmt.Sprintf(", when %s", c.When)
		}
		made, warned, err := filter.Try(&c.Table)
		if phases = made; err != nil {
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
			step.Text += " (not run here: it may refuse the request)"
		}
	}
	s.list = append(s.list, step)
}

// request adds what the route does with the request.
func (s *steps) request(r *config.Route) {
	const phase = "request"
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
	if r.BufferRequest > 0 {
		s.add(phase, r, "buffer_request", "a body of up to %s is received whole first", size(r.BufferRequest))
	}
	s.fields(phase, r, "headers.request", r.RequestHeaders)
}

// answer adds what the route does with the answer.
func (s *steps) answer(r *config.Route) {
	const phase = "answer"
	if r.RewriteLocation {
		s.add(phase, r, "rewrite_location", "a Location that names the backend becomes a path here")
	}
	s.fields(phase, r, "headers.response", r.ResponseHeaders)
	if r.InterceptErrors {
		s.add(phase, r, "intercept_errors", "error_pages take the place of the backend's")
	}
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

// settingsOf returns the times and limits for a request that r sends to u, both of which may be nil.
func settingsOf(cfg *config.Config, l *config.Listener, r *config.Route, u *config.Upstream) []Setting {
	s := &settings{places: cfg.Places, list: []Setting{}}
	s.add("limits.header_timeout", l, period(l.Limits.HeaderTimeout), "for the head to come")
	s.add("limits.idle_timeout", l, period(l.Limits.IdleTimeout), "of the client's connection between two requests")
	if u == nil {
		return s.list
	}
	s.add("timeouts.connect", u, period(u.Timeouts.Connect), "for a connection, its handshake aside")
	s.either("timeouts.first_byte", r, r.FirstByte, u, u.Timeouts.FirstByte, "until the answer begins")
	s.either("timeouts.read", r, r.Read, u, u.Timeouts.Read, "between two pieces of the answer")
	s.either("timeouts.total", r, r.Total, u, u.Timeouts.Total, "for all of it, tunnels aside")
	s.add("timeouts.idle", r, period(r.TunnelIdle), "of a tunnel or gRPC call without a byte")
	s.retries(u)
	s.outliers(u)
	s.checks(u)
	s.discovery(u)
	if u.SlowStart > 0 {
		s.add("slow_start", u, period(u.SlowStart), "in which a backend that is up again gets more and more")
	}
	if u.Zones != "" && u.Zones != "off" && cfg.Global.Zone != "" {
		s.add("zones", u, u.Zones, "this process runs in zone "+cfg.Global.Zone)
	}
	if u.Subset.Size > 0 {
		s.add("subset.size", u, fmt.Sprint(u.Subset.Size), "backends of each tier that this process uses")
	}
	if u.Spill {
		s.add("spill", u, "true", "backups share the requests while less than 5/7 of the others are up")
	}
	if u.Panic > 0 {
		s.add("panic", u, fmt.Sprintf("%d%%", u.Panic), "while fewer are up, backends that are down get requests too")
	}
	if u.Failover != "" {
		s.add("failover", u, u.Failover, "for requests that no backend of the upstream can take")
	}
	if u.Sticky.Cookie != "" {
		s.add("sticky.ttl", u, period(u.Sticky.TTL), "of the cookie "+u.Sticky.Cookie)
	}
	s.limits(r, u)
	return s.list
}

// limits adds what bounds the requests of r to u that are under way.
func (s *settings) limits(r *config.Route, u *config.Upstream) {
	if n := u.Pool.MaxPerBackend; n > 0 {
		s.add("pool.max_per_backend", u, fmt.Sprint(n), "connections to one backend")
	}
	if n := u.Breaker.MaxRequests; n > 0 {
		s.add("breaker.max_requests", u, fmt.Sprint(n), "requests under way at one backend")
	}
	if n := u.Breaker.MaxRetries; n > 0 {
		s.add("breaker.max_retries", u, fmt.Sprint(n), "retries under way at all backends")
	}
	if u.Breaker.Adaptive {
		s.add("breaker.adaptive", u, "true", "a limit of requests under way is found by their latency")
	}
	if b := &u.Breaker; b.MaxRequests > 0 || b.Adaptive {
		s.add("priority", r, fmt.Sprint(r.Priority), "of 0 to 3: what waits for room is served in this order")
	}
	if u.Pool.MaxPerBackend > 0 || u.Breaker.MaxRequests > 0 || u.Breaker.Adaptive {
		s.add("pool.queue", u, fmt.Sprint(u.Pool.Queue), "requests that may wait")
		s.add("pool.queue_timeout", u, period(u.Pool.QueueTimeout), "for which they wait")
	}
}

// settings collects values of keys.
type settings struct {
	places *config.Places
	list   []Setting
}

// retries adds what is tried again.
func (s *settings) retries(u *config.Upstream) {
	r := &u.Retry
	s.add("retry.attempts", u, fmt.Sprint(r.Attempts), "further attempts after the first")
	if r.Hedge > 0 {
		s.add("retry.hedge_after", u, period(r.Hedge), "until a request goes to another backend as well")
		if r.Attempts == 0 {
			s.add("retry.buffer", u, size(r.Buffer), "of a body kept for that")
		}
	}
	if r.Attempts == 0 {
		return
	}
	on, budget := strings.Join(r.On, " "), "off"
	if r.On == nil {
		if on = "connect refused_stream reset"; r.PerTry > 0 {
			on += " timeout"
		}
	}
	if r.Budget >= 0 {
		budget = fmt.Sprintf("%d%%", cmp.Or(r.Budget, retry.RatioDefault))
	}
	s.add("retry.on", u, on, "what is tried again")
	s.add("retry.budget", u, budget, "of the good answers may be tried again")
	s.add("retry.per_try", u, period(r.PerTry), "of an attempt that another may follow")
	s.add("retry.buffer", u, size(r.Buffer), "of a body kept for them")
}

// outliers adds when backends are ejected.
func (s *settings) outliers(u *config.Upstream) {
	o := &u.Outlier
	if !o.On {
		return
	}
	s.add("outlier.errors", u, fmt.Sprint(o.Errors), "the least failures in a row that eject a backend")
	s.add("outlier.window", u, period(o.Window), "over which backends are compared")
	s.add("outlier.eject", u, period(o.Eject), "of the first ejection")
	s.add("outlier.max_ejected", u, fmt.Sprintf("%d%%", o.MaxEjected), "of the backends at a time")
}

// checks adds how backends are checked.
func (s *settings) checks(u *config.Upstream) {
	c := u.HealthCheck
	if c == nil {
		return
	}
	s.add("health_check.type", u, c.Type, "of the checks of backends")
	if c.Type != "agent" {
		switch {
		case c.Type == "http":
			s.add("health_check.path", u, c.Method+" "+c.Path, "is what a check asks for")
		case c.Type == "grpc" && c.Service != "":
			s.add("health_check.service", u, c.Service, "is what a check asks for")
		}
		s.add("health_check.interval", u, period(c.Interval), "between two checks")
		s.add("health_check.timeout", u, period(c.Timeout), "for each")
		s.add("health_check.fall", u, fmt.Sprint(c.Fall), "failed ones in a row take a backend down")
		s.add("health_check.rise", u, fmt.Sprint(c.Rise), "passed ones in a row bring it back")
	}
	if c.Agent.Port > 0 {
		s.add("health_check.agent.port", u, fmt.Sprint(c.Agent.Port), "of the agents beside backends")
		s.add("health_check.agent.interval", u, period(c.Agent.Interval), "between two questions to each")
	}
}

// discovery adds where further backends come from: no file has those.
func (s *settings) discovery(u *config.Upstream) {
	d := &u.Discovery
	if len(d.Sources) == 0 {
		return
	}
	s.add("discover", u, strings.Join(d.Sources, " "), "finds backends; they are not listed here")
	stale := period(d.StaleOK)
	if d.StaleOK < 0 {
		stale = "forever"
	}
	s.add("stale_ok", u, stale, "for which backends stay while their source fails")
	s.add("empty_after", u, period(d.EmptyAfter), "for which they stay while it finds none")
}

func (s *settings) add(key string, of any, value, doc string) {
	from := "default"
	if pos, given := s.places.Of(of, key); given {
		from = at(pos)
	}
	s.list = append(s.list, Setting{Name: key, Value: value, At: from, Doc: doc})
}

// either adds a time of the route where it has one, else that of the upstream.
func (s *settings) either(key string, r *config.Route, own time.Duration, u *config.Upstream, of time.Duration,
	doc string) {
	if own > 0 {
		s.add(key, r, period(own), doc)
		return
	}
	s.add(key, u, period(of), doc)
}

// period returns a duration as a file has it.
func period(d time.Duration) string {
	if d <= 0 {
		return "none"
	}
	text := d.String()
	if strings.HasSuffix(text, "m0s") {
		text = strings.TrimSuffix(text, "0s")
	}
	if strings.HasSuffix(text, "h0m") {
		text = strings.TrimSuffix(text, "0m")
	}
	return text
}

// size returns a number of bytes as a file has it.
func size(n int64) string {
	for _, unit := range []struct {
		bytes int64
		name  string
	}{{1 << 30, "g"}, {1 << 20, "m"}, {1 << 10, "k"}} {
		if n >= unit.bytes && n%unit.bytes == 0 {
			return fmt.Sprintf("%d%s", n/unit.bytes, unit.name)
		}
	}
	return fmt.Sprint(n)
}
