package config

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/edge-proxy/edge/internal/config/language"
	"github.com/edge-proxy/edge/internal/config/schema"
	"github.com/edge-proxy/edge/internal/config/syntax"
	"github.com/edge-proxy/edge/internal/config/value"
	"github.com/edge-proxy/edge/internal/observe"
	"github.com/edge-proxy/edge/internal/plugin"
	"github.com/edge-proxy/edge/lang"
)

// Log says how requests are logged.
type Log struct {
	// Places of the access log: `stdout`, `stderr`, paths, URLs such as `syslog+udp://10.0.0.5:514`, or names of
	// `[log_sinks]`. An empty list: no access log.
	// Example: ["stdout", "/var/log/edge/access.log"]
	Output []string `edge:"output" kind:"log_outputs" default:"[\"stdout\"]" file:"log"`
	Logging
	// Parameters of queries whose values are `REDACTED` in access logs, whatever their case, hyphens and prefixes.
	// `preset:secrets` stands for [names of tokens and keys](logging.md#secrets-in-logs). An empty list hides none.
	// Example: ["preset:secrets", "ticket"]
	Redact []string `edge:"redact" kind:"redact" default:"[\"preset:secrets\"]"`
}

// LogOf returns how the requests of a route are logged that came by a listener: each key is as the route says, else as
// the listener does, else as [log] does. r is nil for those that no route takes, and for connections of services.
func (c *Config) LogOf(l *Listener, r *Route) Log {
	log := c.Log.with(&l.AccessLog)
	if l.Service != nil {
		return log.OfConnections()
	}
	if r != nil {
		log = log.with(&r.AccessLog)
	}
	return log
}

// LogsToFile reports whether an output of logs is a file, stdout or stderr: no URL of a server, no table of
// [log_sinks].
func (c *Config) LogsToFile(output string) bool {
	return !value.IsLogTarget(output) && c.Find(plugin.LogSinks, output) == nil
}

// OfConnections returns log without what is for requests alone.
func (log Log) OfConnections() Log {
	log.When, log.Sample, log.Always, log.Line, log.Fields = nil, nil, nil, nil, nil
	return log
}

// with returns log with what a says in place of it. Format, Line and Fields are one thing to say, as are a path and
// false.
func (log Log) with(a *AccessLog) Log {
	switch {
	case a.Off:
		log.Output = nil
	case a.Path != "":
		log.Output = []string{a.Path}
	}
	switch {
	case a.Line != nil:
		log.Line, log.Fields = a.Line, nil
	case a.Format != "" || a.Fields != nil:
		log.Format, log.Line, log.Fields = cmp.Or(a.Format, "json"), nil, a.Fields
	}
	log.When = cmp.Or(a.When, log.When)
	log.Sample = cmp.Or(a.Sample, log.Sample)
	log.Always = cmp.Or(a.Always, log.Always)
	return log
}

// Types of keys. The comment after each is the Go type of its values.
var (
	TypeSample = schema.Type{Name: "number from 0 to 1", Parse: parseSample}                  // *float64
	TypeAlways = schema.Type{Name: "list of words, [conditions](DSL.md)", Parse: parseAlways} // []string, see Always
	typeRedact = schema.Type{Name: "list of names", Parse: schema.ListOf("the name of a parameter", redactedOf)}
	typeFields = schema.Type{Name: "table of [templates](DSL.md)", Parse: parseFields} // *[]value.Text
)

func parseSample(d *schema.Decoder, _ *schema.Key, n *syntax.Node) (any, bool) {
	share, hint := -1.0, "write 0.1 for a tenth"
	switch {
	case n.Kind == syntax.KindFloat:
		share = n.Fraction
	case n.Kind == syntax.KindInt:
		share = float64(n.Integer)
	case n.Kind == syntax.KindString && n.Expanded:
		if v, err := strconv.ParseFloat(n.Text, 64); err == nil {
			share = v
		}
	case n.Kind == syntax.KindLost:
		return nil, false
	case n.Kind == syntax.KindString:
		hint = shareHint(n.Text, hint)
	}
	if share >= 1 && share <= 100 && n.Kind == syntax.KindInt && share != 1 {
		hint = shareHint(n.Text+"%", hint)
	}
	if !(share >= 0 && share <= 1) { // a NaN is neither
		d.Report.Errorf(n.Value, hint, "%q must be a number from 0 to 1", n.Key)
		return nil, false
	}
	return &share, true
}

// shareHint says how a percentage is written, else it returns other.
func shareHint(text, other string) string {
	digits, percent := strings.CutSuffix(text, "%")
	v, err := strconv.ParseFloat(digits, 64)
	if err != nil || !(v >= 0 && v <= 100) {
		return other
	}
	if percent {
		v /= 100
	}
	return "write " + strconv.FormatFloat(v, 'f', -1, 64)
}

func parseFields(d *schema.Decoder, _ *schema.Key, n *syntax.Node) (any, bool) {
	all, right := value.ParseTexts(d, n, func(c *syntax.Node) (wrong, hint string) {
		if observe.HasMember(c.Key) {
			return "the line has a member " + syntax.Quote(c.Key) + " of its own",
				"write another name, such as " + syntax.Quote("x_"+c.Key)
		}
		return "", ""
	})
	if len(all) > observe.MembersMax {
		d.Report.Errorf(n.Head, `"line" has no limit`, "%d fields, %d are the most", len(all), observe.MembersMax)
		right = false
	}
	return &all, right
}

// presetSecrets stands in redact for schema.SecretNames, and for the code of OAuth 2.0, which is a secret in queries
// alone.
const presetSecrets = "preset:secrets"

// Redaction returns what hides the parameters that log.Redact names; nil: there are none.
func (log *Log) Redaction() *observe.Redaction {
	var names []string
	for _, name := range log.Redact {
		if name == presetSecrets {
			names = append(append(names, "code"), schema.SecretNames...)
		} else {
			names = append(names, name)
		}
	}
	return observe.NewRedaction(names)
}

func redactedOf(_ []string, name string) (parameter, wrong, hint string) {
	switch {
	case strings.HasPrefix(name, "preset:") && name != presetSecrets:
		return name, "there is no " + name, "the one preset is " + syntax.Quote(presetSecrets)
	case name == "" || strings.ContainsAny(name, "=&;#?% "):
		return name, syntax.Quote(name) + " is not the name of a parameter",
			`write it without "?", "&" and "=", and unescaped`
	case len(name) > observe.NameMax:
		return name, fmt.Sprintf("the name of a parameter has %d bytes at most", observe.NameMax), ""
	}
	return name, "", ""
}

// parseAlways reads a list of texts, which Language compiles later. A status may be a number.
func parseAlways(d *schema.Decoder, k *schema.Key, n *syntax.Node) (any, bool) {
	numbersAsTexts(append([]*syntax.Node{n}, n.Children...))
	return schema.ListOf("a word or a condition", schema.AnyText)(d, k, n)
}

type logFile struct {
	path string
	at   syntax.Span
}

// logFiles returns the files, and URLs of servers, that logs go to, as they are written.
func (doc *document) logFiles() (all []logFile) {
	add := func(path string, at syntax.Span) {
		_, sink := doc.sinks[path]
		if !sink && path != "" && path != "stdout" && path != "stderr" {
			all = append(all, logFile{path, at})
		}
	}
	if g := doc.global; g.Has("error_log") {
		add(g.ErrorLog, g.At("error_log"))
	}
	if l := doc.log; l.Has("output") && !l.Failed("output") {
		for i, path := range l.Output {
			add(path, l.ElementAt("output", i, len(l.Output)))
		}
	}
	own := func(e *schema.Given, log *AccessLog) {
		for _, key := range []string{"access_log", "access_log.path"} {
			if e.Has(key) {
				add(log.Path, e.At(key))
			}
		}
	}
	for _, e := range slices.Concat(doc.listeners, doc.services) {
		own(&e.Given, &e.AccessLog)
	}
	for _, e := range doc.routes {
		own(&e.Given, &e.AccessLog)
	}
	return all
}

// resolveLogging compiles what an entry says about the lines of access logs, under keys with a prefix.
func resolveLogging(r *resolver, e *schema.Given, prefix string, to *Logging) {
	if e.Has(prefix+"when") && !e.Failed(prefix+"when") {
		to.When = r.c.Language.Condition(r.rep, e.KeyNode(prefix+"when"), lang.Log)
	}
	if e.Has(prefix+"always") && !e.Failed(prefix+"always") {
		to.Always = resolveAlways(r, e.KeyNode(prefix+"always"))
		warnPointlessAlways(r, e, prefix)
	}
	if to.Fields != nil {
		for i, f := range *to.Fields {
			n := e.KeyNode(prefix + "fields").Child(f.Name)
			(*to.Fields)[i].Value = r.c.Language.Template(r.rep, n, lang.Log)
			r.c.Log.WarnShown(r.rep, n, (*to.Fields)[i].Value)
		}
		if to.Format == "common" || to.Format == "combined" {
			r.rep.Errorf(e.Head(prefix+"fields"), `leave format out, or write a line of your own with "line"`,
				"fields are for the formats json and logfmt, not for %s", to.Format)
		}
	}
	if !e.Has(prefix+"line") || e.Failed(prefix+"line") {
		return
	}
	to.Line = r.c.Language.Template(r.rep, e.KeyNode(prefix+"line"), lang.Log)
	r.c.Log.WarnShown(r.rep, e.KeyNode(prefix+"line"), to.Line)
	for _, key := range []string{"format", "fields"} {
		if e.Has(prefix + key) {
			r.rep.Errorf(e.Head(prefix+key), "remove one of the two: line may have all of it itself",
				"line stands in place of %s", key)
		}
	}
	if to.Line != nil && strings.ContainsAny(to.Line.String(), "\r\n") {
		r.rep.Errorf(e.At(prefix+"line"), "", "a line of the log has no end of a line in it")
	}
}

// parameter matches a parameter of the query in a text of the language.
var parameter = syntax.Expr(`\bquery\.([\w.-]+)`)

// WarnShown warns of a template at n that names a parameter which log.Redact hides. t may be nil.
func (log *Log) WarnShown(rep *Report, n *syntax.Node, t *lang.Template) {
	if t == nil {
		return
	}
	d := log.Redaction()
	for _, part := range t.Parts() {
		for _, name := range parameter().FindAllStringSubmatch(part.Source, -1) {
			if d.Hides(name[1]) {
				rep.Warnf(CodeSecretInLog, n.Value, "leave it out, or take it out of redact in [log]",
					"it shows the parameter %s, which redact names", syntax.Quote(name[1]))
			}
		}
	}
}

func resolveAlways(r *resolver, n *syntax.Node) *[]*lang.Condition {
	all := Always(r.rep, r.c.Language, n, nil)
	return &all
}

// Always compiles the words and conditions of a key of TypeAlways, for the phase of the log. status takes statuses;
// nil: they are conditions as well.
func Always(rep *Report, l *language.Language, n *syntax.Node, status func(StatusRange)) []*lang.Condition {
	all, nodes := []*lang.Condition{}, n.Children
	if n.Kind == syntax.KindString {
		nodes = []*syntax.Node{n}
	}
	for _, one := range nodes {
		if s, is := statusWord(one.Text); is && status != nil {
			status(s)
		} else if meant, wrong := alwaysWord(one.Text); wrong != "" {
			rep.Errorf(one.Value, wrong, "always has no word %s", syntax.Quote(one.Text))
		} else if meant == "" {
			all = append(all, l.Condition(rep, one, lang.Log))
		} else if c, err := l.Scope().Condition(meant, lang.Log); err == nil {
			all = append(all, c)
		} else {
			rep.Errorf(one.Value, "", "%s: %s", syntax.Quote(one.Text), err)
		}
	}
	return all
}

// statusWord returns the statuses that a word of always stands for.
func statusWord(text string) (s StatusRange, is bool) {
	class, status := strings.CutSuffix(strings.ToLower(text), "xx")
	n, err := strconv.Atoi(class)
	switch {
	case err != nil || class[0] == '+':
	case status && n >= 1 && n <= 5 && len(class) == 1:
		return StatusRange{n * 100, n*100 + 99}, true
	case !status && n >= 100 && n <= 599 && len(class) == 3:
		return StatusRange{n, n}, true
	}
	return s, false
}

// alwaysWords are the words of always, beside statuses and times.
var alwaysWords = map[string]string{"retried": "attempts > 1", "error": "has(error.kind)"}

// alwaysWord returns the condition that a word of always stands for, "" where the text is a condition itself, or the
// hint for a word that is neither.
func alwaysWord(text string) (meant, wrong string) {
	s, status := statusWord(text)
	switch {
	case alwaysWords[text] != "":
		return alwaysWords[text], ""
	case status && s.From == s.To:
		return "status == " + text, ""
	case status:
		return fmt.Sprintf("status >= %d and status <= %d", s.From, s.To), ""
	case text[0] == '>':
		op, than := ">", text[1:]
		if strings.HasPrefix(than, "=") {
			op, than = ">=", than[1:]
		}
		took, ok := schema.Duration.Number(strings.TrimSpace(than))
		if !ok || took < int64(time.Millisecond) {
			return "", `times are written as in ">1s" or ">250ms"`
		}
		return "duration " + op + " " + strconv.FormatInt(took/int64(time.Millisecond), 10) + "ms", ""
	case strings.ContainsFunc(text, func(c rune) bool { return c != '_' && !unicode.In(c, unicode.L, unicode.Nd) }):
		return "", ""
	}
	words := []string{"retried", "error", "5xx", "4xx"}
	meant = map[string]string{"retry": "retried", "retries": "retried", "failed": "error"}[text]
	return "", cmp.Or(syntax.DidYouMean(cmp.Or(meant, text), words), "words are "+syntax.Alternatives(words)+
		", statuses such as \"503\" and times such as \">1s\"")
}

// warnPointlessAlways warns of always where nothing is sampled in the whole configuration.
func warnPointlessAlways(r *resolver, e *schema.Given, prefix string) {
	if !r.doc.log.Has("sample") &&
		!slices.ContainsFunc(r.doc.listeners, func(e *listenerEntry) bool { return e.Has("access_log.sample") }) &&
		!slices.ContainsFunc(r.doc.routes, func(e *routeEntry) bool { return e.Has("access_log.sample") }) {
		r.rep.Warnf(schema.CodeNoEffect, e.Head(prefix+"always"), "add sample = 0.1, or leave it out",
			"without a sample all requests are logged")
	}
}

// warnNoLog warns of a process in the background whose logs all go to its stdout and stderr.
func warnNoLog(doc *document, rep *Report) {
	if doc.global.Daemon && len(doc.logFiles())+len(doc.sinks) == 0 {
		rep.Warnf(codeNoLog, doc.global.At("daemon"), `add error_log = "/var/log/edge/error.log", and output to [log]`,
			"stdout and stderr lead nowhere in the background: nothing is logged")
	}
}
