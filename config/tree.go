package config

import (
	"slices"
	"strings"
)

// kind is what a node holds.
type kind uint8

const (
	kindTable kind = iota
	kindArray
	kindString
	kindInt
	kindFloat
	kindBool
	kindDatetime
	kindNull // a key of YAML or JSON without a value
	kindLost // a string that could not be expanded, which has been reported
)

var kindNouns = [...]string{"a table", "a list", "a string", "a whole number", "a fraction", "a boolean", "a date",
	"empty", "unknown"}

// noun returns the kind as a message speaks of it.
func (k kind) noun() string { return kindNouns[k] }

// node is one value of a configuration file with the places it came from. Every file format builds the same tree.
// Immutable once its builder returned.
//
//	[http]                 head: "[http]"   name: "http"
//	  listen = ":80"       head = name: "listen"   value: `":80"`
//	xs = [{ a = 1 }]       an element has no key: head = name = value: "{ a = 1 }"
type node struct {
	kind     kind
	key      string // under which the parent table holds it; "" for elements of an array
	text     string // string: its content; numbers and dates: as written
	integer  int64
	fraction float64
	truth    bool
	children []*node // of a table or array, in order

	head  span // what introduces it: the header of a table, else the key
	name  span // the last part of the key
	value span // the value; for a table made by a header, the header

	expanded bool // a string in which ${…} was replaced

	origin origin
	index  map[string]*node // the children of a table by key
}

// origin tells how a table came to be, which decides who may add to it.
type origin uint8

const (
	originValue    origin = iota // a scalar, array or inline table: closed
	originImplicit               // a step of a longer header: its own header may still follow
	originHeader                 // [name]
	originDotted                 // a step of a dotted key
	originList                   // the array behind [[name]]
)

func newTable(o origin) *node { return &node{kind: kindTable, origin: o} }

// add appends c to the table n under its key.
func (n *node) add(c *node) {
	if n.index == nil {
		n.index = make(map[string]*node)
	}
	n.index[c.key] = c
	n.children = append(n.children, c)
}

// child returns the member of the table n with that key, or nil.
func (n *node) child(key string) *node { return n.index[key] }

// remove takes the member with that key out of the table n and returns it, or nil.
func (n *node) remove(key string) *node {
	c := n.index[key]
	if c != nil {
		delete(n.index, key)
		n.children = slices.DeleteFunc(n.children, func(o *node) bool { return o == c })
	}
	return c
}

// first returns the span a conflict with n should cite.
func (n *node) first() span {
	if n.origin == originList && len(n.children) > 0 {
		return n.children[0].head
	}
	return n.head
}

// bareKey tells whether a key can stand in a file without quotes.
func bareKey(s string) bool {
	for _, c := range []byte(s) {
		if !letterOrDigit(c) && c != '_' && c != '-' {
			return false
		}
	}
	return s != ""
}

func letterOrDigit(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9'
}

// dotted joins keys as a file would, quoting where it must.
func dotted(keys ...string) string {
	parts := make([]string, 0, len(keys))
	for _, k := range keys {
		if k == "" {
			continue
		}
		if !bareKey(k) {
			k = quote(k)
		}
		parts = append(parts, k)
	}
	return strings.Join(parts, ".")
}

// join adds a key to a path, as a file would write it.
func join(path, key string) string {
	if path == "" {
		return dotted(key)
	}
	return path + "." + dotted(key)
}
