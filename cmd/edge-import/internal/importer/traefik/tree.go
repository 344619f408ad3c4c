package traefik

import (
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/edge-proxy/edge/cmd/edge-import/internal/importer/plan"
	"github.com/edge-proxy/edge/internal/config/syntax"
)

// node is a value of a file, of a label or of a flag. Its methods that read may be called on a nil node, which has no
// members, an empty text, and is not true. Owned by one goroutine.
type node struct {
	above *node
	name  string // its key, or the key of the list that it is in
	path  string // "http.routers.web.Rule"
	key   string // path, as words has it: in lower case, and without the dots that names have
	kind  syntax.Kind
	text  string
	list  []*node          // of a table or a list
	index map[string]*node // the members of a table, by their names in lower case
	at    plan.Place
	from  string // "file", or "docker" of labels
	used  bool   // something has read it
}

// parse reads a file in YAML or TOML.
func parse(path string, text []byte) (*node, error) {
	file, rep := filepath.Base(path), &syntax.Report{}
	tree, _ := syntax.ParseTree(syntax.NewSource(file, text, 0), rep)
	if len(rep.Errors) > 0 {
		return nil, &rep.Errors[0]
	}
	root := newRoot("file")
	root.fill(tree, file)
	return root, nil
}

func newRoot(from string) *node { return &node{kind: syntax.KindTable, from: from} }

func (n *node) fill(s *syntax.Node, file string) {
	for _, c := range s.Children {
		m := &node{name: c.Key, kind: c.Kind, text: c.Text, at: plan.Place{File: file, Line: c.Head.Pos().Line}}
		if c.Kind == syntax.KindBool {
			m.text = strconv.FormatBool(c.Truth)
		}
		n.add(m).fill(c, file)
	}
}

// add adds a member, or an element of a list.
func (n *node) add(c *node) *node {
	n.list, c.above, c.from = append(n.list, c), n, n.from
	if c.name == "" {
		c.name, c.path, c.key = n.name, n.path, n.key
		return c
	}
	name := strings.ToLower(c.name)
	bare, _, _ := strings.Cut(name, "[") // of an element of a list, in a label
	c.path, c.key = join(n.path, c.name), join(n.key, strings.ReplaceAll(bare, ".", "-"))
	if n.index == nil {
		n.index = map[string]*node{}
	}
	if n.index[name] == nil {
		n.index[name] = c
	}
	return c
}

func join(path, name string) string { return strings.TrimPrefix(path+"."+name, ".") }

// branch reports whether n is a table or a list with members.
func (n *node) branch() bool { return n != nil && len(n.list) > 0 }

// get returns the member that the names lead to, whatever their case, or nil. It marks nothing that has members.
func (n *node) get(names ...string) *node {
	for _, name := range names {
		if n == nil {
			return nil
		}
		n = n.index[strings.ToLower(name)]
	}
	if n != nil && !n.branch() {
		n.used = true
	}
	return n
}

func (n *node) has(names ...string) bool { return n.get(names...) != nil }

// str returns the text of the member that the names lead to.
func (n *node) str(names ...string) string {
	if n = n.get(names...); n != nil {
		return n.text
	}
	return ""
}

// truth returns the member that the names lead to as true or false.
func (n *node) truth(names ...string) bool { return strings.EqualFold(n.str(names...), "true") }

func (n *node) number(names ...string) (number int64, ok bool) {
	number, err := strconv.ParseInt(n.str(names...), 10, 63)
	return number, err == nil
}

// elements returns the elements of the list that the names lead to, or the parts of a text with commas.
func (n *node) elements(names ...string) (list []*node) {
	if n = n.get(names...); n == nil {
		return nil
	}
	for _, c := range n.list {
		if n.kind == syntax.KindList && !c.branch() {
			c.used, list = true, append(list, c)
		}
	}
	for part := range strings.SplitSeq(n.text, ",") {
		if one := *n; strings.TrimSpace(part) != "" {
			one.text = strings.TrimSpace(part)
			list = append(list, &one)
		}
	}
	return list
}

func (n *node) texts(names ...string) (list []string) {
	for _, c := range n.elements(names...) {
		list = append(list, c.text)
	}
	return list
}

// members returns the members of the table, or the tables in the list, that the names lead to.
func (n *node) members(names ...string) []*node {
	if n = n.get(names...); n != nil {
		return n.list
	}
	return nil
}

func (n *node) walk(f func(*node)) {
	if n != nil {
		f(n)
		for _, c := range n.list {
			c.walk(f)
		}
	}
}

func (n *node) use() { n.walk(func(c *node) { c.used = true }) }

func (n *node) places() (list []plan.Place) {
	n.walk(func(c *node) { list = append(list, c.at) })
	return slices.Compact(list)
}

// id is the name of a router, a service or a middleware, which counts whatever its case.
func (n *node) id() string { return strings.ToLower(n.path + "@" + n.from) }

// tcp reports whether n is about connections, not requests.
func (n *node) tcp() bool { return n != nil && strings.HasPrefix(n.key, "tcp.") }

// words returns n as a finding names it.
func (n *node) words() string {
	if n.text == "" {
		return n.path
	}
	return n.path + ": " + n.text
}

// set makes the members on a dotted path, as labels and flags have them, and gives the last one a text. It reports
// false where a part is something else already; a part that is true may have members.
func (n *node) set(path, text string, at plan.Place) bool {
	for name := range strings.SplitSeq(path, ".") {
		c := n.index[strings.ToLower(name)]
		if name == "" || n.text != "" && n.text != "true" {
			return false
		} else if c == nil {
			c = n.add(&node{name: name, at: at})
		}
		n = c
	}
	if n.branch() {
		return text == "true"
	}
	n.text, n.used = text, false
	return true
}
