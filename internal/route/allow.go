package route

import (
	"slices"

	"github.com/edge-proxy/edge/message"
)

// verbs are the methods that have a number, in the order in which Allow names them.
var verbs = [...]message.Verb{
	message.VerbGet, message.VerbHead, message.VerbPost, message.VerbPut, message.VerbPatch, message.VerbDelete,
	message.VerbOptions, message.VerbConnect, message.VerbTrace,
}

// AppendAllow appends the methods with which a rule would take h, in the form of the field Allow (RFC 9110 §10.2.1). It
// is for an h that no rule takes: to be called after a Find of h with l, on the same goroutine. It appends nothing
// where h is taken with no method at all. h is borrowed until return, and is the same then as before.
func (t *Table[T]) AppendAllow(dst []byte, h *message.Head, from Arrival, l *Local) []byte {
	r := &t.rules
	path := l.read
	if path == nil {
		path, _ = pathOf(h.Bytes(h.Target))
	}
	verb, method, base := h.Verb, h.Method, h.Base
	defer func() { h.Verb, h.Method, h.Base = verb, method, base }()
	start, named := len(dst), r.verbs
	if 1<<h.Verb&ordinary == 0 { // rules without methods would take it with another one
		named |= ordinary
	}
	add := func(method string) {
		if len(dst) > start {
			dst = append(dst, ", "...)
		}
		dst = append(dst, method...)
	}
	// find is asked with each method, so that Allow and the table agree.
	for _, v := range verbs {
		if h.Verb = v; named&(1<<v) != 0 && r.find(path, h, from) != nil {
			add(v.String())
		}
	}
	for _, m := range r.methods {
		if h.SetMethod(m); r.find(path, h, from) != nil {
			add(m)
		}
	}
	return dst
}

// noteMethods notes the methods that a rule names: with no other one can rules take what they do not take as it is.
func (r *rules) noteMethods(c *conditions, rule *Rule) {
	if len(rule.Methods) == 0 {
		return
	}
	r.verbs |= c.verbs
	for _, m := range c.methods {
		if !slices.Contains(r.methods, m) {
			r.methods = append(r.methods, m)
		}
	}
}
