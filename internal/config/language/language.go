package language

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/edge-proxy/edge/internal/config/schema"
	"github.com/edge-proxy/edge/internal/config/syntax"
	"github.com/edge-proxy/edge/internal/exchange/variables"
	"github.com/edge-proxy/edge/internal/match/table"
	"github.com/edge-proxy/edge/lang"
)

// Options say how Read makes a Language. The zero value reads no file.
type Options struct {
	// Tables has the handles that lists and maps of the same name and kind go on with; nil: they get new ones.
	Tables *Tables
	// Open makes the Language read files; otherwise a table has the entries that are written out alone.
	Open bool
	// Locate returns where a file is that at names; nil: there.
	Locate func(path string, at syntax.Span) string
	// Unreadable is asked about an error of a file. It reports it and returns true where it is for others to read; nil:
	// none is.
	Unreadable func(err error, at syntax.Span, path string) bool
	// Places makes the Language remember where conditions stand: see Place.
	Places bool
	// LookupEnv finds env.NAME; nil: there is no environment.
	LookupEnv func(name string) (value string, found bool)
}

// Language is what the texts of one configuration may name. Immutable after Read, but for Commit.
type Language struct {
	Lists []List
	Maps  []Map
	Geo   Geo // zero: there is no database

	names  lang.Names // that the configuration defines
	scope  *lang.Scope
	hello  *lang.Scope // of handshakes
	loaded []loaded
	tables *Tables

	nodes  map[*lang.Condition]*syntax.Node // the strings of conditions; nil: their places are not asked for
	bodies []*syntax.Node                   // the strings that name the body of a request
}

// Read makes the language of the entries of a file. It reports what is wrong with them, also in the files that they
// name.
func Read(doc *schema.Document, o Options) *Language {
	l := &Language{tables: o.Tables}
	if o.Places {
		l.nodes = make(map[*lang.Condition]*syntax.Node)
	}
	l.names = lang.Names{
		Lists: make(map[string]lang.List), Maps: make(map[string]lang.Map), Secrets: make(map[string][]byte),
		Env: o.LookupEnv,
	}
	r := reader{doc: doc, rep: doc.Report, options: o, language: l}
	for _, e := range schema.All[*listEntry](doc.Entries("lists")) {
		if doc.Fill(e); r.named(&e.Given, e.Name) {
			l.names.Lists[e.Name] = r.list(e)
		}
	}
	for _, e := range schema.All[*mapEntry](doc.Entries("maps")) {
		if doc.Fill(e); r.named(&e.Given, e.Name) {
			l.names.Maps[e.Name] = r.table(e)
		}
	}
	for _, e := range schema.All[*secretEntry](doc.Entries("secrets")) {
		if doc.Fill(e); r.named(&e.Given, e.name) {
			r.secret(e)
		}
	}
	l.names.Variables = variables.Geo(r.geo())
	var err error
	if l.scope, err = variables.Scope(l.names); err == nil {
		l.hello, err = variables.HandshakeScope(l.names)
	}
	if err != nil {
		doc.Report.Errorf(syntax.Span{}, "", "%s", err)
		l.scope, _ = variables.Scope(lang.Names{})
		l.hello, _ = variables.HandshakeScope(lang.Names{})
	}
	if o.Tables == nil {
		l.Commit()
	}
	return l
}

// Files returns the files of lists, maps and databases.
func (l *Language) Files() (paths []string) {
	if l == nil {
		return nil
	}
	for i := range l.loaded {
		if file := l.loaded[i].file; file != "" {
			paths = append(paths, file)
		}
	}
	return paths
}

// Identity tells what compiled texts are bound to: it is the same for two configurations whose texts, where they are
// equal, mean the same.
func (l *Language) Identity() string {
	if l == nil {
		return ""
	}
	h := sha256.New()
	for _, one := range l.loaded {
		fmt.Fprintf(h, "%v %p ", one.key, one.handle)
	}
	for _, name := range slices.Sorted(maps.Keys(l.names.Secrets)) {
		fmt.Fprintf(h, "%q %q ", name, l.names.Secrets[name])
	}
	return string(h.Sum(nil))
}

// Secrets returns the secrets, for a comparison of two configurations. They are not shown.
func (l *Language) Secrets() map[string][]byte { return l.names.Secrets }

// Scope returns what texts may name.
func (l *Language) Scope() *lang.Scope { return l.scope }

// scopeIn returns what texts may name that are evaluated in some phases.
func (l *Language) scopeIn(in lang.Phases) *lang.Scope {
	if in == lang.Handshake {
		return l.hello
	}
	return l.scope
}

// Condition compiles the string n as a condition that is evaluated in some phases. A mistake in it is reported at its
// place inside the string; the result is nil then.
func (l *Language) Condition(rep *syntax.Report, n *syntax.Node, in lang.Phases) *lang.Condition {
	if !isText(rep, n) {
		return nil
	}
	c, err := l.scopeIn(in).Condition(n.Text, in)
	if err != nil {
		report(rep, n, 0, err)
		return nil
	}
	if l.nodes != nil {
		l.nodes[c] = n
	}
	if c.NamesBody() {
		l.bodies = append(l.bodies, n)
	}
	return c
}

// WarnUnread warns of the strings that name the body of a request: no route reads any.
func (l *Language) WarnUnread(rep *syntax.Report) {
	for _, n := range l.bodies {
		rep.Warnf(schema.CodeNoEffect, n.Value, `add read_body = "64k" to the routes that this is for`,
			"body is missing: no route reads the body of a request")
	}
}

// Place returns where the bytes of c from an offset up to another one stand; false where that is not known.
func (l *Language) Place(c *lang.Condition, from, to int) (at syntax.Pos, known bool) {
	n := l.nodes[c]
	if n == nil {
		return syntax.Pos{}, false
	}
	return n.Part(from, to).Pos(), true
}

// Template is Condition for a template.
func (l *Language) Template(rep *syntax.Report, n *syntax.Node, in lang.Phases) *lang.Template {
	return l.TemplateFrom(rep, n, 0, in)
}

// TemplateFrom is Template for the text of n from an offset on.
func (l *Language) TemplateFrom(rep *syntax.Report, n *syntax.Node, from int, in lang.Phases) *lang.Template {
	if !isText(rep, n) {
		return nil
	}
	t, err := l.scopeIn(in).Template(n.Text[from:], in)
	if err != nil {
		report(rep, n, from, err)
		return nil
	}
	if t.NamesBody() {
		l.bodies = append(l.bodies, n)
	}
	return t
}

// word is what looks like a variable, but is not one of them.
var word = syntax.Expr(`\{[a-z][a-z0-9_]*\}`)

// Field is Template for a text in which braces may stand for themselves, as in JSON: the value of a field. A name alone
// in braces has to be the name of a value.
func (l *Language) Field(rep *syntax.Report, n *syntax.Node, in lang.Phases) *lang.Template {
	if !isText(rep, n) {
		return nil
	}
	t, err := l.scope.LooseTemplate(n.Text, in)
	if err != nil {
		report(rep, n, 0, err)
		return nil
	}
	if t.NamesBody() {
		l.bodies = append(l.bodies, n)
	}
	from := 0
	for _, p := range t.Parts() {
		if p.Source != "" {
			from += strings.Index(n.Text[from:], p.Source) + len(p.Source)
			continue
		}
		for _, at := range word().FindAllStringIndex(p.Plain, -1) {
			text := p.Plain[at[0]:at[1]]
			from += strings.Index(n.Text[from:], text)
			if _, err := l.scope.Template(text, in); err != nil {
				report(rep, n, from, err)
				return nil
			}
		}
	}
	return t
}

// isText reports whether n is a string, and reports to rep where it is not.
func isText(rep *syntax.Report, n *syntax.Node) bool {
	if n.Kind != syntax.KindString && n.Kind != syntax.KindLost {
		rep.Errorf(n.Value, "", "%q must be a string, this is %s", n.Key, n.Kind.Noun())
	}
	return n.Kind == syntax.KindString
}

// report reports what is wrong with the text of n from an offset on.
func report(rep *syntax.Report, n *syntax.Node, from int, err error) {
	var wrong *lang.Error
	if !errors.As(err, &wrong) {
		rep.Errorf(n.Value, "", "%s", err)
		return
	}
	rep.Errorf(n.Part(from+wrong.Offset, from+wrong.End), wrong.Hint, "%s", wrong.Message)
}

// reader makes a Language.
type reader struct {
	doc      *schema.Document
	rep      *syntax.Report
	options  Options
	language *Language
}

// IsName reports whether texts can have a name in them.
func IsName(name string) bool {
	right := name != "" && len(name) <= 64
	for i, c := range []byte(name) {
		letter := c|0x20 >= 'a' && c|0x20 <= 'z' || c == '_'
		right = right && (letter || i > 0 && (c >= '0' && c <= '9' || c == '-'))
	}
	return right
}

// named is IsName, and reports to rep a name that is none.
func (r *reader) named(g *schema.Given, name string) bool {
	right := IsName(name)
	if !right {
		r.rep.Errorf(g.Node().Name, "as in office or office-net",
			"%s is no name: it begins with a letter and has letters, digits, \"_\" and \"-\" alone, 64 at most",
			syntax.Quote(name))
	}
	return right
}

func (r *reader) list(e *listEntry) lang.List {
	e.Pos = e.Node().Head.Pos()
	if !e.Has("values") && e.Lacks("file") {
		r.rep.Errorf(e.Node().Head, `add file = "…" or values = […]`, "this list has no entries")
	}
	source := table.Source{File: r.file(&e.Given, e.File)}
	for _, v := range e.Values {
		source.Inline = append(source.Inline, table.Entry{Key: v})
	}
	e.File = source.File
	r.language.Lists = append(r.language.Lists, e.List)
	t := r.options.Tables.list(e.Name, keysOf(e.Kind))
	r.loadOf(&e.Given, tableKey{name: e.Name, keys: t.Keys()}, t, source, e.Refresh)
	if t.Keys() == table.Texts {
		return lang.List{Kind: lang.Text, HasText: t.HasText}
	}
	return lang.List{Kind: lang.IP, HasAddr: t.HasAddr}
}

func (r *reader) table(e *mapEntry) lang.Map {
	e.Pos = e.Node().Head.Pos()
	if !e.Has("values") && e.Lacks("file") {
		r.rep.Errorf(e.Node().Head, `add file = "…" or values = {…}`, "this map has no entries")
	}
	e.File = r.file(&e.Given, e.File)
	r.language.Maps = append(r.language.Maps, e.Map)
	t := r.options.Tables.table(e.Name, keysOf(e.Kind))
	source := table.Source{File: e.File, Inline: e.Values}
	r.loadOf(&e.Given, tableKey{name: e.Name, keys: t.Keys(), pairs: true}, t, source, e.Refresh)
	if t.Keys() == table.Texts {
		return lang.Map{Key: lang.Text, Text: t.Text}
	}
	return lang.Map{Key: lang.IP, Addr: t.Addr}
}

func (r *reader) secret(e *secretEntry) {
	if e.Lacks("value") {
		r.rep.Errorf(e.Node().Head, `add value = "${file:/run/secrets/`+e.name+`}"`, "this secret has no value")
	}
	if e.Failed("value") || !e.Has("value") {
		e.Value = "?" // its name is known even so: texts that use it are right
	}
	r.language.names.Secrets[e.name] = []byte(e.Value)
}

// file returns where the file of a table is.
func (r *reader) file(g *schema.Given, path string) string {
	if path == "" || r.options.Locate == nil || !g.Has("file") {
		return path
	}
	return r.options.Locate(path, g.At("file"))
}

func keysOf(kind string) table.Keys {
	if strings.EqualFold(kind, "texts") {
		return table.Texts
	}
	return table.Addresses
}
