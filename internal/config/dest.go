package config

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/edge-proxy/edge/internal/base/yield"
	"github.com/edge-proxy/edge/internal/config/plugins"
	"github.com/edge-proxy/edge/internal/config/schema"
	"github.com/edge-proxy/edge/internal/config/syntax"
	"github.com/edge-proxy/edge/internal/config/value"
	"github.com/edge-proxy/edge/internal/exchange/location"
	"github.com/edge-proxy/edge/internal/plugin"
	"github.com/edge-proxy/edge/internal/route/target"
	"github.com/edge-proxy/edge/lang"
)

const namesInHint = 5

// Rewrite changes the path that a backend sees. The zero value changes nothing.
type Rewrite struct {
	// Prefix, by segments, that is cut off a path before the backend gets it.
	StripPrefix string `edge:"strip_prefix" example:"/v1"`
	// Prefix to put before the path that the backend gets, after `rewrite.strip_prefix`.
	AddPrefix string `edge:"add_prefix" example:"/service"`
	// Path for the backend, in place of both prefixes, with values as in `redirect.to`.
	// Example: "/index{path}"
	Path *lang.Template `edge:"path" json:",omitempty"`
}

// destHello is the dest of the hello page, unless an upstream has that name.
const destHello = "hello"

// parseDest returns where a dest leads. It is the name of an upstream or of a destination, else redirect:URL,
// status:404, hello, or addresses.
func (r *resolver) parseDest(text string, at syntax.Span) Dest {
	if i, found := r.names[text]; found {
		return Dest{Kind: DestUpstream, Upstream: i}
	}
	if _, found := r.defined[text]; found {
		return r.definedDest(text)
	}
	if isSource(r, text) {
		return discoveredUpstream(r, text, at)
	}
	if code, found := strings.CutPrefix(text, "status:"); found {
		n, err := strconv.ParseUint(code, 10, 16)
		if err != nil || n < 200 || n > 599 {
			r.rep.Errorf(at, `write one such as "status:404"`, "%s is not a status from 200 to 599", syntax.Quote(code))
			return Dest{}
		}
		return Dest{Kind: DestStatus, Status: int(n)}
	}
	if i, found := r.names[strings.TrimSuffix(strings.TrimPrefix(text, "http://"), "/")]; found {
		return Dest{Kind: DestUpstream, Upstream: i}
	}
	if name, secured := strings.CutPrefix(text, schemeHTTPS); secured {
		if i, found := r.names[strings.TrimSuffix(name, "/")]; found {
			if !r.c.Upstreams[i].TLS.On {
				r.rep.Errorf(at, "add tls = true to [upstreams."+r.c.Upstreams[i].Name+"]",
					"dest = %s: the connections of upstream %q have no TLS", syntax.Quote(text), r.c.Upstreams[i].Name)
			}
			return Dest{Kind: DestUpstream, Upstream: i}
		}
	}
	if text == destHello {
		return Dest{Kind: DestHello}
	}
	if !strings.ContainsAny(text, ":,/") {
		r.rep.Errorf(at, r.upstreamHint(text, at), "upstream %s does not exist", syntax.Quote(text))
		return Dest{}
	}
	return r.inlineUpstream(text, at)
}

// definedDest returns where a destination of that name leads: to its fallback, with its name in Files, where it has a
// fallback. Each fallback is read once.
func (r *resolver) definedDest(name string) Dest {
	if d, known := r.fallbacks[name]; known {
		return d
	}
	own := Dest{Kind: DestDefined, Name: name}
	r.fallbacks[name] = own // also for a fallback that leads here again
	d, n := r.c.Find(plugin.Destinations, name), plugins.Destinations.KeyNode(r.file, name, "fallback")
	if d == nil || d.Type != "static" || n == nil || n.Kind != syntax.KindString {
		return own
	}
	to := r.parseDest(n.Text, n.Value)
	if to.Kind == DestDefined && to.Name == name || slices.Contains(to.Files, name) {
		r.rep.Errorf(n.Value, "let it lead to an upstream or an address", "fallback = %s leads back to %s",
			syntax.Quote(n.Text), syntax.Quote(name))
	}
	to.Files = slices.Insert(slices.Clone(to.Files), 0, name)
	r.fallbacks[name] = to
	return to
}

// nginxVariables are variables of nginx that a dest has by another name.
var nginxVariables = strings.NewReplacer("$http_host", "{host}", "$host", "{host}")

// inlineUpstream returns the upstream of a dest that spells out its backends: one for all dests with the same ones.
func (r *resolver) inlineUpstream(text string, at syntax.Span) Dest {
	var backends []Backend
	var names []string
	scheme := ""
	for n, item := range strings.Split(text, ",") {
		e, own, wrong, hint := parseURL(strings.TrimSpace(item))
		if wrong == "" && n > 0 && own != scheme {
			wrong = "all of them have one protocol"
			hint = "write " + syntax.Quote(cmp.Or(scheme, "http://")) +
				" before each, or one upstream for each protocol"
		}
		if wrong != "" {
			if meant := nginxVariables.Replace(text); meant != text {
				hint = "write " + syntax.Quote(meant) + ", and say in allow_dest where it may lead"
			}
			r.rep.Errorf(at, hint, "dest = %s: %s", syntax.Quote(text), wrong)
			return Dest{}
		}
		scheme = own
		backends = append(backends, Backend{Host: e.Host, Port: e.Port, Unix: e.Unix, Weight: 1, Pos: at.Pos()})
		names = append(names, scheme+e.String())
	}
	name := strings.Join(names, ", ")
	i, found := r.inline[name]
	if !found {
		i = r.newUpstream(name, at)
		r.inline[name] = i
		u := &r.c.Upstreams[i]
		u.Inline, u.Backends, u.TLS.On = true, backends, scheme == schemeHTTPS
		if scheme == schemeH2C {
			u.Protocol = "h2"
		}
	}
	return Dest{Kind: DestUpstream, Upstream: i}
}

// namesItself reports whether a dest has variables, so that each request names its own.
func namesItself(text string) bool {
	return target.HasVariables(text) && !strings.HasPrefix(text, redirectPrefix)
}

// namedByRequests returns the upstream of a dest with variables: one for all with the same list of what is allowed.
func namedByRequests(r *resolver, e *routeEntry) Dest {
	at := e.At("dest")
	t, err := templateOf(r, e)
	if t == nil && err == nil {
		return Dest{} // that is in the report
	}
	if err != nil {
		hint := cmp.Or(syntax.VariableHint(e.DestText),
			`write one such as "http://{header:X-Tenant}.svc.internal:8080"`)
		r.rep.Errorf(at, hint, "dest = %s: %v", syntax.Quote(e.DestText), err)
		return Dest{}
	}
	if len(e.AllowDest) == 0 {
		if !e.Failed("allow_dest") {
			r.rep.Errorf(at, "add allow_dest = ["+syntax.Quote(target.Suggest(t))+"]",
				"dest = %s: a request names where it goes, and nothing says where it may", syntax.Quote(e.DestText))
		}
		return Dest{}
	}
	l, err := target.ParseList(e.AllowDest...)
	if wrong := (*target.EntryError)(nil); errors.As(err, &wrong) {
		r.rep.Errorf(e.ElementAt("allow_dest", wrong.Index, len(e.AllowDest)), wrong.Hint, "%s: %s",
			syntax.Quote(wrong.Entry), wrong.Wrong)
		return Dest{}
	} else if err != nil {
		r.rep.Errorf(e.At("allow_dest"), "", "allow_dest: %v", err)
		return Dest{}
	}
	scheme, port := t.Fixed()
	if !l.Reaches(scheme, port) {
		r.rep.Errorf(e.At("allow_dest"), "add "+syntax.Quote(target.Suggest(t)),
			"nothing in it is where dest = %s can lead", syntax.Quote(e.DestText))
		return Dest{}
	}
	name := e.DestText
	key := name + "\n" + strings.Join(e.AllowDest, "\n")
	i, found := r.inline[key]
	if !found {
		for taken := range r.inline {
			if strings.HasPrefix(taken, e.DestText+"\n") { // the names of upstreams differ
				name = e.DestText + " -> " + strings.Join(e.AllowDest, ", ")
			}
		}
		i = r.newUpstream(name, at)
		r.inline[key] = i
		u := &r.c.Upstreams[i]
		u.Inline, u.Template, u.Named, u.Allow = true, e.DestText, t, e.AllowDest
		u.SlowStart, u.Sticky, u.Outlier.On = 0, Sticky{}, false // each destination is a backend of its own
		u.TLS.On = l.Reaches("https", 0) && (scheme == "" || scheme == "https")
	}
	return Dest{Kind: DestUpstream, Upstream: i}
}

// oldVariable is what a dest with variables had before the language: {path:1}, {header:X-Tenant}.
var oldVariable = syntax.Expr(`\{[a-z]+:`)

// templateOf reads a dest with variables: as a text of the language, unless it has variables with a colon. Without a
// result and without an error the report says what is wrong.
func templateOf(r *resolver, e *routeEntry) (*target.Template, error) {
	old, err := target.ParseTemplate(e.DestText)
	if err == nil || oldVariable().MatchString(e.DestText) || syntax.VariableHint(e.DestText) != "" {
		return old, err
	}
	text := r.c.Language.Template(r.rep, e.KeyNode("dest"), e.phase())
	if text == nil {
		return nil, nil
	}
	return target.New(text)
}

// warnPointlessPriority warns of a priority where no request waits because of a limit.
func warnPointlessPriority(r *resolver, e *routeEntry) {
	if !e.Has("priority") || e.Failed("priority") || e.Dest.Kind != DestUpstream || len(r.c.Upstreams) == 0 {
		return
	}
	if b := r.c.Upstreams[e.Dest.Upstream].Breaker; b.MaxRequests == 0 && !b.Adaptive {
		r.rep.Warnf(schema.CodeNoEffect, e.Head("priority"), "add breaker = { max_requests = 200 } to the upstream",
			"no request waits by its priority: the upstream has no limit of requests")
	}
}

// warnPointlessAllow warns of allow_dest where requests do not name where they go, and of keys that mean nothing where
// they do.
func warnPointlessAllow(r *resolver, e *routeEntry) {
	if !namesItself(e.DestText) {
		if e.Has("allow_dest") && !strings.Contains(e.DestText, "$") {
			r.rep.Warnf(schema.CodeNoEffect, e.Head("allow_dest"), "leave it out",
				"dest has no variables: it leads to one place")
		}
		return
	}
	for _, path := range []string{"load_balancing", "hash_key"} {
		if e.Has(path) {
			r.rep.Warnf(schema.CodeNoEffect, e.Head(path), "", "%q is for upstreams: dest has variables", path)
		}
	}
}

// The schemes of backends, beside http:// and none at all.
const (
	schemeHTTPS = "https://"
	schemeH2C   = "h2c://"
)

// parseURL reads "host:port", "unix:/path", or "http://host", whose port is 80 when it has none. scheme is "https://"
// or "h2c://" when s begins so.
func parseURL(s string) (e value.Endpoint, scheme, wrong, hint string) {
	port, rest := ":80", ""
	switch before, after, found := strings.Cut(s, "://"); {
	case !found && s == "":
		return e, "", "an address is missing between commas", "write a comma between two addresses alone"
	case !found && strings.ContainsRune(s, '/') && !strings.HasPrefix(s, "unix:"):
		return e, "", syntax.Quote(s) + " is not an address", pathHint("", s)
	case !found:
		e, wrong, hint = value.ParseEndpoint(s)
		return e, "", wrong, hint
	case before == "http":
		rest = after
	case before == "https":
		port, scheme, rest = ":443", schemeHTTPS, after
	case before == "h2c":
		scheme, rest = schemeH2C, after
	default:
		return e, "", syntax.Quote(before+"://") + " is not supported by this version", otherScheme(before, after)
	}
	rest = strings.TrimSuffix(rest, "/")
	if strings.ContainsAny(rest, "/?#@") {
		return e, "", "a URL here is http://host:port, without a path", pathHint(cmp.Or(scheme, "http://"), rest)
	}
	if _, _, hasPort := value.SplitHostPort(rest); !hasPort {
		rest += port
	}
	e, wrong, hint = value.ParseEndpoint(rest)
	return e, scheme, wrong, hint
}

// pathHint returns the hint for an address that a path follows, or something else of a URL.
func pathHint(scheme, rest string) string {
	if user := strings.LastIndexByte(rest, '@'); user >= 0 {
		return "leave the user out: headers = { request = { Authorization = \"Basic …\" } } is sent to backends"
	}
	address, way, _ := strings.Cut(rest, "/")
	if address == "" || strings.HasPrefix(rest, ".") {
		return "write host:port, " + syntax.Quote("unix:"+rest) + " for a socket, or " +
			syntax.Quote(folderScheme+rest) + " for files"
	}
	if way == "" || strings.ContainsAny(rest, "?#") {
		return "write http://host:port"
	}
	return "write " + syntax.Quote(scheme+address) + " and rewrite = { add_prefix = " +
		syntax.Quote("/"+strings.TrimSuffix(way, "/")) + " }"
}

// otherScheme returns the hint for an address with a scheme that is none of a backend.
func otherScheme(scheme, rest string) string {
	switch scheme {
	case "ws":
		return "write " + syntax.Quote("http://"+rest) + ": WebSockets need no more"
	case "wss":
		return "write " + syntax.Quote(schemeHTTPS+rest) + ": WebSockets need no more"
	case "grpc":
		return "write " + syntax.Quote("http://"+rest) + " and grpc = true"
	case "grpcs":
		return "write " + syntax.Quote(schemeHTTPS+rest) + " and grpc = true"
	case "tcp", "udp", "fastcgi", "ftp":
		return "backends speak HTTP: http://, https:// or h2c://"
	}
	return "write host:port, http://host:port or https://host:port"
}

// upstreamHint returns the hint for a dest that names an upstream that does not exist.
func (r *resolver) upstreamHint(name string, at syntax.Span) string {
	names := slices.AppendSeq(slices.Collect(maps.Keys(r.names)), maps.Keys(r.defined))
	slices.Sort(names)
	if hint := syntax.VariableHint(name); hint != "" {
		return hint
	}
	if len(names) == 0 {
		return "there are no upstreams; an address is written as " + syntax.Quote(name+":80")
	}
	hint, label := "", "upstreams"
	if near := syntax.Nearest(name, names); near != "" {
		where := "of the program"
		if s := cmp.Or(r.named[near], r.defined[near]); s.IsValid() {
			where = s.RelativeTo(at)
		}
		hint = fmt.Sprintf("did you mean %s (%s)? ", syntax.Quote(near), where)
		label = "other upstreams"
		names = slices.DeleteFunc(names, func(n string) bool { return n == near })
	}
	if len(names) == 0 {
		return strings.TrimSpace(hint)
	}
	shown := names[:min(len(names), namesInHint)]
	hint += label + ": " + strings.Join(shown, ", ")
	if more := len(names) - len(shown); more > 0 {
		hint += fmt.Sprintf(" and %d more", more)
	}
	return hint
}

const redirectPrefix = "redirect:"

// redirectTo returns the destination that redirects to the template of n from an offset on, made in a phase.
func redirectTo(r *resolver, n *syntax.Node, from, status int, in lang.Phases) Dest {
	value.WarnForeignVariables(r.rep, n, value.TemplateVariables())
	d := Dest{Kind: DestRedirect, Status: status}
	if d.Location = r.c.Language.TemplateFrom(r.rep, n, from, in); d.Location == nil {
		return d
	}
	if _, err := location.Location(d.Location); err != nil {
		to := n.Text[from:]
		r.rep.Errorf(n.Value, redirectHint(r, to), "redirect to %s: %v", syntax.Quote(to), err)
	}
	return d
}

func redirectHint(r *resolver, to string) string {
	for _, meant := range []string{schemeHTTPS + to, "/" + to} {
		t, err := r.c.Language.Scope().Template(meant, lang.Request)
		if err == nil && !strings.Contains(to, ":/") {
			_, err = location.Location(t)
		}
		if err == nil && !strings.Contains(to, ":/") {
			return "did you mean " + syntax.Quote(meant) + "?"
		}
	}
	return `write one such as "https://example.com{path}"`
}

func resolveRules(r *resolver) {
	r.c.Rules = rulesOf(r, r.file.Entries("rules"), lang.Request)
	for i, e := range r.doc.listeners {
		e.Rules = rulesOf(r, schema.Inside(e), lang.Request)
		r.c.Listeners[i].Rules = e.Rules
	}
}

func rulesOf(r *resolver, entries []schema.Target, in lang.Phases) []Rule {
	rules := readRules(r.file, entries, r.c.Language, in, func(text string, at syntax.Span) string {
		if namesItself(text) {
			r.rep.Errorf(at, "write it as dest of a route that has the when of the rule, with allow_dest",
				"the dest of a rule has no variables")
			return ""
		}
		d := r.parseDest(text, at)
		if len(d.Files) > 0 {
			r.rep.Errorf(at, "write it as dest of a route that has the when of the rule",
				"the dest of a rule has no fallback")
		}
		if d.Kind == DestUpstream && len(r.c.Upstreams) > 0 {
			return r.c.Upstreams[d.Upstream].Name
		}
		if d.Kind != DestUpstream && d.Kind != DestDefined {
			r.rep.Errorf(at, "respond and redirect answer",
				"the dest of a rule is an upstream, a destination, or addresses")
		}
		return d.Name
	})
	for i, e := range schema.All[*ruleEntry](entries) {
		rules[i].Features = r.features(e)
	}
	return rules
}

func checkDestinations(r *resolver) {
	for name, at := range r.defined {
		switch _, found := r.names[name]; {
		case !found:
		case !at.IsValid():
			r.rep.Errorf(r.named[name], "give this one another name", "the program has a destination %s of its own",
				syntax.Quote(name))
		default:
			r.rep.Conflictf(at, r.named[name], "each has a name of its own: a dest may be either",
				"the upstream at %s has the name %q", r.named[name].RelativeTo(at), name)
		}
	}
}

// sends reports whether requests go on, to a backend or to what a module has made of them.
func (d *Dest) sends() bool {
	return d.Kind == DestUpstream || d.Kind == DestDefined || len(d.Files) > 0
}

// EachRule calls f for every rule of c.
func (c *Config) EachRule(f func(rule *Rule)) {
	each := func(list []Rule) {
		for i := range list {
			f(&list[i])
		}
	}
	each(c.Rules)
	for i := range c.Listeners {
		each(c.Listeners[i].Rules)
	}
	for i := range yield.Over(len(c.Routes)) {
		each(c.Routes[i].Rules)
	}
}
