package plugins

import (
	"cmp"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"github.com/edge-proxy/edge/internal/config/schema"
	"github.com/edge-proxy/edge/internal/config/syntax"
	"github.com/edge-proxy/edge/internal/plugin"
	"github.com/edge-proxy/edge/lang"
)

//go:embed definition.go
var source embed.FS

// Definition is one table of a kind.
type Definition struct {
	plugin.Table
	// Condition of [the language](DSL.md) on requests that the filter runs for. For all other requests none of its
	// functions runs. It is asked once for a request, when the first function would run.
	// Example: 'path starts_with "/api/"'
	When *lang.Condition `edge:"when" json:",omitempty"`
	Pos  syntax.Pos
	Body bool `json:"-"` // When, or a text of its keys, names the body of a request

	keys map[string]any // the values of Config, by their keys, as they were read
}

// Like reports whether two definitions have the same keys with the same values. It is for schema.Equal.
func (d Definition) Like(other any) bool {
	o := other.(Definition)
	return d.Kind == o.Kind && d.Name == o.Name && len(d.ChangedKeys(&o)) == 0
}

// ChangedKeys returns the keys whose values differ between two definitions of a kind.
func (d *Definition) ChangedKeys(next *Definition) (keys []string) {
	switch {
	case d.Type != next.Type:
		return []string{"type"}
	case d.Type == "": // neither is one
		return nil
	}
	if fmt.Sprint(d.When) != fmt.Sprint(next.When) {
		keys = append(keys, "when")
	}
	for _, k := range keysOf(plugin.TypeNamed(d.Kind, d.Type)) {
		a, b := d.keys[k.Path], next.keys[k.Path]
		if (a == nil) != (b == nil) || a != nil && !schema.Equal(a, b) {
			keys = append(keys, k.Path)
		}
	}
	return keys
}

// Settings returns the values of d that differ from the defaults, in the order of its keys: "rate 100/s".
func (d *Definition) Settings() (list []string) {
	for _, k := range keysOf(plugin.TypeNamed(d.Kind, d.Type)) {
		if v, preset := d.keys[k.Path], k.Preset; v != nil && (preset == nil || !schema.Equal(v, preset)) {
			list = append(list, k.Path+" "+k.Text(v))
		}
	}
	return list
}

// Files returns the files of these uses that the keys of d name, by these keys: see tag "file" of package tags. A key
// with the tag "local" alone names a file that is read.
func (d *Definition) Files(uses ...string) map[string]string {
	files := make(map[string]string)
	for _, k := range keysOf(plugin.TypeNamed(d.Kind, d.Type)) {
		use := cmp.Or(k.Field.Tag.Get("file"), "read")
		if path, ok := d.keys[k.Path].(string); ok && k.Local && path != "" && slices.Contains(uses, use) {
			files[k.Path] = path
		}
	}
	return files
}

// entry is a table of a kind.
type entry struct {
	schema.Held
	Definition
}

func (k *Kind) newEntry(_ schema.Target, n *syntax.Node) schema.Target {
	e := &entry{}
	e.Kind = k.Kind
	if n == nil {
		return e
	}
	e.Config = k.NewStruct(n)
	e.Struct = e.Config
	e.Name, e.Pos = n.Key, n.Head.Pos()
	return e
}

// NewStruct returns the struct for the keys of the table n, by its type; nil: there is no such type.
func (k *Kind) NewStruct(n *syntax.Node) any {
	name := k.Default
	if by := n.Child("type"); by != nil {
		name = by.Text
	}
	if t := k.find(name); t != nil {
		return t.New()
	}
	return nil
}

// Define completes and checks h, an entry of another package whose values are filled in, as one of k of that type. With
// try it is made once, and given up, to see whether it can be.
func (k *Kind) Define(rep *syntax.Report, h *schema.Held, typ string, c Compiler, try bool) *Definition {
	n := h.Node()
	e := &entry{Held: *h, Definition: Definition{
		Table: plugin.Table{Kind: k.Kind, Name: n.Key, Type: typ, Config: h.Struct}, Pos: n.Head.Pos()}}
	e.resolve(rep, c)
	if try && rep.OK() {
		k.try(rep, e)
	}
	return &e.Definition
}

// Read returns the tables of k that doc has, in the order of the file.
func (k *Kind) Read(doc *schema.Document, c Compiler) (all []Definition) {
	for _, e := range schema.All[*entry](doc.Entries(k.Section)) {
		if e.Config == nil {
			continue // its type is not known
		}
		doc.Fill(e)
		e.resolve(doc.Report, c)
		all = append(all, e.Definition)
	}
	return all
}

// typeProgram stands for the type of definitions of the program itself.
const typeProgram = "(program)"

// OfProgram returns definitions of the program itself, with these names. They have no keys.
func (k *Kind) OfProgram(names []string) (all []Definition) {
	for _, name := range names {
		all = append(all, Definition{Table: plugin.Table{Kind: k.Kind, Name: name, Type: typeProgram}})
	}
	return all
}

// Names returns the names of all tables of k, right or wrong, with their places.
func (k *Kind) Names(doc *schema.Document) (names []string, at map[string]syntax.Span) {
	at = make(map[string]syntax.Span)
	for _, e := range schema.All[*entry](doc.Entries(k.Section)) {
		names = append(names, e.Name)
		at[e.Name] = e.Node().Head
	}
	return names, at
}

// KeyNode returns where doc gives a key of the table of k with that name; nil where it does not.
func (k *Kind) KeyNode(doc *schema.Document, name, path string) *syntax.Node {
	for _, e := range schema.All[*entry](doc.Entries(k.Section)) {
		if e.Name == name {
			return e.KeyNode(path)
		}
	}
	return nil
}

// RefuseTaken reports tables of k whose names stand for something of the program.
func (k *Kind) RefuseTaken(doc *schema.Document, program []string) {
	names, at := k.Names(doc)
	for _, name := range names {
		if slices.Contains(program, name) {
			doc.Report.Errorf(at[name], "give this one another name", "the program has a %s %s of its own", k.Name,
				syntax.Quote(name))
		}
	}
}

// WarnUnused warns of tables of k whose names stand in none of the lists that named joins.
func (k *Kind) WarnUnused(doc *schema.Document, named []string) { k.CheckUsed(doc, named, false) }

// CheckUsed is WarnUnused. With try it makes the others, as a server does, and reports those that cannot be made.
func (k *Kind) CheckUsed(doc *schema.Document, named []string, try bool) {
	for _, e := range schema.All[*entry](doc.Entries(k.Section)) {
		if !slices.Contains(named, e.Name) {
			doc.Report.Warnf(k.unusedCode(), e.Node().Head, k.Use, "nothing uses the %s %s", k.Name,
				syntax.Quote(e.Name))
			continue
		}
		if try {
			k.try(doc.Report, e)
		}
	}
}

// try makes e once, and reports its warnings, or why it cannot be made.
func (k *Kind) try(rep *syntax.Report, e *entry) {
	warned, err := k.find(e.Type).Try(&e.Table)
	for _, line := range warned {
		rep.Warnf(k.Name+"-warning", e.Node().Head, "", "the %s %s: %s", k.Name, syntax.Quote(e.Name), line)
	}
	if err != nil {
		rep.Errorf(e.blamed(err), "", "the %s %s cannot be made: %v", k.Name, syntax.Quote(e.Name), err)
	}
}

// blamed returns where the file stands that err is about, else where the table of e begins.
func (e *entry) blamed(err error) syntax.Span {
	var wrong *fs.PathError
	for key, path := range e.Files("read", "page", "write", "log") {
		if errors.As(err, &wrong) && wrong.Path == path && e.Has(key) {
			return e.At(key)
		}
	}
	return e.Node().Head
}

// resolve completes and checks an entry whose values are filled in.
func (e *entry) resolve(rep *syntax.Report, c Compiler) {
	if e.Has("when") && !e.Failed("when") {
		e.When = c.Condition(rep, e.KeyNode("when"), lang.Content)
	}
	t := plugin.TypeNamed(e.Kind, e.Type)
	keys := &table{Held: &e.Held, of: t, keys: keysOf(t)}
	e.keys = keys.resolve(rep, c)
	e.Body = keys.body || e.When != nil && e.When.NamesBody()
}

// table is the keys of a type in a file: an entry of its kind, or a table inside an entry of another section.
type table struct {
	*schema.Held
	of   *plugin.Type
	keys []*schema.Key // of the entry
	path string        // that they begin with: "limit."; "": they are keys of the entry
	body bool          // a text names the body of a request
}

// resolve completes and checks a table whose values are filled in, and returns them by the paths of the type's keys.
func (t *table) resolve(rep *syntax.Report, c Compiler) map[string]any {
	values, before := make(map[string]any, len(t.keys)), len(rep.Errors)
	right := !t.HasUnknown()
	for _, k := range t.keys {
		v := t.Value(k.Path)
		right = right && !t.Failed(k.Path)
		if v == nil && !t.Has(k.Path) {
			v = k.Preset
		}
		values[k.Path[len(t.path):]] = v
		if s, ok := v.(plugin.Source); ok {
			t.compile(rep, c, k, s)
		}
		around := k.Path[:strings.LastIndexByte(k.Path, '.')+1]
		if k.Required && t.Lacks(k.Path) && (around == t.path || t.HasAny(around)) {
			hint := ""
			if k.Example != "" {
				hint = "write " + k.Path + " = " + k.Example
			}
			rep.Errorf(t.head(), hint, "%s needs %s", t.title(), syntax.Quote(k.Path))
		}
	}
	if right && len(rep.Errors) == before {
		t.of.Check(t.Struct, reported{t, rep})
	}
	return values
}

// reported is t as a plugin.File, which reports to a Report.
type reported struct {
	*table
	to *syntax.Report
}

func (r reported) Has(path string) bool { return r.table.Has(r.path + path) }

func (r reported) Report(path string, element, elements int, hint, message string) {
	at := r.Node().Head
	if path = r.path + path; r.table.Has(path) {
		at = r.ElementAt(path, element, elements)
	}
	r.to.Errorf(at, hint, "%s", message)
}

func (t *table) head() syntax.Span {
	if n := t.Node().Child(strings.TrimSuffix(t.path, ".")); n != nil {
		return n.Head
	}
	return t.Node().Head
}

func (t *table) title() string {
	if t.path == "" {
		return "a " + t.of.Kind.Name + " of type " + syntax.Quote(t.of.Name)
	}
	return syntax.Quote(strings.TrimSuffix(t.path, "."))
}

// compile compiles the text of k and stores what it has become.
func (t *table) compile(rep *syntax.Report, c Compiler, k *schema.Key, s plugin.Source) {
	if t.Has(k.Path) {
		if n := t.KeyNode(k.Path); !s.Template {
			if v := c.Condition(rep, n, s.Phases); v != nil {
				k.Store(t.Held, v)
				t.body = t.body || v.NamesBody()
			}
		} else if v := c.Template(rep, n, s.Phases); v != nil {
			k.Store(t.Held, v)
			t.body = t.body || v.NamesBody()
		}
		return
	}
	v, err := s.Compile(c.Scope())
	if err != nil {
		rep.Errorf(t.Node().Head, "", "the default of %s: %s", syntax.Quote(k.Path), err)
		return
	}
	k.Store(t.Held, v)
}

// Inside is a table inside the entries of another section that has keys of a type.
type Inside struct {
	of   *plugin.Type
	path string
	keys []*schema.Key
}

// In returns the table of that name with the keys of a type, as change has changed them, but for those that it leaves
// out: then it returns false. nil: the program does not have the type.
func (k *Kind) In(name, typ string, change func(k *schema.Key) bool) *Inside {
	t := k.find(typ)
	if t == nil {
		return nil
	}
	in := &Inside{of: t, path: name + "."}
	for _, key := range keysOf(t) {
		own := *key
		if own.Path = in.path + key.Path; change(&own) {
			in.keys = append(in.keys, &own)
		}
	}
	return in
}

// Keys returns the keys for one section. The targets of its entries embed schema.Held.
func (in *Inside) Keys() (list []*schema.Key) {
	if in == nil {
		return nil
	}
	for _, k := range in.keys {
		own := *k
		list = append(list, &own)
	}
	return list
}

// New returns the Struct of an entry whose table is n; nil: it does not have the table.
func (in *Inside) New(n *syntax.Node) any {
	if in == nil || n == nil {
		return nil
	}
	if of := n.Child(strings.TrimSuffix(in.path, ".")); of == nil || of.Kind != syntax.KindTable {
		return nil
	}
	return in.of.New()
}

// Resolve completes and checks the table of an entry whose values are filled in. The zero Definition: it has none.
func (in *Inside) Resolve(rep *syntax.Report, h *schema.Held, c Compiler) Definition {
	if h.Struct == nil {
		return Definition{}
	}
	t := &table{Held: h, of: in.of, keys: in.keys, path: in.path}
	return Definition{Table: plugin.Table{Kind: in.of.Kind, Type: in.of.Name, Config: h.Struct},
		Pos: h.Node().Head.Pos(), keys: t.resolve(rep, c)}
}
