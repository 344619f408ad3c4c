package filters

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/edge-proxy/edge/config/schema"
	"github.com/edge-proxy/edge/config/syntax"
	"github.com/edge-proxy/edge/lang"
)

// Type is a type of filters, as a file sees it. Immutable.
type Type struct {
	Name string
	Doc  string        // one sentence
	Keys []*schema.Key // of schema.Struct
	New  func() any    // makes a struct for their values: a pointer to it

	// Check reports what the types of the keys cannot say. It is asked about a struct without other mistakes. The paths
	// of the keys in g begin with table.
	Check func(rep *syntax.Report, g *schema.Given, table string, config any)
	// Try makes a filter and gives it up again. The error says why it cannot be made.
	Try func(name string, config any) error
}

// types are written by init functions alone.
var types []*Type

// Register adds a type, which has a name of its own. It is for init functions.
func Register(t *Type) { types = append(types, t) }

// find returns the type of that name, or nil.
func find(name string) *Type {
	for _, t := range types {
		if t.Name == name {
			return t
		}
	}
	return nil
}

// Filter is one of [filters].
type Filter struct {
	Name   string
	Type   string
	When   *lang.Condition `json:",omitempty"` // for which requests; nil: for all
	Config any             `json:"-"`          // what New of the type has made, completed and checked
	Pos    syntax.Pos

	keys map[string]any // the values of Config, by their keys, as they were read
}

// Like reports whether two filters have the same keys with the same values. It is for schema.Equal.
func (f Filter) Like(other any) bool {
	g := other.(Filter)
	return f.Name == g.Name && len(f.ChangedKeys(&g)) == 0
}

// ChangedKeys returns the keys whose values differ between two filters.
func (f *Filter) ChangedKeys(next *Filter) (keys []string) {
	switch {
	case f.Type != next.Type:
		return []string{"type"}
	case f.Type == "": // neither is one
		return nil
	}
	if fmt.Sprint(f.When) != fmt.Sprint(next.When) {
		keys = append(keys, "when")
	}
	for _, k := range find(f.Type).Keys {
		a, b := f.keys[k.Path], next.keys[k.Path]
		if (a == nil) != (b == nil) || a != nil && !schema.Equal(a, b) {
			keys = append(keys, k.Path)
		}
	}
	return keys
}

// Settings returns the values of f that are not those of the defaults, in the order of its keys: "rate 100/s".
func (f *Filter) Settings() (list []string) {
	for _, k := range find(f.Type).Keys {
		if v, preset := f.keys[k.Path], k.Preset(); v != nil && (preset == nil || !schema.Equal(v, preset)) {
			if s, ok := v.(Source); ok {
				v = s.Text
			}
			list = append(list, fmt.Sprintf("%s %v", k.Path, v))
		}
	}
	return list
}

// Files returns the files that the keys of f name, by these keys.
func (f *Filter) Files() map[string]string {
	files := make(map[string]string)
	for _, k := range find(f.Type).Keys {
		if path, ok := f.keys[k.Path].(string); ok && k.Local && path != "" {
			files[k.Path] = path
		}
	}
	return files
}

// entry is a table of [filters].
type entry struct {
	schema.Held
	Filter
	when Source
}

// Source is the value of a key for a *lang.Condition or a *lang.Template: a text that is compiled once it is known what
// it may name.
type Source struct {
	Text     string
	Phases   lang.Phases
	Template bool
}

// Section returns the section [filters], with the types that were registered.
func Section() *schema.Section {
	all := slices.SortedFunc(slices.Values(types), func(a, b *Type) int { return cmp.Compare(a.Name, b.Name) })
	s := &schema.Section{
		Path: "filters", Shape: schema.Named, New: newEntry,
		Doc: "Filters, by the names under which `filters` of listeners, `[defaults]` and routes name them: see " +
			"[filters](filters.md#in-a-configuration).",
		Variants: schema.Variants{By: "type", Unknown: elsewhere},
		Codes: []schema.Code{{Name: CodeUnused,
			Doc: "No listener, no route, no rule and not `[defaults]` names a filter: it is not made."}},
		Keys: []*schema.Key{
			{Path: "type", Type: schema.Token, Required: true, Example: `"polite"`,
				Into: schema.Into(func(e *entry) *string { return &e.Type }),
				Doc:  "What it does: one of those below, or of a module that the program was built with."},
			{Path: "when", Type: ConditionType(lang.Request), Example: `'path starts_with "/api/"'`,
				Into: schema.Into(func(e *entry) *Source { return &e.when }),
				Doc: "The requests that it is for: a text of [the language](DSL.md). For others none of its " +
					"functions runs. It is asked once for a request, when the first one would run."},
		},
	}
	for _, t := range all {
		s.Variants.List = append(s.Variants.List, schema.Variant{Name: t.Name, Doc: t.Doc, Keys: t.Keys})
	}
	return s
}

// CodeUnused is the code of a warning.
const CodeUnused = "unused-filter"

// Own are the types of edge itself, which a program has that imports package filter/all.
var Own = []string{"basic_auth", "cors", "csrf", "fault", "ip", "maintenance", "rate_limit", "request_limits",
	"security_headers"}

func elsewhere(name string) string {
	if slices.Contains(Own, name) {
		return `this program was built without it: import _ "github.com/edge-proxy/edge/filter/all"`
	}
	return "edge modules lists the types of this program, and edge build links modules that have others"
}

// ConditionType is the type of keys for conditions that are asked in some phases. Its values are Sources.
func ConditionType(in lang.Phases) schema.Type { return sourceType("condition", in, false) }

// TemplateType is ConditionType for templates.
func TemplateType(in lang.Phases) schema.Type { return sourceType("template", in, true) }

func sourceType(name string, in lang.Phases, template bool) schema.Type {
	return schema.Type{Name: "[" + name + "](DSL.md)",
		Parse: func(d *schema.Decoder, _ *schema.Key, n *syntax.Node) (any, bool) {
			if n.Kind != syntax.KindString {
				d.WrongKind(n, "a "+name, "")
				return nil, false
			}
			if strings.TrimSpace(n.Text) == "" {
				d.Report.Errorf(n.Value, "leave it out, or say which", "%q must not be empty", n.Key)
				return nil, false
			}
			return Source{n.Text, in, template}, true
		}}
}

func newEntry(_ schema.Target, n *syntax.Node) schema.Target {
	e := &entry{}
	if n == nil {
		return e
	}
	if by := n.Child("type"); by != nil {
		if t := find(by.Text); t != nil {
			e.Config = t.New()
			e.Struct = e.Config
		}
	}
	e.Name, e.Pos = n.Key, n.Head.Pos()
	return e
}

// Compiler compiles the texts of a configuration, and reports what is wrong with them: *language.Language.
type Compiler interface {
	// Condition compiles the string n; nil: it is wrong.
	Condition(rep *syntax.Report, n *syntax.Node, in lang.Phases) *lang.Condition
	// Template is Condition for a template.
	Template(rep *syntax.Report, n *syntax.Node, in lang.Phases) *lang.Template
	// Scope returns what texts may name.
	Scope() *lang.Scope
}

// Read returns the filters that doc has, in the order of the file. program are the names of filters that the program
// has made itself.
func Read(doc *schema.Document, c Compiler, program []string) (all []Filter) {
	for _, e := range schema.All[*entry](doc.Entries("filters")) {
		if e.Config == nil {
			continue // its type is not known
		}
		doc.Fill(e)
		if slices.Contains(program, e.Name) {
			doc.Report.Errorf(e.Node().Head, "give this one another name", "the program has a filter %s of its own",
				syntax.Quote(e.Name))
		}
		e.resolve(doc.Report, c)
		all = append(all, e.Filter)
	}
	return all
}

// Names returns the names of all tables of [filters], right or wrong.
func Names(doc *schema.Document) (names []string) {
	for _, e := range schema.All[*entry](doc.Entries("filters")) {
		names = append(names, e.Name)
	}
	return names
}

// CheckUsed warns of tables of [filters] whose names stand in none of the lists that named joins. With try it makes the
// others, as a server does, and reports those that cannot be made.
func CheckUsed(doc *schema.Document, named []string, try bool) {
	for _, e := range schema.All[*entry](doc.Entries("filters")) {
		if slices.Contains(named, e.Name) {
			if !try {
				continue
			}
			if err := find(e.Type).Try(e.Name, e.Config); err != nil {
				doc.Report.Errorf(e.Node().Head, "", "the filter %s cannot be made: %v", syntax.Quote(e.Name), err)
			}
		} else {
			doc.Report.Warnf(CodeUnused, e.Node().Head,
				"name it in \"filters\" of a listener, of [defaults], of a route or of a rule",
				"nothing uses the filter %s", syntax.Quote(e.Name))
		}
	}
}

// resolve completes and checks an entry whose values are filled in.
func (e *entry) resolve(rep *syntax.Report, c Compiler) {
	if e.Has("when") && !e.Failed("when") {
		e.When = c.Condition(rep, e.KeyNode("when"), e.when.Phases)
	}
	t := find(e.Type)
	e.keys = (&table{Held: &e.Held, of: t, keys: t.Keys}).resolve(rep, c)
}

// table is the keys of a type in a file: an entry of [filters], or a table inside an entry of another section.
type table struct {
	*schema.Held
	of   *Type
	keys []*schema.Key // of the entry
	path string        // that they begin with: "limit."; "": they are those of the entry
}

// resolve completes and checks a table whose values are filled in, and returns them by the paths of the type's keys.
func (t *table) resolve(rep *syntax.Report, c Compiler) map[string]any {
	values, before := make(map[string]any, len(t.keys)), len(rep.Errors)
	right := !t.HasUnknown()
	for _, k := range t.keys {
		v := t.Value(k.Path)
		right = right && !t.Failed(k.Path)
		if v == nil && !t.Has(k.Path) {
			v = k.Preset()
		}
		values[k.Path[len(t.path):]] = v
		if s, ok := v.(Source); ok {
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
	if right && len(rep.Errors) == before && t.of.Check != nil {
		t.of.Check(rep, &t.Given, t.path, t.Struct)
	}
	return values
}

// head returns where the table begins.
func (t *table) head() syntax.Span {
	if n := t.Node().Child(strings.TrimSuffix(t.path, ".")); n != nil {
		return n.Head
	}
	return t.Node().Head
}

// title says what the table is.
func (t *table) title() string {
	if t.path == "" {
		return "a filter of type " + syntax.Quote(t.of.Name)
	}
	return syntax.Quote(strings.TrimSuffix(t.path, "."))
}

// compile compiles the text of k and stores what it has become.
func (t *table) compile(rep *syntax.Report, c Compiler, k *schema.Key, s Source) {
	if t.Has(k.Path) {
		if n := t.KeyNode(k.Path); !s.Template {
			if v := c.Condition(rep, n, s.Phases); v != nil {
				k.Store(t.Held, v)
			}
		} else if v := c.Template(rep, n, s.Phases); v != nil {
			k.Store(t.Held, v)
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
	of   *Type
	path string
	keys []*schema.Key
}

// In returns the table of that name with the keys of a type, as change has changed them, but for those that it leaves
// out: then it returns false. nil: the program does not have the type.
func In(name, typ string, change func(k *schema.Key) bool) *Inside {
	t := find(typ)
	if t == nil {
		return nil
	}
	in := &Inside{of: t, path: name + "."}
	for _, k := range t.Keys {
		own := *k
		if own.Path = in.path + k.Path; change(&own) {
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

// Resolve completes and checks the table of an entry whose values are filled in. The zero Filter: it has none.
func (in *Inside) Resolve(rep *syntax.Report, h *schema.Held, c Compiler) Filter {
	if h.Struct == nil {
		return Filter{}
	}
	t := &table{Held: h, of: in.of, keys: in.keys, path: in.path}
	return Filter{Type: in.of.Name, Config: h.Struct, Pos: h.Node().Head.Pos(), keys: t.resolve(rep, c)}
}

// Compile returns a *lang.Condition or a *lang.Template.
func (s Source) Compile(in *lang.Scope) (any, error) {
	if s.Template {
		return in.Template(s.Text, s.Phases)
	}
	return in.Condition(s.Text, s.Phases)
}
