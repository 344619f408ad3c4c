package lang

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"sync/atomic"
)

// Variable is a name that texts may use, and the function that its value comes from. Immutable once it is in a Scope.
//
// Of the functions one is set, for the kind: Text, Int (for Duration and Size too), Bool, IP or Texts. With Named or
// NamedTexts the variable is a map of names, header.user-agent or header["user-agent"]; it may have a value of its own
// besides. They are asked when a text is compiled, and say what is wrong with a name.
type Variable struct {
	Name    string
	Kind    Kind
	Phases  Phases // when it is known
	Doc     string // one sentence
	Example string // a condition or, with braces, a template
	Refused string // why no text can name it here; "": one can
	Remedy  string // the hint beside Refused

	Text       func(*X) []byte                      // nil: missing. Borrowed until the evaluation ends
	Int        func(*X) (int64, bool)               // false: missing
	Bool       func(*X) bool                        //
	IP         func(*X) netip.Addr                  // invalid: missing
	Texts      func(x *X, dst [][]byte) [][]byte    // appends to dst
	Named      func(name string) (TextFunc, error)  // for one name
	NamedTexts func(name string) (TextsFunc, error) // likewise, where a name may have several values

	each func(name string) eachFunc // NamedTexts without a list
}

// eachFunc asks a test about one value after another until it holds. found is whether there was any.
type eachFunc func(x *X, holds test) (found, held bool)

// test is what a comparison asks about one text.
type test func(x *X, text []byte) bool

// TextFunc returns a text; nil: it is missing. Borrowed until the evaluation ends.
type TextFunc = func(*X) []byte

// TextsFunc appends texts to dst.
type TextsFunc = func(x *X, dst [][]byte) [][]byte

// Function is a function of texts that a program adds: of one text, and of up to two more. With a field of several
// values as its first argument it is asked for each of them. It is total, and is not asked where the first argument is
// missing.
type Function struct {
	Name    string
	Args    int    // texts after the first one, 0 to 2, all of them needed
	Doc     string // one sentence
	Example string
	Text    func(x *X, of, a, b []byte) []byte // State.Room and State.Keep have room for the result; nil: missing
}

// List is a list of texts or of addresses that texts name as list.NAME.
type List struct {
	Kind    Kind // Text or IP
	HasText func([]byte) bool
	HasAddr func(netip.Addr) bool // never asked for an IPv4 address written as IPv6
}

// Map is a table of texts that texts ask as map.NAME[key].
type Map struct {
	Key  Kind                                // Text or IP
	Text func(key []byte) ([]byte, bool)     // the result is borrowed until the evaluation ends
	Addr func(netip.Addr) (b []byte, _ bool) //
}

// Names is what a program adds to what the language has.
type Names struct {
	Variables []Variable // one of a built-in name replaces that
	Functions []Function
	Lists     map[string]List
	Maps      map[string]Map
	Secrets   map[string][]byte           // keys of hmac, and what clients have to present
	Env       func(string) (string, bool) // env.NAME, asked when a text is compiled; nil: there is no env
}

// Scope is what texts may name. Immutable after NewScope but for a count, safe for any goroutine.
type Scope struct {
	variables map[string]*Variable
	functions map[string]*function
	lists     map[string]List
	tables    map[string]Map
	secrets   map[string][]byte
	env       func(string) (string, bool)
	compiled  atomic.Int64 // instructions of the regular expressions of texts that were compiled
}

// NewScope returns the names of the language with the names of a program.
func NewScope(names Names) (*Scope, error) {
	s := &Scope{variables: map[string]*Variable{}, functions: map[string]*function{}, lists: maps.Clone(names.Lists),
		tables: maps.Clone(names.Maps), secrets: maps.Clone(names.Secrets), env: names.Env}
	for i := range builtin {
		s.variables[builtin[i].Name] = &builtin[i]
	}
	for _, v := range names.Variables {
		if err := v.check(); err != nil {
			return nil, err
		}
		if v.Phases&Request != 0 {
			v.Phases |= Content
		}
		if own := s.variables[v.Name]; own != nil && own.Kind != v.Kind {
			return nil, fmt.Errorf("variable %s: it is %v, not %v", v.Name, own.Kind, v.Kind)
		}
		s.variables[v.Name] = &v
	}
	for i := range functions {
		s.functions[functions[i].name] = &functions[i]
	}
	for _, f := range names.Functions {
		if s.functions[f.Name] != nil || !validName(f.Name) || reserved[f.Name] {
			return nil, fmt.Errorf("function %q: it needs a name of its own", f.Name)
		}
		if f.Text == nil || f.Args < 0 || f.Args > 2 {
			return nil, fmt.Errorf("function %s: it is a function of a text and at most two more", f.Name)
		}
		s.functions[f.Name] = &function{name: f.Name, doc: f.Doc, example: f.Example,
			least: f.Args + 1, most: f.Args + 1, text: f.Text}
	}
	return s, s.checkTables()
}

func (v *Variable) check() error {
	set := 0
	for kind, is := range map[Kind]bool{
		Text: v.Text != nil, Int: v.Int != nil, Bool: v.Bool != nil, IP: v.IP != nil, Texts: v.Texts != nil,
	} {
		if !is {
			continue
		}
		if set++; kind != v.Kind && !(kind == Int && v.Kind.number()) {
			return fmt.Errorf("variable %s: it is %v, and its function gives %v", v.Name, v.Kind, kind)
		}
	}
	named := v.Named != nil || v.NamedTexts != nil
	if set > 1 || set == 0 && !named || named && v.Kind != Text || v.Named != nil && v.NamedTexts != nil {
		return fmt.Errorf("variable %s: one function is set, for its kind", v.Name)
	}
	for i, part := range strings.Split(v.Name, ".") {
		if !validName(part) || i == 0 && reserved[part] {
			return fmt.Errorf("variable %q: a name is letters, digits and dots", v.Name)
		}
	}
	if v.Phases == 0 {
		return fmt.Errorf("variable %s: it is known in no phase", v.Name)
	}
	return nil
}

func validName(name string) bool {
	for i := range len(name) {
		if !letter(name[i]) && (i == 0 || !digit(name[i])) {
			return false
		}
	}
	return name != ""
}

// checkTables finds lists and maps without the function that they need, and secrets that a request without any has.
func (s *Scope) checkTables() error {
	for name, secret := range s.secrets {
		if len(secret) == 0 {
			return fmt.Errorf("secret %s: it is empty, and equals what is missing", name)
		}
	}
	for name, l := range s.lists {
		if l.Kind == Text && l.HasText == nil || l.Kind == IP && l.HasAddr == nil || l.Kind != Text && l.Kind != IP {
			return fmt.Errorf("list %s: it holds texts or addresses, and has the function for them", name)
		}
	}
	for name, m := range s.tables {
		if m.Key == Text && m.Text == nil || m.Key == IP && m.Addr == nil || m.Key != Text && m.Key != IP {
			return fmt.Errorf("map %s: its keys are texts or addresses, and it has the function for them", name)
		}
	}
	return nil
}

// Variables returns every variable, by name.
func (s *Scope) Variables() []Variable {
	list := make([]Variable, 0, len(s.variables))
	for _, name := range slices.Sorted(maps.Keys(s.variables)) {
		list = append(list, *s.variables[name])
	}
	return list
}

// Described is a function as documentation and completion have it.
type Described struct{ Name, Usage, Doc, Example string }

// Functions returns every function, by name.
func (s *Scope) Functions() []Described {
	list := make([]Described, 0, len(s.functions))
	for _, name := range slices.Sorted(maps.Keys(s.functions)) {
		f := s.functions[name]
		usage := f.usage
		if usage == "" {
			usage = name + "(" + strings.Join([]string{"x", "a", "b"}[:f.least], ", ") + ")"
		}
		list = append(list, Described{name, usage, f.doc, f.example})
	}
	return list
}

// Lists returns the names of all lists, and Maps the names of all maps.
func (s *Scope) Lists() []string { return slices.Sorted(maps.Keys(s.lists)) }

// Maps returns the names of all maps.
func (s *Scope) Maps() []string { return slices.Sorted(maps.Keys(s.tables)) }

// Kind is the kind of a value.
type Kind uint8

// The kinds. There is no number with a fraction, and no null: a missing value is an empty text, or a number that every
// comparison is false for.
const (
	Invalid  Kind = iota
	Bool          // true, false
	Int           // 64 bits, with a sign
	Duration      // nanoseconds
	Size          // bytes
	Text          // any bytes
	IP            // an address, an IPv4 one never written as IPv6
	Prefix        // addresses that begin alike
	Texts         // a list of texts
)

var kindNames = [...]string{
	Invalid: "nothing", Bool: "true or false", Int: "a number", Duration: "a duration", Size: "a size", Text: "a text",
	IP: "an address", Prefix: "a prefix of addresses", Texts: "a list of texts",
}

// String returns what a value of the kind is, as messages name it.
func (k Kind) String() string { return kindNames[k] }

// number reports whether values of the kind are evaluated as an int64.
func (k Kind) number() bool { return k == Int || k == Duration || k == Size }

// Phases are the moments at which something is known, or at which a text is evaluated.
type Phases uint8

// The phases.
const (
	Handshake  Phases = 1 << iota // a client has begun a TLS handshake, and nothing is agreed upon
	Connection                    // a connection, before any request on it
	Request                       // a request came
	Content                       // its route was chosen, and has read of its body what it wants: Route.ReadBody
	Answer                        // the head of its answer came
	Log                           // all is over

	Always = Handshake | Connection | Request | Content | Answer | Log
)

// String lists the phases; Request stands for Content too.
func (p Phases) String() string {
	if p&Request != 0 {
		p &^= Content
	}
	var names []string
	for i, name := range []string{"handshake", "connection", "request", "content", "answer", "log"} {
		if p>>i&1 != 0 {
			names = append(names, name)
		}
	}
	return strings.Join(names, ", ")
}
