package lang

import (
	"math"
	"slices"
	"strings"
)

// Condition is a text that is true or false. Immutable, safe for any goroutine.
type Condition struct {
	scope   *Scope
	phases  Phases
	text    string
	holds   boolFunc
	capture bool
	match   bool // it names match.N
	path    bool // it names the path, or match.N
	body    bool
}

// Condition compiles a text that is evaluated in some phases. A mistake in it is an *Error.
func (s *Scope) Condition(text string, in Phases) (*Condition, error) {
	return s.condition(text, in, false)
}

func (s *Scope) condition(text string, in Phases, capture bool) (*Condition, error) {
	n, match, err := s.checkedCondition(text, in)
	if err != nil {
		return nil, err
	}
	if !capture { // else it is there already
		if err := s.admit(n); err != nil {
			return nil, err
		}
	}
	capture = capture || match
	c := compiler{scope: s, capture: capture}
	holds := c.boolean(n)
	if capture {
		all := holds
		holds = func(x *X) bool {
			x.State.matched = false
			return all(x)
		}
	}
	return &Condition{s, in, text, holds, capture, match, n.names(ofPath), n.names(ofBody)}, nil
}

// admit counts the instructions of the regular expressions of a text, and refuses it where all texts have too many of
// them.
func (s *Scope) admit(root *node) *Error {
	if n := root.instructions(); n > 0 && s.compiled.Add(int64(n)) > ScopeInstructionsMax {
		s.compiled.Add(int64(-n))
		return problem(int(root.at), int(root.end),
			"the regular expressions of all texts up to this one have more than %d instructions", ScopeInstructionsMax).
			hint("repeat less in them")
	}
	return nil
}

// instructions returns how many the regular expressions in n have.
func (n *node) instructions() (sum int) {
	if n.pattern != nil {
		sum = n.pattern.Instructions()
	}
	for _, a := range n.args {
		sum += a.instructions()
	}
	return sum
}

// checkedCondition parses and checks a text, and reports whether it names match.N.
func (s *Scope) checkedCondition(text string, in Phases) (*node, bool, *Error) {
	n, err := parseCondition(text)
	if err != nil {
		return nil, false, err
	}
	c := checker{scope: s, phases: in, src: text}
	err = c.condition(n)
	c.linkJSON()
	return n, c.match, err
}

// Capturing returns a condition that means the same and notes the groups of the last "~" that held, for templates that
// name match.N (see Template.NamesMatch). It is slower: a match with groups takes longer than one without.
func (c *Condition) Capturing() (*Condition, error) {
	if c.capture {
		return c, nil
	}
	return c.scope.condition(c.text, c.phases, true)
}

// Holds evaluates c.
func (c *Condition) Holds(x *X) bool {
	if x.State == nil {
		x.State = NewState()
	}
	x.State.begin()
	return c.holds(x)
}

// Same reports whether c and other mean the same: they have one text, and were compiled for one Scope.
func (c *Condition) Same(other *Condition) bool {
	return c.text == other.text && c.scope == other.scope && c.phases == other.phases
}

// NamesMatch reports whether c names match.N, which may be a group of another condition: see SetMatch of State.
func (c *Condition) NamesMatch() bool { return c.match }

// NamesPath reports whether c looks at X.Path, or at a group, which may be of it. A path may have more than one
// spelling, and then c may hold for one of them alone.
func (c *Condition) NamesPath() bool { return c.path }

// NamesBody reports whether c looks at the body of a request.
func (c *Condition) NamesBody() bool { return c.body }

// String returns the text of c, as it was written.
func (c *Condition) String() string { return c.text }

// MarshalText makes the text of c what JSON shows.
func (c *Condition) MarshalText() ([]byte, error) { return []byte(c.text), nil }

// Template is a text with values in braces. Immutable, safe for any goroutine.
type Template struct {
	text   string
	parts  []templatePart
	match  bool
	path   bool // it names the path, or match.N
	body   bool
	single TextFunc // of one text and nothing else, several values joined; nil: it is something else
}

// templatePart is a text as it is, or what appends a value.
type templatePart struct {
	plain  string
	source string // of the value, without its braces
	secret bool   // the value is a secret, or made of one
	value  func(x *X, dst []byte) []byte
	texts  TextsFunc // the values, where there may be several; nil: there is one
}

// Template compiles a text that is evaluated in some phases. A mistake in it is an *Error.
func (s *Scope) Template(text string, in Phases) (*Template, error) {
	return s.template(text, in, nil)
}

// LooseTemplate is Template for a text that may have braces of its own, such as JSON: they stand for themselves, one or
// two of them, unless a name follows that the Scope knows.
func (s *Scope) LooseTemplate(text string, in Phases) (*Template, error) {
	return s.template(text, in, func(name string) bool { return s.functions[name] != nil || s.begins(name) })
}

// begins reports whether a name, or the part of one before the dot, is a name that texts may begin with.
func (s *Scope) begins(name string) bool {
	tables := []string{secretPrefix, listPrefix, tablePrefix, envPrefix}
	if slices.Contains(tables, name+".") || s.variables[name] != nil {
		return true
	}
	for known := range s.variables {
		if strings.HasPrefix(known, name+".") {
			return true
		}
	}
	return false
}

func (s *Scope) template(text string, in Phases, begins func(name string) bool) (*Template, error) {
	root, match, err := s.checkedTemplate(text, in, begins)
	if err != nil {
		return nil, err
	}
	if err := s.admit(root); err != nil {
		return nil, err
	}
	t := &Template{text: text, match: match, path: root.names(ofPath), body: root.names(ofBody)}
	c := compiler{scope: s, capture: match}
	for _, n := range root.args {
		if n.op == opText {
			t.parts = append(t.parts, templatePart{plain: n.text})
		} else {
			p := templatePart{value: c.part(n), source: text[n.at:n.end], secret: n.secret}
			if n.many {
				p.texts = c.texts(n)
			}
			t.parts = append(t.parts, p)
		}
	}
	if len(root.args) == 1 && root.args[0].kind == Text && root.args[0].op != opText {
		t.single = c.scalar(root.args[0])
	}
	return t, nil
}

func (s *Scope) checkedTemplate(text string, in Phases, begins func(name string) bool) (*node, bool, *Error) {
	root, err := parseTemplate(text, begins)
	if err != nil {
		return nil, false, err
	}
	c := checker{scope: s, phases: in, src: text}
	err = c.check(root)
	c.linkJSON()
	return root, c.match, err
}

// part compiles an expression of a template. Several values are joined by ", ".
func (c *compiler) part(n *node) func(x *X, dst []byte) []byte {
	switch {
	case n.kind != Text:
		return c.appender(n)
	case !n.many:
		f := c.scalar(n)
		return func(x *X, dst []byte) []byte { return append(dst, f(x)...) }
	}
	list := c.texts(n)
	return func(x *X, dst []byte) []byte {
		s := x.State
		all := list(x, s.list)
		mark := len(s.list)
		s.list, all = all[:mark], all[mark:]
		for i, text := range all {
			if i > 0 {
				dst = append(dst, comma...)
			}
			dst = append(dst, text...)
		}
		return dst
	}
}

// Append appends what t is for x. It stops at ComputedMax bytes, which State.Cut counts.
func (t *Template) Append(dst []byte, x *X) []byte { return t.AppendEscaped(dst, x, nil) }

// AppendEscaped is Append with each value escaped, and the text around the values as it is: escape makes dst[from:],
// one value, what stands in its place. nil: values stand as they are.
func (t *Template) AppendEscaped(dst []byte, x *X, escape func(dst []byte, from int) []byte) []byte {
	if x.State == nil {
		x.State = NewState()
	}
	begin := len(dst)
	for i := range t.parts {
		if p := &t.parts[i]; p.value == nil {
			dst = append(dst, p.plain...)
		} else {
			x.State.begin() // ComputedMax is for one value
			from := len(dst)
			dst = p.value(x, dst)
			if escape != nil {
				dst = escape(dst, from)
			}
		}
		if len(dst)-begin > ComputedMax {
			x.State.cut++
			return dst[:begin+ComputedMax]
		}
	}
	return dst
}

// Single returns the text of a template that is one value and nothing else, where it lies: borrowed until x changes or
// another text is evaluated. ok is false for any other template, which is for Append.
func (t *Template) Single(x *X) (text []byte, ok bool) {
	if t.single == nil {
		return nil, false
	}
	if x.State == nil {
		x.State = NewState()
	}
	x.State.begin()
	if text = t.single(x); len(text) > ComputedMax {
		x.State.cut++
		text = text[:ComputedMax]
	}
	return text, true
}

// Part is a part of a Template: a text as it is, or a value.
type Part struct {
	Plain  string
	Source string // of a value, as it was written between its braces; "" for a text
	Secret bool   // the value is made of a secret: it is not for people
}

// Parts returns the parts of t, in order.
func (t *Template) Parts() []Part {
	list := make([]Part, len(t.parts))
	for i, p := range t.parts {
		list[i] = Part{p.plain, p.source, p.secret}
	}
	return list
}

// AppendPart appends part i of t alone, for a caller that escapes values: at most ComputedMax bytes, which State.Cut
// counts.
func (t *Template) AppendPart(dst []byte, x *X, i int) []byte {
	p := &t.parts[i]
	if p.value == nil {
		return append(dst, p.plain...)
	}
	if x.State == nil {
		x.State = NewState()
	}
	x.State.begin()
	begin := len(dst)
	if dst = p.value(x, dst); len(dst)-begin > ComputedMax {
		x.State.cut++
		dst = dst[:begin+ComputedMax]
	}
	return dst
}

// AppendOne is Append with one of its values in each place where there may be several, which Append joins: in the n-th
// way of all, n from 0. What has no value is empty. x has a State.
func (t *Template) AppendOne(dst []byte, x *X, n int) (text []byte, all int) {
	all = 1
	for i := range t.parts {
		p := &t.parts[i]
		if p.texts == nil {
			dst = t.AppendPart(dst, x, i)
			continue
		}
		x.State.begin()
		list := p.texts(x, x.State.list)
		x.State.list = list[:0]
		if len(list) > 0 {
			dst = append(dst, list[n%len(list)]...)
			n, all = n/len(list), min(all*len(list), math.MaxInt32)
		}
	}
	return dst, all
}

// NamesMatch reports whether t names match.N: then the condition of its rule is a Capturing one.
func (t *Template) NamesMatch() bool { return t.match }

// NamesPath reports whether t has X.Path in it, a part of it, or a group: see Condition.NamesPath.
func (t *Template) NamesPath() bool { return t.path }

// NamesBody reports whether t looks at the body of a request.
func (t *Template) NamesBody() bool { return t.body }

// Constant returns the text of t, where there is no value in it.
func (t *Template) Constant() (string, bool) {
	switch {
	case len(t.parts) == 0:
		return "", true
	case len(t.parts) == 1 && t.parts[0].value == nil:
		return t.parts[0].plain, true
	}
	return "", false
}

// String returns the text of t, as it was written.
func (t *Template) String() string { return t.text }

// MarshalText makes the text of t what JSON shows.
func (t *Template) MarshalText() ([]byte, error) { return []byte(t.text), nil }
