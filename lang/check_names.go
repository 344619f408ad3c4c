package lang

import (
	"maps"
	"net/netip"
	"slices"
	"strings"
)

func (c *checker) name(n *node) *Error {
	switch {
	case strings.HasPrefix(n.text, secretPrefix):
		return at(n, "a secret is compared by ==, or is the key of hmac, and stands nowhere else")
	case strings.HasPrefix(n.text, listPrefix):
		return at(n, "a list stands after in").hint("x in %s", n.text)
	case strings.HasPrefix(n.text, tablePrefix):
		return at(n, "a map is asked with a key").hint("%s[key]", n.text)
	case strings.HasPrefix(n.text, envPrefix):
		return c.environment(n, strings.TrimPrefix(n.text, envPrefix))
	}
	if v := c.scope.variables[n.text]; v != nil {
		if v.Text == nil && v.Int == nil && v.Bool == nil && v.IP == nil && v.Texts == nil {
			return at(n, "%s is a map of names", n.text).hint("%s.NAME", n.text)
		}
		n.variable, n.kind = v, v.Kind
		return c.phase(n, v)
	}
	if i := strings.LastIndexByte(n.text, '.'); i > 0 {
		if v := c.scope.variables[n.text[:i]]; v != nil && (v.Named != nil || v.NamedTexts != nil) {
			return c.named(n, v, n.text[i+1:])
		}
	}
	return c.unknown(n)
}

// named makes n one of the names of a map.
func (c *checker) named(n *node, v *Variable, name string) *Error {
	n.variable, n.key, n.kind, n.many = v, name, Text, v.NamedTexts != nil
	var err error
	if v.Named != nil {
		n.value, err = v.Named(name)
	} else {
		n.values, err = v.NamedTexts(name)
	}
	if err != nil {
		return at(n, "%s: %v", c.source(n), err)
	}
	if v.each != nil {
		n.each = v.each(name)
	}
	c.match = c.match || v.Name == "match"
	return c.phase(n, v)
}

// environment makes n the text that a variable of the environment has now.
func (c *checker) environment(n *node, name string) *Error {
	if c.scope.env == nil {
		return at(n, "there is no environment here")
	}
	value, ok := c.scope.env(name)
	if !ok {
		return at(n, "the environment has no %s", name)
	}
	n.key, n.kind = value, Text
	return nil
}

// phase refuses a variable that is not known here, or not when the text is evaluated.
func (c *checker) phase(n *node, v *Variable) *Error {
	if v.Refused != "" {
		return at(n, "%s", v.Refused).hint("%s", v.Remedy)
	}
	if v.Phases&c.phases == c.phases {
		return nil
	}
	switch {
	case c.phases&Handshake != 0 && v.Phases&Handshake == 0:
		return at(n, "%s is not known before the handshake ends", c.source(n)).hint("use it in when of a route")
	case v.Phases == Log:
		return at(n, "%s is known when all is over", c.source(n)).hint("use it in log")
	case ofBody(v) && c.phases == Request:
		return at(n, "%s is not known here", c.source(n)).
			hint(`a route with read_body = "64k" knows it, after it was chosen: in its rules, and in what follows them`)
	case v.Phases&(Connection|Request|Content) == 0:
		return at(n, "%s is not known before an answer", c.source(n)).hint("use it in log or [answer]")
	case v.Phases&Connection == 0 && c.phases&Connection != 0:
		return at(n, "%s is not known before a request", c.source(n))
	}
	return at(n, "%s is not known here", c.source(n)).hint("it is in: %s", v.Phases)
}

// unknown says what a name is called here, or which one was meant.
func (c *checker) unknown(n *node) *Error {
	name := n.text
	if len(name) > 100 {
		return at(n, "no variable has such a long name")
	}
	err := at(n, "there is no variable %s", name)
	if here := foreignName(name); here != "" {
		return err.hint("%s", here)
	}
	if c.scope.functions[name] != nil {
		return err.hint("%s is a function: %s(…)", name, name)
	}
	for i := len(name) - 1; i > 0; i-- {
		if name[i] == '-' {
			if v := c.scope.variables[name[:i]]; v != nil {
				return err.hint("a dash is a part of the name: put spaces around a minus")
			}
		}
		if name[i] != '.' {
			continue
		}
		if v := c.scope.variables[name[:i]]; v != nil && (v.Named != nil || v.NamedTexts != nil) {
			return err.hint("%s[%q]", name[:i], name[i+1:])
		}
	}
	if i := strings.LastIndexByte(name, '.'); i > 0 && c.scope.functions[name[i+1:]] != nil {
		return err.hint("a function is called with ( ): %s()", name)
	}
	if near := nearest(name, maps.Keys(c.scope.variables)); near != "" {
		return err.hint("did you mean %s?", near)
	}
	base, rest, dotted := strings.Cut(name, ".")
	if near := nearest(base, maps.Keys(c.scope.variables)); dotted && near != "" && near != base {
		return err.hint("did you mean %s.%s?", near, rest)
	}
	return err
}

func (c *checker) in(n *node) *Error {
	left, right := n.args[0], n.args[1]
	if right.op == opName {
		name, isList := strings.CutPrefix(right.text, listPrefix)
		l, ok := c.scope.lists[name]
		switch {
		case !isList:
			return at(right, "in is followed by a set or a list").
				hint("in {…}, in list.NAME; == compares with a variable")
		case !ok:
			return at(right, "there is no list %s", name).hint("%s", meant(name, maps.Keys(c.scope.lists), "there are"))
		case l.Kind != left.kind && !(l.Kind == Text && left.kind == Texts):
			return at(n, "%s is %v, and %s has others", c.source(left), left.kind, right.text)
		}
		n.list = &l
		return nil
	}
	if right.op != opSet {
		return at(right, "in is followed by a set or a list").hint("in {…}, in list.NAME")
	}
	for _, a := range right.args {
		if err := c.check(a); err != nil {
			return err
		}
		if a.kind == Prefix && left.kind == IP {
			continue
		}
		if err := c.alike(left, a); err != nil {
			e := at(a, "%s is %v, and %s is %v", c.source(left), left.kind, c.source(a), a.kind)
			e.Hint = err.Hint
			return e
		}
	}
	if left.kind == Bool || left.kind == Prefix {
		return at(left, "%s is %v: compare it by ==", c.source(left), left.kind)
	}
	return nil
}

// index checks header["x"], map.NAME[key] and list[n].
func (c *checker) index(n *node) *Error {
	of, by := n.args[0], n.args[1]
	if of.op == opName {
		if v := c.scope.variables[of.text]; v != nil && by.op == opText && (v.Named != nil || v.NamedTexts != nil) {
			return c.named(n, v, by.text)
		}
		if of.text == strings.TrimSuffix(envPrefix, ".") && by.op == opText {
			return c.environment(n, by.text)
		}
		if strings.HasPrefix(of.text, tablePrefix) {
			return c.table(n)
		}
		if here := foreignName(of.text); here != "" && c.scope.variables[of.text] == nil {
			return at(n, "there is no variable %s", of.text).hint("%s", here)
		}
	}
	if err := c.check(of); err != nil {
		return err
	}
	if err := c.check(by); err != nil {
		return err
	}
	if of.kind != Texts && !of.many {
		return at(n, "%s is %v, and has no elements", c.source(of), of.kind).hint(`split(%s, ",")[0]`, c.source(of))
	}
	if by.kind != Int {
		return at(by, "an index is a number")
	}
	n.kind, n.secret = Text, of.secret
	return nil
}

// table checks map.NAME[key].
func (c *checker) table(n *node) *Error {
	of, key := n.args[0], n.args[1]
	name := strings.TrimPrefix(of.text, tablePrefix)
	t, ok := c.scope.tables[name]
	if !ok {
		return at(of, "there is no map %s", name).hint("%s", meant(name, maps.Keys(c.scope.tables), "there are"))
	}
	if err := c.check(key); err != nil {
		return err
	}
	if key.kind != t.Key {
		return at(key, "the keys of %s are not as %s, which is %v", of.text, c.source(key), key.kind)
	}
	n.table, n.kind, n.many = &t, Text, key.many
	return nil
}

func (c *checker) call(n *node) *Error {
	f := c.scope.functions[n.text]
	if f == nil {
		return c.noFunction(n)
	}
	n.function = f
	if len(n.args) < f.least || len(n.args) > f.most {
		return at(n, "%s has %d to %d arguments, not %d", f.name, f.least, f.most, len(n.args)).hint("%s", f.usage)
	}
	if f.name == "hmac" {
		if n.args[0].op != opName || !strings.HasPrefix(n.args[0].text, secretPrefix) {
			return at(n.args[0], "the key of hmac is a secret").hint("hmac(secret.NAME, x)")
		}
		if err := c.secret(n.args[0]); err != nil {
			return err
		}
	}
	for i, a := range n.args {
		if i == 0 && f.name == "hmac" {
			continue
		}
		if err := c.check(a); err != nil {
			return err
		}
		n.secret = n.secret || a.secret
	}
	n.secret = n.secret || f.name == "hmac"
	if f.text == nil {
		return c.special(n)
	}
	for i, a := range n.args {
		if a.kind != Text && (i > 0 || a.kind != Texts) {
			return c.wants(n, a, "a text")
		}
	}
	n.kind, n.many = n.args[0].kind, n.args[0].many
	if f.name == "json" {
		c.json = append(c.json, n)
		if n.args[1].op != opText {
			return at(n.args[1], "the names on the way to a member are written out")
		}
	}
	return nil
}

// linkJSON notes at each call of json in a text whether the text asks json.valid about the same value.
func (c *checker) linkJSON() {
	for _, n := range c.json {
		of, f := n.args[0], *n.function
		call := jsonCall{ofBody: of.names(ofBody), allowed: slices.Contains(c.valid, c.source(of))}
		f.text = func(x *X, text, path, _ []byte) []byte { return x.json(text, path, call) }
		n.function = &f
	}
}

func (c *checker) wants(n, a *node, what string) *Error {
	err := at(a, "%s is %v, and %s takes %s here", c.source(a), a.kind, n.text, what)
	if what == "a text" && a.kind != Texts {
		return err.hint("text(%s)", c.source(a))
	}
	return err.hint("%s", n.function.usage)
}

// noFunction says what a function is called here, or which one was meant.
func (c *checker) noFunction(n *node) *Error {
	name := c.src[n.at:n.end]
	if n.method {
		name = n.text // of x.f()
	} else if i := strings.IndexByte(name, '('); i > 0 {
		name = name[:i]
	}
	if len(name) > 100 {
		return at(n, "no function has such a long name")
	}
	err := at(n, "there is no function %s", name)
	if n.method && n.args[0].op == opName { // req.hdr(host)
		if here := foreignName(n.args[0].text + "." + n.text); here != "" {
			return err.hint("%s", here)
		}
	}
	if here := foreignName(name); here != "" {
		return err.hint("%s", here)
	}
	if v := c.scope.variables[name]; v != nil {
		return err.hint("%s is a variable, without ( )", name)
	}
	if near := nearest(name, maps.Keys(c.scope.functions)); near != "" {
		return err.hint("did you mean %s?", near)
	}
	return err
}

// literalBits reports whether n is a number from 0 to most that is written out.
func literalBits(n *node, most int64) bool {
	return n.op == opNumber && n.kind == Int && n.number >= 0 && n.number <= most
}

// masked returns the prefix of an address with so many bits.
func masked(a netip.Addr, four, six int) netip.Prefix {
	bits := six
	if a.Is4() {
		bits = four
	}
	p, err := a.Prefix(bits)
	if err != nil {
		return netip.Prefix{} // of an address that is missing
	}
	return p
}
