package traefik

import (
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/edge-proxy/edge/config/import/plan"
	"github.com/edge-proxy/edge/config/syntax"
)

// node is a value of a file, of a label or of a flag. Its methods may be called on a nil node, which has no members, an
// empty text, and is not true. Owned by one goroutine.
type node struct {
	name string // its key, or that of the list that it is in
	path string // "http.routers.web.rule"
	kind syntax.Kind
	text string
	list []*node // of a table or a list
	at   plan.Place
	used bool // something has read it
}

// parse reads a file in YAML or TOML. problem says why it cannot be read.
func parse(path string, text []byte) (root *node, problem *syntax.Problem) {
	rep := &syntax.Report{}
	tree, _ := syntax.ParseTree(syntax.NewSource(filepath.Base(path), text, 0), rep)
	if len(rep.Errors) > 0 {
		return nil, &rep.Errors[0]
	}
	return fromSyntax(tree, nil, filepath.Base(path)), nil
}

func fromSyntax(s *syntax.Node, parent *node, file string) *node {
	n := &node{name: s.Key, kind: s.Kind, text: s.Text, at: plan.Place{File: file, Line: s.Head.Pos().Line}}
	if parent != nil {
		if n.name == "" {
			n.name, n.path = parent.name, parent.path
		} else {
			n.path = join(parent.path, n.name)
		}
	}
	if s.Kind == syntax.KindBool {
		n.text = strconv.FormatBool(s.Truth)
	}
	for _, c := range s.Children {
		n.list = append(n.list, fromSyntax(c, n, file))
	}
	return n
}

func join(path, name string) string {
	if path == "" {
		return name
	}
	return path + "." + name
}

// branch reports whether n is a table or a list with members.
func (n *node) branch() bool {
	return n != nil && (n.kind == syntax.KindTable || n.kind == syntax.KindList) && len(n.list) > 0
}

// get returns the member that the names lead to, whatever their case, or nil. It marks nothing that has members.
func (n *node) get(names ...string) *node {
	for _, name := range names {
		if n == nil || n.kind != syntax.KindTable {
			return nil
		}
		var found *node
		for _, c := range n.list {
			if strings.EqualFold(c.name, name) {
				found = c
				break
			}
		}
		n = found
	}
	if n != nil && !n.branch() {
		n.used = true
	}
	return n
}

// has reports whether there is such a member.
func (n *node) has(names ...string) bool { return n.get(names...) != nil }

// str returns the text of the member that the names lead to.
func (n *node) str(names ...string) string {
	if n = n.get(names...); n == nil {
		return ""
	}
	return n.text
}

// truth returns the member that the names lead to as true or false.
func (n *node) truth(names ...string) bool { return strings.EqualFold(n.str(names...), "true") }

// texts returns the elements of the list that the names lead to, or the parts of a text with commas.
func (n *node) texts(names ...string) (list []string) {
	for _, c := range n.elements(names...) {
		list = append(list, c.text)
	}
	return list
}

// elements is texts, with their places.
func (n *node) elements(names ...string) (list []*node) {
	n = n.get(names...)
	switch {
	case n == nil:
		return nil
	case n.kind == syntax.KindList:
		for _, c := range n.list {
			if !c.branch() {
				c.used = true
				list = append(list, c)
			}
		}
		return list
	case n.kind == syntax.KindTable:
		return nil
	}
	for _, part := range strings.Split(n.text, ",") {
		if part = strings.TrimSpace(part); part != "" {
			one := *n
			one.text = part
			list = append(list, &one)
		}
	}
	return list
}

// members returns the members of the table, or the tables in the list, that the names lead to.
func (n *node) members(names ...string) []*node {
	if n = n.get(names...); n == nil {
		return nil
	}
	return n.list
}

// walk calls f for n and all below it.
func (n *node) walk(f func(*node)) {
	if n == nil {
		return
	}
	f(n)
	for _, c := range n.list {
		c.walk(f)
	}
}

// places returns the lines of n and of all below it.
func (n *node) places() (list []plan.Place) {
	n.walk(func(c *node) {
		if len(list) == 0 || list[len(list)-1] != c.at {
			list = append(list, c.at)
		}
	})
	return list
}

// where returns the place of the member that the names lead to, or that of n.
func (n *node) where(names ...string) plan.Place {
	if c := n.get(names...); c != nil {
		return c.at
	}
	if n == nil {
		return plan.Place{}
	}
	return n.at
}

// words returns n as a finding names it; "" where there is none.
func (n *node) words() string {
	if n == nil {
		return ""
	}
	if n.branch() || n.text == "" {
		return n.path
	}
	return n.path + ": " + n.text
}

// set makes the members on a dotted path with [N] for elements of lists, as labels and flags have them, and gives the
// last one a text. A part that is something else already stays as it is.
func (n *node) set(path, text string, at plan.Place) {
	for part := range strings.SplitSeq(path, ".") {
		name, index, indexed := strings.Cut(part, "[")
		if n.kind != syntax.KindTable {
			return
		}
		n = n.member(name, at)
		if number, err := strconv.Atoi(strings.TrimSuffix(index, "]")); indexed && err == nil && number < elementsMax {
			if n = n.element(number, at); n == nil {
				return
			}
		}
	}
	if !n.branch() {
		n.kind, n.text, n.used = syntax.KindString, text, false
	}
}

// elementsMax is how many elements a list of labels has.
const elementsMax = 1000

// member returns the member of that name, added as an empty table where there is none.
func (n *node) member(name string, at plan.Place) *node {
	for _, c := range n.list {
		if strings.EqualFold(c.name, name) {
			return c
		}
	}
	c := &node{name: name, path: join(n.path, name), kind: syntax.KindTable, at: at}
	n.list = append(n.list, c)
	return c
}

// element returns an element of a list, added with those before it, or nil where n is no list.
func (n *node) element(index int, at plan.Place) *node {
	if n.kind == syntax.KindTable && len(n.list) == 0 {
		n.kind = syntax.KindList
	}
	if n.kind != syntax.KindList || index < 0 {
		return nil
	}
	for len(n.list) <= index {
		n.list = append(n.list, &node{name: n.name, path: n.path, kind: syntax.KindTable, at: at, used: true})
	}
	return n.list[index]
}

// duration reads a time; a bare number is seconds.
func (n *node) duration(names ...string) (d time.Duration, ok bool) {
	text := n.str(names...)
	if seconds, err := strconv.ParseUint(text, 10, 31); err == nil {
		return time.Duration(seconds) * time.Second, true
	}
	d, err := time.ParseDuration(text)
	return d, err == nil && d >= 0
}

// number reads a number.
func (n *node) number(names ...string) (number int64, ok bool) {
	number, err := strconv.ParseInt(n.str(names...), 10, 63)
	return number, err == nil
}
