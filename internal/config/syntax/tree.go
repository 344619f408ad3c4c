package syntax

import (
	"slices"
	"strings"
)

// Kind is what a Node holds.
type Kind uint8

// The kinds of nodes.
const (
	KindTable Kind = iota
	KindList
	KindString
	KindInt
	KindFloat
	KindBool
	KindDatetime
	KindNull // a key of YAML or JSON without a value
	KindLost // a string that could not be expanded; the Report says so
)

var kindNouns = [...]string{"a table", "a list", "a string", "a whole number", "a fraction", "a boolean", "a date",
	"empty", "unknown"}

// Noun returns what messages call a value of that kind, with its article.
func (k Kind) Noun() string { return kindNouns[k] }

// Node is one value of a configuration file with the places it came from. Every format builds the same tree.
// Owned by the goroutine that reads the file.
//
//	[http]                 head: "[http]"   name: "http"
//	  listen = ":80"       head = name: "listen"   value: `":80"`
//	xs = [{ a = 1 }]       an element has no key: head = name = value: "{ a = 1 }"
type Node struct {
	Kind     Kind
	Key      string  // its key in the parent table; "" for an element of a list
	Text     string  // the content of a string; numbers and dates as they are written
	Integer  int64   // the value of a KindInt
	Fraction float64 // the value of a KindFloat
	Truth    bool    // the value of a KindBool
	Children []*Node // of a table or a list, in the order of the file

	Head  Span // what introduces it: the header of a table, else the key
	Name  Span // the last part of the key
	Value Span // the value; for a table made by a header, the header

	Expanded bool             // ${…} was replaced in the string
	Origin   Origin           // how the file wrote it
	index    map[string]*Node // the children of a table, by key
}

// Origin says how a file wrote a table or a list, which decides whether more of the file may add to it.
type Origin uint8

// The origins of nodes.
const (
	OriginValue    Origin = iota // a scalar, a list or an inline table: nothing may be added
	OriginImplicit               // a part of a longer header; its own header may follow
	OriginHeader                 // [name]
	OriginDotted                 // a part of a dotted key
	OriginList                   // the list that headers [[name]] make
)

func newTable(o Origin) *Node { return &Node{Kind: KindTable, Origin: o} }

// NewTable returns a table that is written nowhere. at is the place that stands for it.
func NewTable(key string, at Span) *Node {
	n := newTable(OriginHeader)
	n.Key, n.Head, n.Name, n.Value = key, at, at, at
	return n
}

// NewString is NewTable for a string.
func NewString(key, text string, at Span) *Node {
	return &Node{Kind: KindString, Key: key, Text: text, Head: at, Name: at, Value: at}
}

// Add appends c to the table n under its key.
func (n *Node) Add(c *Node) {
	if n.index == nil {
		n.index = make(map[string]*Node)
	}
	n.index[c.Key] = c
	n.Children = append(n.Children, c)
}

// Child returns the member of the table n with that key, or nil.
func (n *Node) Child(key string) *Node { return n.index[key] }

// Remove takes the member with that key out of the table n and returns it, or nil.
func (n *Node) Remove(key string) *Node {
	c := n.index[key]
	if c != nil {
		delete(n.index, key)
		n.Children = slices.DeleteFunc(n.Children, func(o *Node) bool { return o == c })
	}
	return c
}

// ConflictSpan returns the place that a conflict with n cites: of a list of tables, its first header.
func (n *Node) ConflictSpan() Span {
	if n.Origin == OriginList && len(n.Children) > 0 {
		return n.Children[0].Head
	}
	return n.Head
}

// IsBareKey reports whether a key needs no quotes in TOML.
func IsBareKey(s string) bool {
	for _, c := range []byte(s) {
		if !IsLetterOrDigit(c) && c != '_' && c != '-' {
			return false
		}
	}
	return s != ""
}

// IsLetterOrDigit reports whether c is an ASCII letter or digit.
func IsLetterOrDigit(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9'
}

// DottedKey joins keys with dots and quotes those that need it. Empty ones are left out.
func DottedKey(keys ...string) string {
	parts := make([]string, 0, len(keys))
	for _, k := range keys {
		if k == "" {
			continue
		}
		if !IsBareKey(k) {
			k = Quote(k)
		}
		parts = append(parts, k)
	}
	return strings.Join(parts, ".")
}

// JoinKey appends a key to a dotted path.
func JoinKey(path, key string) string {
	if path == "" {
		return DottedKey(key)
	}
	return path + "." + DottedKey(key)
}
