package lang

import "strings"

// special checks the arguments of functions that do not take texts alone, and gives the call its kind.
func (c *checker) special(n *node) *Error {
	first := n.args[0]
	switch n.text {
	case "len":
		n.kind = Int
		if first.kind != Text && first.kind != Texts {
			return c.wants(n, first, "a text or a list")
		}
	case "int":
		n.kind = Int
		if first.kind != Text && first.kind != Size {
			return c.wants(n, first, "a text")
		}
		if len(n.args) > 1 && n.args[1].kind != Int {
			return c.wants(n, n.args[1], "a number")
		}
	case "text":
		n.kind = Text
		n.many = first.many
		if first.kind == Texts {
			return c.wants(n, first, "one value")
		}
	case "hash":
		n.kind = Int
		return c.key(n, first)
	case "random":
		n.kind = Int
		if first.op != opNumber || first.kind != Int || first.number < 1 {
			return c.wants(n, first, "a number from 1 that is written out")
		}
	case "percent":
		n.kind = Bool
		if !literalBits(n.args[1], 100) {
			return c.wants(n, n.args[1], "a number from 0 to 100 that is written out")
		}
		return c.key(n, first)
	case "cidr":
		n.kind = Prefix
		if first.kind != IP {
			return c.wants(n, first, "an address")
		}
		if !literalBits(n.args[1], 32) {
			return c.wants(n, n.args[1], "a number from 0 to 32 that is written out")
		}
		if !literalBits(n.args[2], 128) {
			return c.wants(n, n.args[2], "a number from 0 to 128 that is written out")
		}
	case "has":
		n.kind = Bool
		if first.literal() || first.kind == Bool || first.kind == Texts {
			return c.wants(n, first, "what can be missing")
		}
	case "any", "all":
		return c.quantified(n)
	case jsonValid:
		n.kind = Bool
		if first.kind != Text && first.kind != Texts {
			return c.wants(n, first, "a text")
		}
		c.valid = append(c.valid, c.source(first))
	default:
		return c.specialText(n)
	}
	return nil
}

// key checks what shares are made of.
func (c *checker) key(n, key *node) *Error {
	if key.kind != Text && key.kind != IP && key.kind != Prefix && !key.kind.number() {
		return c.wants(n, key, "a text, a number or an address")
	}
	return nil
}

// quantified checks any(x == y) and all(x == y).
func (c *checker) quantified(n *node) *Error {
	n.kind = Bool
	of := n.args[0]
	if of.op != opCompare {
		return c.wants(n, of, "a comparison")
	}
	if left := of.args[0]; left.kind != Texts && !left.many {
		return at(left, "%s has one value", c.source(left)).hint("the comparison alone says it")
	}
	of.inner, of.outer = of.negate, false // there is a value that it holds for
	if n.text == "all" {
		of.inner, of.outer = !of.negate, true // there is no value that it does not hold for
	}
	return nil
}

// specialText checks the functions whose result is a text.
func (c *checker) specialText(n *node) *Error {
	first := n.args[0]
	n.kind = Text
	switch n.text {
	case "split":
		n.kind = Texts
		if first.kind != Text && first.kind != Texts {
			return c.wants(n, first, "a text")
		}
	case "join":
		if first.kind != Texts && !first.many {
			return c.wants(n, first, "a list")
		}
	case "re_replace":
		return c.replacement(n)
	case "hmac":
	case "default":
		if first.kind != Text {
			return c.wants(n, first, "a text")
		}
		n.many = first.many
	case "ms":
		if first.kind != Duration {
			return c.wants(n, first, "a duration")
		}
	case "date":
		return c.date(n)
	}
	for _, a := range n.args[1:] {
		if a.kind != Text {
			return c.wants(n, a, "a text")
		}
	}
	return nil
}

// replacement checks re_replace(x, "re", "$1").
func (c *checker) replacement(n *node) *Error {
	first, re, with := n.args[0], n.args[1], n.args[2]
	if first.kind != Text && first.kind != Texts {
		return c.wants(n, first, "a text")
	}
	n.kind, n.many = first.kind, first.many
	if err := c.pattern(n, re); err != nil {
		return err
	}
	if with.op != opText {
		return at(with, "the replacement is written out")
	}
	r, err := newReplacement(with.text, n.pattern.groups())
	if err != nil {
		e := at(with, "%s", err.Message)
		e.Hint = err.Hint
		return e
	}
	n.with = r
	return nil
}

// dateParts are the parts of a form of date, and what Go's package time has for them.
var dateParts = map[byte]string{'Y': "2006", 'm': "01", 'd': "02", 'H': "15", 'M': "04", 'S': "05",
	'a': "Mon", 'b': "Jan"}

// date checks date(seconds, "%Y") and leaves the form in the key of n.
func (c *checker) date(n *node) *Error {
	if n.args[0].kind != Int {
		return c.wants(n, n.args[0], "a number of seconds")
	}
	if len(n.args) == 1 {
		return nil
	}
	form := n.args[1]
	if form.op != opText {
		return at(form, "the form of a date is written out")
	}
	for i := 0; i < len(form.text); i++ {
		if form.text[i] != '%' {
			continue
		}
		i++
		if i == len(form.text) || form.text[i] != '%' && dateParts[form.text[i]] == "" {
			part := strings.TrimPrefix(form.text[i-1:min(i+1, len(form.text))], "%")
			return at(form, "a date has no %%%s", part).
				hint("%%Y %%m %%d %%H %%M %%S %%a %%b %%%%")
		}
	}
	return nil
}
