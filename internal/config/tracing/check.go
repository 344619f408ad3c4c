package tracing

import (
	"slices"
	"strings"

	"github.com/edge-proxy/edge/internal/config"
	"github.com/edge-proxy/edge/internal/config/schema"
	"github.com/edge-proxy/edge/internal/config/syntax"
	"github.com/edge-proxy/edge/internal/observe"
	"github.com/edge-proxy/edge/internal/observe/otlp"
	"github.com/edge-proxy/edge/internal/plugin"
	"github.com/edge-proxy/edge/lang"
)

// resolve completes [tracing], whose entry exists without a table too.
func resolve(doc *schema.Document, t schema.Target) {
	e := t.(*Tracing)
	if e.on = e.Node() != nil || e.HasAny(""); !e.on {
		return
	}
	for _, p := range e.Complete(otlp.Traces) {
		at := e.Place(p.Key)
		if p.Key == "" && (e.HasUnknown() || e.Failed("endpoint")) {
			continue // an unknown key may be meant, or the key is reported
		}
		doc.Report.Errorf(at, p.Hint, "%s", p.Wrong)
	}
	if wrong := WrongResource(e.Resource); wrong != "" {
		doc.Report.Errorf(e.Place("resource"), "", "%s", wrong)
	}
	if e.InClear() {
		doc.Report.Warnf(codeInClear, e.Place("headers"), inClearHint, inClear)
	}
}

const (
	inClear     = "the fields of headers go to another machine without TLS"
	inClearHint = "write https://"
)

// checker completes the entries of a file, and reports their mistakes.
// Owned by the goroutine that reads the file.
type checker struct {
	rep  *config.Report
	c    *config.Config
	base *Choice // of [tracing]; nil: there is none
}

// check completes and checks the entries of c.
func check(doc *schema.Document, c *config.Config) {
	k := checker{rep: doc.Report, c: c}
	t := schema.Only[*Tracing](c.Features)
	if k.complete(&t.Given, &t.Choice, false); t.on {
		k.base = &t.Choice
	}
	k.warnSinks(doc)
	for _, t := range doc.Entries(listenersPath) {
		e := t.(*listenerEntry)
		k.own(&e.Given, &e.Choice, e.Enabled, false)
	}
	for i := range c.Routes {
		r := &c.Routes[i]
		if i > 0 && r.Entry == c.Routes[i-1].Entry {
			continue // it differs by its host alone
		}
		if e := schema.Only[*routeEntry](r.Features); e != nil {
			k.own(&e.Given, &e.Choice, e.Enabled, r.Host != "" && !strings.Contains(r.Host, "*"))
		}
	}
}

// warnSinks warns of log sinks whose fields any program can read.
func (k *checker) warnSinks(doc *schema.Document) {
	for _, t := range doc.Entries(plugin.LogSinks.Section) {
		g := schema.GivenOf(t)
		d := k.c.Find(plugin.LogSinks, g.Node().Key)
		if d == nil { // its type is wrong
			continue
		}
		if s, ok := d.Config.(interface{ InClear() bool }); ok && s.InClear() {
			k.rep.Warnf(codeInClear, g.At("headers"), inClearHint, inClear)
		}
	}
}

// own completes the entry of a listener or of a route.
func (k *checker) own(g *schema.Given, c *Choice, enabled, oneHost bool) {
	if k.complete(g, c, oneHost); k.base == nil && enabled {
		k.rep.Errorf(g.Node().Head, `add [tracing] with endpoint = "http://127.0.0.1:4318"`,
			"there is no [tracing] that says where spans go")
	}
}

// complete compiles the texts that the file gives c, takes its other texts from the base, and warns of secrets in spans
// and of wide names. oneHost says that all requests are for one host.
func (k *checker) complete(g *schema.Given, c *Choice, oneHost bool) {
	base := k.base
	if base == nil {
		base = &Choice{Always: Always{Status: []config.StatusRange{{From: 500, To: 599}}}}
	}
	switch {
	case !g.Has("always"):
		c.Always = base.Always
	case !g.Failed("always"):
		c.Always.When = config.Always(k.rep, k.c.Language, g.KeyNode("always"), func(s config.StatusRange) {
			c.Always.Status = append(c.Always.Status, s)
		})
	}
	switch {
	case !g.Has("name"):
		c.Name = base.Name
	case !g.Failed("name"):
		c.Name = k.compile(g.KeyNode("name"))
		k.warnWide(g.KeyNode("name"), c.Name, oneHost)
	}
	if !g.Has("attributes") {
		c.Attributes = base.Attributes
	} else if !g.Failed("attributes") {
		c.Attributes = slices.Clone(c.Attributes)
		for i := range c.Attributes {
			c.Attributes[i].Value = k.compile(g.KeyNode("attributes").Child(c.Attributes[i].Name))
		}
	}
	k.checkFields(g, "request_fields", c.Asked)
	k.checkFields(g, "answer_fields", c.Answered)
}

func (k *checker) compile(n *syntax.Node) *lang.Template {
	t := k.c.Language.Template(k.rep, n, lang.Log)
	k.c.Log.WarnShown(k.rep, n, t)
	return t
}

// checkFields checks a list of fields that the file gives.
func (k *checker) checkFields(g *schema.Given, key string, names []string) {
	if !g.Has(key) || g.Failed(key) {
		return
	}
	if len(names) > observe.MembersMax {
		k.rep.Errorf(g.At(key), "", "%d fields, %d are the most", len(names), observe.MembersMax)
	}
	for i, name := range names {
		if schema.NamesSecret(name) {
			k.rep.Warnf(config.CodeSecretInLog, g.ElementAt(key, i, len(names)), "leave it out",
				"spans show the field %s, which carries credentials", syntax.Quote(name))
		}
	}
}

// wide matches a value that a client may fill with anything.
var wide = syntax.Expr(`^(path|target|query|header|cookie|body|rest|match|sni|tls\.sni|client\.ip|client_ip|` +
	`client\.port|peer\.ip|socket\.ip|cert\.|client_cert_|request\.id|request_id|trace\.id|trace_id|time|duration|` +
	`upstream\.time|bytes|length|auth|host)\b`)

// warnWide warns of the name t at n of spans.
func (k *checker) warnWide(n *syntax.Node, t *lang.Template, oneHost bool) {
	if t == nil {
		return
	}
	for _, p := range t.Parts() {
		source := strings.TrimSpace(p.Source)
		if wide().MatchString(source) && !(oneHost && source == "host") {
			k.rep.Warnf(codeWideName, n.Value, `leave it out, or write it as an attribute`,
				"{%s} has as many values as clients like, and spans as many names", source)
		}
	}
}
