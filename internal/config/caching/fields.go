package caching

import (
	"maps"
	"slices"
	"strings"

	"github.com/edge-proxy/edge/internal/config"
	"github.com/edge-proxy/edge/lang"
	"github.com/edge-proxy/edge/message"
)

// ownOf are values that nearly every client, or every request, has for itself, and what they differ by. Backends get
// them for their logs.
var ownOf = map[string]string{
	"client.ip": "client", "client_ip": "client", "client.port": "client", "peer.ip": "client",
	"header.x-forwarded-for": "client", "request.id": "request", "request_id": "request", "trace.id": "request",
	"trace_id": "request", "header.x-request-id": "request", "header.traceparent": "request", "time": "request",
	"time.unix": "second", "time.hour": "hour", "time.weekday": "day",
}

// Fields returns the names of the fields that headers.request of r, a route of c, and of all rules that requests of r
// may meet sets: lower case, sorted, each once. A backend may answer by their values, so the values are part of the
// key. Left out are Host, since the authority is in the key anyway, and fields with values of ownOf alone, which would
// make a key for every client or request.
func Fields(c *config.Config, r *config.Route) []string {
	names := make(map[string]bool)
	add := func(name string, t *lang.Template) {
		if name = strings.ToLower(name); t != nil && t.String() != "" && name != "host" && !isOwn(t) {
			names[name] = true
		}
	}
	for _, h := range r.RequestHeaders {
		add(h.Name, h.Template)
	}
	// Also of other listeners: a request by another listener than the rule's has to have another key.
	eachRule(c, r, func(rule *config.Rule) {
		for _, t := range rule.Request {
			add(t.Name, t.Value)
		}
	})
	return slices.Sorted(maps.Keys(names))
}

// Known returns the names of fields that do not keep the answer to a request of r, a route of c, out of the store where
// fill is "known": those whose values are part of the key, and those that edge sets for each request. of says how
// answers are cached.
func Known(c *config.Config, r *config.Route, of *Route) []string {
	names := Fields(c, r)
	for _, h := range r.RequestHeaders {
		names = append(names, strings.ToLower(h.Name))
	}
	for i := range c.Listeners {
		if id := &c.Listeners[i].RequestID; id.On {
			names = append(names, strings.ToLower(id.Field))
		}
	}
	for _, t := range of.Key {
		for _, source := range sources(t) {
			if name, found := strings.CutPrefix(source, "header."); found && message.ValidName(name) {
				names = append(names, name)
			}
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// isOwn reports whether t has values of ownOf alone. A word beside them may tell a backend more than the client.
func isOwn(t *lang.Template) (own bool) {
	for _, p := range t.Parts() {
		switch source := strings.TrimSpace(p.Source); {
		case source == "" && strings.Trim(p.Plain, " ,;") == "":
		case ownOf[source] == "":
			return false
		default:
			own = true
		}
	}
	return own
}

// sources returns the values of a template as they stand between their braces, without those made of secrets.
func sources(t *lang.Template) (all []string) {
	for _, p := range t.Parts() {
		if source := strings.TrimSpace(p.Source); source != "" && !p.Secret {
			all = append(all, source)
		}
	}
	return all
}
