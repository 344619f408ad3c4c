package plugins

import (
	"cmp"
	"reflect"
	"slices"
	"strings"
	"sync"

	"github.com/edge-proxy/edge/config/schema"
	"github.com/edge-proxy/edge/config/syntax"
	"github.com/edge-proxy/edge/lang"
)

// Type is a registered type, as a file sees it. Immutable.
type Type struct {
	Name string
	Doc  string        // one sentence
	Keys []*schema.Key // of schema.Struct
	New  func() any    // makes a struct for their values: a pointer to it

	// Check reports what the types of the keys cannot say. It is asked about a struct without other mistakes. The paths
	// of the keys in g begin with table.
	Check func(rep *syntax.Report, g *schema.Given, table string, config any)
	// Try makes what d defines and gives it up again. The error says why it cannot be made. What is made logs warnings.
	Try func(d *Definition) (warned []string, err error)
}

// Kind is what the tables of one section stand for. Immutable once all init functions have run.
type Kind struct {
	Name    string // of one of them, for messages
	Section string // the path of the section, and the word for several of them
	Doc     string // of the section
	Does    string // of the key type
	Use     string // the hint for one that nothing uses
	Unused  string // what the code of that warning means
	Warning string // what the code of warnings means that one logs when it is made

	when bool     // its tables have the key when
	own  []string // types of edge itself, which a program has that imports the package all
	all  string

	types []*Type // written by init functions alone
}

// Kinds are all of them, in the order of the reference page.
var Kinds = []*Kind{Filters, Destinations, BalanceMethods, Discoverers, LogSinks, ConnectionFilters}

// Filters are those of [filters].
var Filters = &Kind{
	Name: "filter", Section: "filters",
	Doc: "Filters, by the names under which `filters` of listeners, `[defaults]` and routes name them: see " +
		"[filters](filters.md#in-a-configuration).",
	Does:    "What it does: one of those below, or of a module that the program was built with.",
	Use:     "name it in \"filters\" of a listener, of [defaults], of a route or of a rule",
	Unused:  "No listener, no route, no rule and not `[defaults]` names a filter: it is not made.",
	Warning: "A filter that is used warns the operator when it is made, as those of the type `fault` do.",
	own: []string{"basic_auth", "cors", "csrf", "fault", "ip", "maintenance", "rate_limit", "request_limits",
		"security_headers"},
	all:  "github.com/edge-proxy/edge/filter/all",
	when: true,
}

// Destinations are those of [destinations].
var Destinations = &Kind{
	Name: "destination", Section: "destinations",
	Doc: "Where requests may lead beside upstreams, by the names under which `dest` of routes and rules names them. " +
		"The types come from [modules](plugins.md#destinations).",
	Does:   "What answers the requests: a type of a module that the program was built with.",
	Use:    "name it as \"dest\" of a route or of a rule",
	Unused: "No route and no rule leads to a destination: it is not made.",
}

// LogSinks are those of [log_sinks].
var LogSinks = &Kind{
	Name: "log sink", Section: "log_sinks",
	Doc: "Where access logs go beside files, by the names under which `output` of `[log]`, and `access_log` of " +
		"listeners and routes, name them: such a name is no path. The types come from " +
		"[modules](plugins.md#log-sinks).",
	Does:   "What takes the lines: a type of a module that the program was built with.",
	Use:    "name it in \"output\" of [log], or as \"access_log\" of a listener or of a route",
	Unused: "Neither `output` of `[log]` nor an `access_log` names a log sink: it is not made.",
}

// BalanceMethods are those of [balance_methods].
var BalanceMethods = &Kind{
	Name: "balance method", Section: "balance_methods",
	Doc: "Methods of balancing beside those of edge, by the names under which `load_balancing` of upstreams and " +
		"routes names them. The types come from [modules](plugins.md#balance-methods).",
	Does:   "How a backend is chosen: a type of a module that the program was built with.",
	Use:    "name it as \"load_balancing\" of an upstream, of a route or of [upstream_defaults]",
	Unused: "No `load_balancing` names a balance method: it is not made.",
}

// ConnectionFilters are those of [connection_filters].
var ConnectionFilters = &Kind{
	Name: "connection filter", Section: "connection_filters",
	Doc: "What decides over connections of clients, by the names under which `connection_filters` of listeners names " +
		"them. The types come from [modules](plugins.md#connection-filters).",
	Does:   "How it decides: a type of a module that the program was built with.",
	Use:    "name it in \"connection_filters\" of a listener",
	Unused: "No listener names a connection filter: it is not made.",
}

// Discoverers are those of [discoverers].
var Discoverers = &Kind{
	Name: "discoverer", Section: "discoverers",
	Doc: "Where backends are found beside the sources of edge, by the names under which `discover` of upstreams " +
		"names them. The types come from [modules](plugins.md#discoverers).",
	Does:   "How backends are found: a type of a module that the program was built with.",
	Use:    "name it in \"discover\" of an upstream",
	Unused: "No upstream names a discoverer: it is not made.",
}

// Register adds a type of k, which has a name of its own. It is for init functions.
func (k *Kind) Register(t *Type) { k.types = append(k.types, t) }

// Reserves reports whether tables of every type of k have a key, or a table, of that name.
func (k *Kind) Reserves(key string) bool {
	return key == "type" || key == "when" && k.when
}

// Own returns the types that edge itself has.
func (k *Kind) Own() []string { return k.own }

// MarshalText makes the kind readable in JSON.
func (k *Kind) MarshalText() ([]byte, error) { return []byte(k.Name), nil }

// find returns the type of that name, or nil.
func (k *Kind) find(name string) *Type {
	for _, t := range k.types {
		if t.Name == name {
			return t
		}
	}
	return nil
}

// unusedCode is the code of the warning of one that nothing uses.
func (k *Kind) unusedCode() string { return "unused-" + strings.ReplaceAll(k.Name, " ", "-") }

// Sections returns the sections of all kinds, with the types that were registered.
func Sections() (all []*schema.Section) {
	for _, k := range Kinds {
		all = append(all, k.section())
	}
	return all
}

// tags say what the tags of fields mean.
var tags = sync.OnceValue(func() *schema.Tags {
	later := func(reflect.Value, any) {} // the text is compiled when all is read
	return &schema.Tags{Comments: schema.Comments(source), Kinds: map[string]schema.FieldType{
		"*lang.Condition": {Type: ConditionType(lang.Request), Set: later},
	}}
})

func (k *Kind) section() *schema.Section {
	s := schema.Table[entry](tags(), schema.Section{
		Path: k.Section, Shape: schema.Named, New: k.newEntry, Doc: k.Doc,
		Variants: schema.Variants{By: "type", Unknown: k.elsewhere},
		Codes:    []schema.Code{{Name: k.unusedCode(), Doc: k.Unused}},
		Keep: func(of *schema.Key) bool {
			if of.Path == "type" {
				of.Doc = k.Does
			}
			return of.Path == "type" || k.when
		},
	})
	if k.Warning != "" {
		s.Codes = append(s.Codes, schema.Code{Name: k.Name + "-warning", Doc: k.Warning})
	}
	all := slices.SortedFunc(slices.Values(k.types), func(a, b *Type) int { return cmp.Compare(a.Name, b.Name) })
	for _, t := range all {
		s.Variants.List = append(s.Variants.List, schema.Variant{Name: t.Name, Doc: t.Doc, Keys: t.Keys})
	}
	return s
}

// elsewhere says where a type may be that k does not have.
func (k *Kind) elsewhere(name string) string {
	if slices.Contains(k.own, name) {
		return "this program was built without it: import _ " + syntax.Quote(k.all)
	}
	for _, other := range Kinds {
		if other.find(name) != nil {
			return "it is a type of " + other.Section + ": write [" + other.Section + ".NAME]"
		}
	}
	return "edge modules lists the types of this program, and edge build links modules that have others"
}
