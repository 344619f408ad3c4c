package language

import (
	"embed"
	"reflect"
	"strings"
	"sync"
	"time"

	"github.com/edge-proxy/edge/internal/config/schema"
	"github.com/edge-proxy/edge/internal/config/syntax"
	"github.com/edge-proxy/edge/internal/match/table"
)

// Types of keys. The comment after each is the Go type of its values.
var (
	// TypeCondition is a text that Language.Condition compiles, and TypeTemplate is a text that Language.Template
	// compiles. One of TypeLines may have several lines.
	TypeCondition = schema.Type{Name: "[condition](DSL.md)", Parse: parseText}                               // string
	TypeTemplate  = schema.Type{Name: "[template](DSL.md)", Parse: schema.String.Parse}                      // string
	TypeLines     = schema.Type{Name: "[template](DSL.md), in several lines too", Parse: schema.Lines.Parse} // string

	typeEntries = schema.Type{Name: "table of strings", Parse: parseEntries}   // []table.Entry
	typeSecret  = schema.Type{Name: "string", Parse: parseText}                // string
	typeValues  = schema.Type{Name: "list of strings", Parse: parseListValues} // []string
)

// parseText reads a text, which may have several lines.
func parseText(d *schema.Decoder, _ *schema.Key, n *syntax.Node) (any, bool) {
	switch {
	case n.Kind != syntax.KindString:
		d.WrongKind(n, "a string", "")
	case strings.TrimSpace(n.Text) == "":
		d.Report.Errorf(n.Value, "leave it out, or say which", "%q must not be empty", n.Key)
	default:
		return n.Text, true
	}
	return "", false
}

// parseListValues reads the entries of a list: it takes one without brackets too, and an empty list.
func parseListValues(d *schema.Decoder, k *schema.Key, n *syntax.Node) (any, bool) {
	if n.Kind == syntax.KindList && len(n.Children) == 0 {
		return []string{}, true
	}
	return schema.Strings.Parse(d, k, n)
}

func parseEntries(d *schema.Decoder, k *schema.Key, n *syntax.Node) (any, bool) {
	if n.Kind != syntax.KindTable {
		d.WrongKind(n, "a table of strings", schema.TableHint)
		return nil, false
	}
	all, right := make([]table.Entry, 0, len(n.Children)), true
	for _, c := range n.Children {
		v, ok := schema.Optional.Parse(d, k, c)
		if right = ok && right; ok {
			all = append(all, table.Entry{Key: c.Key, Value: v.(string)})
		}
	}
	return all, right
}

// List is one of [lists]: texts or addresses.
type List struct {
	// Type of the entries: IP addresses and prefixes such as `10.0.0.0/8`, or texts, which are compared byte by byte.
	Kind string `edge:"type" enum:"addresses texts" default:"addresses"`
	// Entries of the list, beside `file`.
	// Example: ["10.0.0.0/8", "2001:db8::1"]
	Values []string `edge:"values" kind:"values" json:",omitempty"`
	// File with entries, one in each line; `#` begins a comment. The entries are added to `values`. See [lists and
	// maps](DSL.md#lists-and-maps).
	File string `edge:"file" example:"office.txt" local:"true" json:",omitempty"`
	// Time between two looks at the file. A changed file takes effect without a reload; a wrong file is logged, and the
	// entries before stay. `off`: the file is read when the configuration is loaded.
	Refresh time.Duration `edge:"refresh" default:"off" words:"off" min:"100ms" max:"24h" example:"10s"`

	Name string
	Pos  syntax.Pos
}

// Map is one of [maps]: it leads from texts or addresses to texts.
type Map struct {
	// Type of the keys. Of prefixes of addresses the longest prefix that has the address decides.
	Kind string `edge:"type" enum:"addresses texts" default:"texts"`
	// Entries of the map, beside `file`.
	// Example: { DE = "eu", "a b" = "x" }
	Values []table.Entry `edge:"values" json:",omitempty"`
	// File with entries: in each line a key, a blank and a value. Comments and `values` are as for lists.
	File string `edge:"file" example:"country.txt" local:"true" json:",omitempty"`
	// Time between two looks at the file, as for lists.
	Refresh time.Duration `edge:"refresh" default:"off" words:"off" min:"100ms" max:"24h" example:"10s"`

	Name string
	Pos  syntax.Pos
}

// Geo is [geo]: the databases that geo.country and its like are asked of.
type Geo struct {
	// Files in the MaxMind DB format, such as the databases of MaxMind, DB-IP, IP2Location and IPinfo. The first file
	// that knows something of an address counts.
	// Example: ["GeoLite2-Country.mmdb", "GeoLite2-ASN.mmdb"]
	Databases []string `edge:"databases" local:"true" json:",omitempty"`
	// Time between two looks at the files. A new file takes effect without a reload; a wrong file is logged, and the
	// data before stays. `off`: the files are read when the configuration is loaded.
	Refresh time.Duration `edge:"refresh" default:"1m" words:"off" min:"100ms" max:"24h" example:"1h" json:",omitempty"`
}

type geoEntry struct {
	schema.Given
	Geo
}

type listEntry struct {
	schema.Given
	List
}

type mapEntry struct {
	schema.Given
	Map
}

type secretEntry struct {
	schema.Given

	// Text of the secret, best quoted as `${file:/run/secrets/api}` or `${API_SECRET}`.
	Value string `edge:"value" kind:"secret_text" example:"correct horse battery staple" secret:"true"`

	name string
}

// Sections returns the sections of the schema that Read reads.
func Sections() []*schema.Section {
	return []*schema.Section{listKeys(), mapKeys(), secretKeys(), geoKeys()}
}

// ChangedKeys returns the keys whose values differ between two lists.
func (l *List) ChangedKeys(next *List) []string {
	return listKeys().ChangedKeys(&listEntry{List: *l}, &listEntry{List: *next})
}

// ChangedKeys is as for List.
func (m *Map) ChangedKeys(next *Map) []string {
	return mapKeys().ChangedKeys(&mapEntry{Map: *m}, &mapEntry{Map: *next})
}

// ChangedKeys is as for List.
func (g *Geo) ChangedKeys(next *Geo) []string {
	return geoKeys().ChangedKeys(&geoEntry{Geo: *g}, &geoEntry{Geo: *next})
}

// Compiled is the type of fields for texts that Language compiles when all entries are known: reading stores nothing.
func Compiled(t schema.Type) schema.FieldType {
	return schema.FieldType{Type: t, Set: func(reflect.Value, any) {}}
}

//go:embed sections.go
var source embed.FS

// tags say what the tags of fields mean.
var tags = sync.OnceValue(func() *schema.Tags {
	return &schema.Tags{Comments: schema.Comments(source), Kinds: map[string]schema.FieldType{
		"[]table.Entry": {Type: typeEntries},
		"secret_text":   {Type: typeSecret, Plain: true},
		"values":        {Type: typeValues, Plain: true},
	}}
})

func listKeys() *schema.Section {
	return schema.Table[listEntry](tags(), schema.Section{
		Path: "lists", Shape: schema.Named, Bare: "values",
		Doc: "Lists that [conditions](DSL.md) ask as `list.NAME`. One that is written out may stand as " +
			"`[lists]` with `office = [\"10.0.0.0/8\"]`.",
		New: func(_ schema.Target, n *syntax.Node) schema.Target { return &listEntry{List: List{Name: n.Key}} },
	})
}

func mapKeys() *schema.Section {
	return schema.Table[mapEntry](tags(), schema.Section{
		Path: "maps", Shape: schema.Named,
		Doc: "Maps that [conditions and templates](DSL.md) ask as `map.NAME[key]`.",
		New: func(_ schema.Target, n *syntax.Node) schema.Target { return &mapEntry{Map: Map{Name: n.Key}} },
	})
}

func secretKeys() *schema.Section {
	return schema.Table[secretEntry](tags(), schema.Section{
		Path: "secrets", Shape: schema.Named, Bare: "value",
		Doc: "Secrets that [conditions and templates](DSL.md) use as `secret.NAME`: keys of `hmac`, and what clients " +
			"have to present. `[secrets]` with `api = \"${file:/run/secrets/api}\"`. They are never shown.",
		New: func(_ schema.Target, n *syntax.Node) schema.Target { return &secretEntry{name: n.Key} },
	})
}

func geoKeys() *schema.Section {
	return schema.Table[geoEntry](tags(), schema.Section{
		Path: "geo",
		Doc: "Databases that say where addresses are, for `geo.country`, `geo.asn` and the like in " +
			"[conditions and templates](DSL.md#countries-cities-and-networks-geoip).",
	})
}
