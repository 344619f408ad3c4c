package config

import (
	"cmp"
	"net"
	"slices"
	"strconv"
	"strings"

	"github.com/edge-proxy/edge/internal/base/yield"
	"github.com/edge-proxy/edge/internal/config/value"
	"github.com/edge-proxy/edge/internal/exchange/location"
	"github.com/edge-proxy/edge/internal/exchange/variables"
	"github.com/edge-proxy/edge/internal/route"
	"github.com/edge-proxy/edge/lang"
	"github.com/edge-proxy/edge/message"
)

// warnRoutes warns of routes and listeners that cannot do what they seem to be for. What is wrong with one of them
// says little about the others, so it waits until the file has no error.
func warnRoutes(r *resolver) {
	if !r.rep.OK() {
		return
	}
	warnHiddenRoutes(r)
	warnLoneWeights(r)
	warnUnreachableRoutes(r)
	warnIdleListeners(r)
	warnRedirectLoops(r)
}

// entryOf returns the entry of the file that a route was made of.
func entryOf(r *resolver, of *Route) *routeEntry { return r.doc.routes[of.Entry] }

// live returns the routes that may take a request.
func live(c *Config) (list []*Route) {
	for i := range yield.Over(len(c.Routes)) {
		if one := &c.Routes[i]; !one.Off && !one.Shadowed {
			list = append(list, one)
		}
	}
	return list
}

// warnHiddenRoutes warns of a route whose requests all go to another one, which has the same pattern and goes first.
func warnHiddenRoutes(r *resolver) {
	var listeners []string
	for i := range r.c.Listeners {
		listeners = append(listeners, r.c.Listeners[i].Name)
	}
	// Only a route that asks the same of listeners and in its condition, or nothing, hides another: thousands may have
	// one pattern.
	type kind struct{ pattern, when, listener string }
	kindOf := func(rule *route.Rule) kind {
		k := kind{pattern: rule.Pattern()}
		if rule.When != nil {
			k.when = rule.When.String()
		}
		return k
	}
	alike := make(map[kind][]*Route)
	all := live(r.c)
	for i := range yield.Over(len(all)) {
		rule := all[i].Rule()
		k := kindOf(&rule)
		for _, k.listener = range anyOr(rule.Listeners) {
			alike[k] = append(alike[k], all[i])
		}
	}
	for i := range yield.Over(len(all)) {
		one := all[i]
		rule := one.Rule()
		k := kindOf(&rule)
		var others []*Route
		for _, when := range slices.Compact([]string{"", k.when}) {
			for _, listener := range slices.Compact([]string{"", anyOr(append(rule.Listeners, listeners...))[0]}) {
				others = append(others, alike[kind{k.pattern, when, listener}]...)
			}
		}
		for _, other := range others {
			first := other.Rule()
			if other.Entry == one.Entry || !first.Hides(&rule, listeners) {
				continue
			}
			at, by := entryOf(r, one).Node().Head, entryOf(r, other).Node().Head
			r.rep.WarnConflictf(codeShadowedRoute, at, by,
				"this route can never match: the one at %s has the same pattern, takes all that this one would take, "+
					"and goes before it", by.RelativeTo(at))
			break
		}
	}
}

// anyOr returns a list of names, or one with "" where there is none.
func anyOr(list []string) []string {
	if len(list) == 0 {
		return []string{""}
	}
	return list
}

// warnLoneWeights warns of a weight that shares with no other. A weight of 1 asks for no share.
func warnLoneWeights(r *resolver) {
	count := make(map[string]int)
	key := func(one *Route) string {
		rule := one.Rule()
		return rule.Pattern() + " " + rule.Conditions()
	}
	for i := range yield.Over(len(r.c.Routes)) {
		count[key(&r.c.Routes[i])]++
	}
	for _, one := range live(r.c) {
		e := entryOf(r, one)
		if one.Weight > 1 && count[key(one)] == 1 && len(e.Hosts) < 2 {
			r.rep.Warnf(codeLoneWeight, e.Head("weight"), "",
				"no other route has the same pattern and conditions: this one takes all such requests, whatever its "+
					"weight")
		}
	}
}

// warnUnreachableRoutes warns of a route whose listeners redirect all that comes.
func warnUnreachableRoutes(r *resolver) {
	for _, e := range r.doc.routes {
		if e.Off || !e.Has("listener") {
			continue
		}
		if !slices.ContainsFunc(e.on, (*listenerEntry).servesRequests) {
			r.rep.Warnf(codeUnreachableRoute, e.Head("listener"), "name the listener that takes https",
				"this route takes no request: its listeners redirect all of them to https")
		}
	}
}

// warnIdleListeners warns of a listener whose requests no route may take.
func warnIdleListeners(r *resolver) {
	if f := r.c.Fallback; len(r.doc.routes) == 0 || f.Kind != DestStatus {
		return
	}
	for _, l := range r.doc.listeners {
		taken := func(e *routeEntry) bool { return !e.Off && slices.Contains(e.on, l) }
		if !slices.ContainsFunc(r.doc.routes, taken) && l.servesRequests() {
			r.rep.Warnf(codeIdleListener, l.Node().Head, "",
				"no route takes requests of this listener: every answer is %d", r.c.Fallback.Status)
		}
	}
}

// hopsMax bounds how many redirects are followed. Browsers give up after about twenty.
const hopsMax = 20

// urlMax bounds the URLs that are followed, in bytes: a redirect that writes {path} twice doubles the path each time.
const urlMax = 8192

// hop is a request on its way through redirects: where it was sent, and to which listener that leads.
type hop struct {
	listener *Listener
	scheme   string
	host     string // without its port
	port     string
	target   string
}

func (h *hop) url() string { return h.scheme + "://" + net.JoinHostPort(h.host, h.port) + h.target }

// arrives is the arrival of a hop, whose client has whatever certificate is asked for.
type arrives struct{ listener *Listener }

func (a arrives) ListenerName() string      { return a.listener.Name }
func (a arrives) CertificateVerified() bool { return true }
func (a arrives) CertificateNames() (subject, issuer string, sans []string, ok bool) {
	return "", "", nil, false
}
func (a arrives) Holds(*lang.Condition, []byte) bool { return false }

// warnRedirectLoops warns of redirects that lead back to where they were asked, perhaps by way of others. One request
// of each route is followed; where it leaves the listeners and the hosts of the file, nothing is known.
func warnRedirectLoops(r *resolver) {
	redirects := func(e *routeEntry) bool { return e.Dest.Kind == DestRedirect }
	if !slices.ContainsFunc(r.doc.routes, redirects) {
		return // most files: a table of thousands of routes costs as much as the table that serves them
	}
	var table route.Table[*Route]
	all := live(r.c)
	for i := range yield.Over(len(all)) {
		if one := all[i]; table.Add(one.Rule(), one) != nil {
			return // a pattern of the file that the router does not take: the start says so
		}
	}
	for _, one := range all {
		if one.Dest.Kind != DestRedirect || one.ClientCert != nil || one.When != nil {
			continue
		}
		for i := range r.c.Listeners {
			from, asks := startOf(one, &r.c.Listeners[i])
			if from == nil {
				continue
			}
			if way := follow(r.c, &table, one, *from, asks); way != "" {
				e := entryOf(r, one)
				key := "dest"
				if e.Has("redirect.to") {
					key = "redirect.to"
				}
				r.rep.Warnf(codeRedirectLoop, e.Head(key), "", "this redirect leads to itself: %s", way)
				break
			}
		}
	}
}

// startOf returns a request that the route takes by l, and its method and fields; nil where none can be named.
func startOf(one *Route, l *Listener) (from *hop, asks *message.Head) {
	host := one.Host
	if below, wild := strings.CutPrefix(host, "*."); wild {
		host = "www." + below
	}
	host = cmp.Or(host, "localhost")
	target := one.Path
	if one.PathKind == PathPrefix {
		target = strings.TrimSuffix(target, "/") + "/x"
	}
	from = &hop{listener: l, scheme: "http", host: host, target: target}
	if l.TLS != TLSOff {
		from.scheme = "https"
	}
	ports := l.ports()
	if len(ports) == 0 {
		return nil, nil
	}
	from.port = strconv.Itoa(ports[0])
	asks = &message.Head{}
	asks.SetMethod("GET")
	if len(one.Methods) > 0 {
		asks.SetMethod(one.Methods[0])
	}
	for _, c := range one.Header {
		if strings.HasPrefix(c.Value, "~") {
			return nil, nil
		}
		asks.Add(c.Name, c.Value)
	}
	if len(one.Query) > 0 { // another matter where a part of it is left elsewhere
		return nil, nil
	}
	return from, asks
}

// follow follows a request of one until a URL comes a second time. It returns how it went where one has redirected from
// there before; else it is a loop of other routes, or none.
func follow(c *Config, table *route.Table[*Route], one *Route, at hop, asks *message.Head) string {
	var way []string
	var by []*Route // what redirected from each
	for range hopsMax {
		url := at.url()
		if i := slices.Index(way, url); i >= 0 {
			if by[i] != one {
				return ""
			}
			return strings.Join(append(way, url), " -> ")
		}
		to, found, ok := at.next(table, asks)
		if !ok || len(to) > urlMax || len(way) == 0 && found != one {
			return ""
		}
		way, by = append(way, url), append(by, found)
		next, known := at.resolve(c, to)
		if !known {
			return ""
		}
		at = next
	}
	return ""
}

// next returns where the request is redirected to, and by which route; nil for redirect_to_https.
func (h *hop) next(table *route.Table[*Route], asks *message.Head) (to string, by *Route, ok bool) {
	if h.scheme == "http" && h.listener.RedirectToHTTPS {
		to = "https://" + h.host
		if h.listener.HTTPSPort != 443 {
			to += ":" + strconv.Itoa(h.listener.HTTPSPort)
		}
		return to + h.target, nil, true
	}
	ask := *asks
	ask.SetAuthority(net.JoinHostPort(h.host, h.port))
	ask.SetTarget(h.target)
	var local route.Local
	by, err := table.Find(&ask, arrives{h.listener}, route.Reading{}, &local)
	if err != nil || by == nil || by.Dest.Kind != DestRedirect {
		return "", nil, false
	}
	t, err := location.Location(by.Dest.Location)
	if err != nil || !followed(by.Dest.Location) {
		return "", nil, false
	}
	path, _, _ := strings.Cut(h.target, "?")
	rest := ""
	if by.PathKind == PathPrefix {
		rest = path[min(len(strings.TrimSuffix(route.NormalPath(by.Path), "/")), len(path)):]
	}
	ask.HTTPS = h.scheme == "https"
	text, err := t.Append(nil, &ask, &lang.X{Request: &ask, Path: []byte(path), Subject: &walker{rest: rest}})
	return string(text), by, err == nil
}

var _ variables.Subject = (*walker)(nil)

// walker evaluates the templates of a chain of redirects: it knows {rest}, and no other value of a request.
type walker struct {
	variables.Subject
	rest string
}

// Rest returns what the path has beyond the route's path.
func (w *walker) Rest([]byte) []byte { return []byte(w.rest) }

// followed reports whether a request that is followed has all values of a template.
func followed(t *lang.Template) bool {
	for _, p := range t.Parts() {
		if p.Source != "" && !slices.Contains(value.TemplateVariables().Names(), p.Source) && p.Source != "target" {
			return false
		}
	}
	return true
}

// resolve returns the request for a Location. It reports false where it leaves what the file knows: for a port that no
// listener has, and for a host that is neither the host that was asked for nor the host of a route.
func (h *hop) resolve(c *Config, location string) (next hop, known bool) {
	next = *h
	location, _, _ = strings.Cut(location, "#")
	scheme, rest, absolute := strings.Cut(location, "://")
	switch {
	case absolute:
		next.scheme = scheme
	case strings.HasPrefix(location, "//"):
		rest = location[2:]
	default:
		next.target = location
		return next, true
	}
	end := strings.IndexAny(rest, "/?")
	if end < 0 {
		end = len(rest)
	}
	host, target := rest[:end], rest[end:]
	if !strings.HasPrefix(target, "/") {
		target = "/" + target
	}
	next.target, next.port = target, map[string]string{"http": "80", "https": "443"}[next.scheme]
	next.host = host
	if name, port, err := net.SplitHostPort(host); err == nil {
		next.host, next.port = name, port
	}
	if next.host != h.host && !slices.ContainsFunc(c.Routes, func(r Route) bool { return r.Host == next.host }) {
		return next, false
	}
	for i := range c.Listeners {
		l := &c.Listeners[i]
		fits := l.TLS == TLSAuto || (l.TLS == TLSOn) == (next.scheme == "https")
		for _, port := range l.ports() {
			if fits && strconv.Itoa(port) == next.port {
				next.listener = l
				return next, true
			}
		}
	}
	return next, false
}
