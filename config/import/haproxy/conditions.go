package haproxy

import (
	"slices"
	"strings"
)

// condition is what the words after if and unless ask, as a tree.
//
//	if is_api !{ src 10.0.0.0/8 } or { path /x }
//
//	or ── and ── leaf is_api
//	 │     └─── not ── leaf src
//	 └─── leaf path
//
// A leaf that edge does not know is unknown. The text that is made of the tree holds for all requests for which it may
// hold, where a rule refuses those, and elsewhere for none for which it may not.
type condition struct {
	kind conditionKind
	kids []*condition

	holds string // of a leaf, in the language: where HAProxy's holds, and for other spellings of a path or a host
	sure  string // likewise, and nowhere else; "": as holds
	loose bool   // edge has none such

	either bool // sure may hold where holds does not: paths with dot segments

	// Of one that is unknown.
	users   string   // the list whose users are let in
	counter []string // it compares a number of what was counted: its words
}

type conditionKind uint8

const (
	leaf conditionKind = iota
	unknown
	and
	or
	not
)

// always is the condition that has no words.
var always = &condition{kind: and}

func negated(c *condition) *condition { return &condition{kind: not, kids: []*condition{c}} }

// known reports whether edge knows all of c.
func (c *condition) known() bool {
	return c.kind != unknown && !slices.ContainsFunc(c.kids, func(k *condition) bool { return !k.known() })
}

// loosely reports whether a part of c is the same for more spellings of a path than there.
func (c *condition) loosely() bool {
	return c.loose || slices.ContainsFunc(c.kids, (*condition).loosely)
}

const (
	yes = "true"
	no  = "false"
)

// sense is how the text of a condition differs from it, where it has to.
type sense uint8

const (
	usual   sense = iota // what is not known does not hold
	exact                // likewise, and no other spelling of a path or a host is the same
	refusal              // it holds where the condition may hold
)

// in returns c in the language, and what its outermost word is.
func (c *condition) in(s sense) (text string, kind conditionKind) { return c.write(s, s == refusal) }

// write is in; up says whether what is written has to hold where c may, and not only where c does.
func (c *condition) write(s sense, up bool) (text string, kind conditionKind) {
	switch c.kind {
	case unknown:
		if up {
			return yes, leaf
		}
		return no, leaf
	case leaf:
		if c.loose && s == refusal && !up {
			return no, leaf
		}
		if c.sure != "" && (s == exact || s == refusal && !up) {
			return c.sure, leaf
		}
		if c.either && s == refusal {
			return c.holds + " or " + c.sure, or
		}
		return c.holds, leaf
	case not:
		switch inner, _ := c.kids[0].write(s, !up); inner {
		case yes:
			return no, leaf
		case no:
			return yes, leaf
		default:
			return "not (" + inner + ")", not
		}
	}
	neutral, other, word := yes, no, " and "
	if c.kind == or {
		neutral, other, word = no, yes, " or "
	}
	var parts []string
	for _, k := range c.kids {
		part, of := k.write(s, up)
		switch {
		case part == neutral:
			continue
		case part == other:
			return other, leaf
		case c.kind == and && of == or && len(c.kids) > 1:
			part = "(" + part + ")"
		}
		parts, kind = append(parts, part), of
	}
	switch len(parts) {
	case 0:
		return neutral, leaf
	case 1:
		return parts[0], kind
	}
	return strings.Join(parts, word), c.kind
}

// conditionOf reads the words of a condition.
func (f *front) conditionOf(words []string) *condition {
	all := &condition{kind: or}
	term := &condition{kind: and}
	for i := 0; i < len(words); i++ {
		word := words[i]
		if word == "or" || word == "||" {
			all.kids = append(all.kids, term)
			term = &condition{kind: and}
			continue
		}
		negative := false
		for strings.HasPrefix(word, "!") {
			negative = !negative
			if word = word[1:]; word == "" && i+1 < len(words) {
				i++
				word = words[i]
			}
		}
		var c *condition
		if word == "{" {
			end := slices.Index(words[i:], "}")
			if end < 0 {
				return &condition{kind: unknown}
			}
			c = f.leafOf(words[i+1 : i+end])
			i += end
		} else {
			c = f.aclOf(word)
		}
		if negative {
			c = negated(c)
		}
		term.kids = append(term.kids, c)
	}
	if len(all.kids) == 0 {
		return term
	}
	all.kids = append(all.kids, term)
	return all
}

// aclOf returns the condition of the acl lines of one name: one of them has to hold.
func (f *front) aclOf(name string) *condition {
	c := &condition{kind: or}
	for _, l := range f.s.withDefaults() {
		if l.words[0] == "acl" && l.word(1) == name {
			l.used = true
			if !slices.Contains(f.from[name], l.at) {
				f.from[name] = append(f.from[name], l.at)
			}
			c.kids = append(c.kids, f.leafOf(l.rest(2)))
		}
	}
	if len(c.kids) > 0 {
		return c
	}
	if words := predefined()[name]; words != "" {
		return f.leafOf(strings.Fields(words))
	}
	return &condition{kind: unknown}
}

// predefined are the acls that HAProxy has by itself.
func predefined() map[string]string {
	return map[string]string{
		"TRUE": "always_true", "FALSE": "always_false", "HTTP": "always_true",
		"LOCALHOST": "src 127.0.0.0/8 ::1", "METH_CONNECT": "method CONNECT", "METH_DELETE": "method DELETE",
		"METH_GET": "method GET HEAD", "METH_HEAD": "method HEAD", "METH_OPTIONS": "method OPTIONS",
		"METH_POST": "method POST", "METH_PUT": "method PUT", "METH_TRACE": "method TRACE",
		"HTTP_CONTENT": "hdr_val(content-length) gt 0", "HTTP_URL_STAR": "url *",
	}
}
