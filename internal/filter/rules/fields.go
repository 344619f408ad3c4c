package rules

import (
	"bytes"
	"html"
	"slices"
	"strings"

	"github.com/edge-proxy/edge/internal/match/regex"
	"github.com/edge-proxy/edge/lang"
	"github.com/edge-proxy/edge/message"
	"github.com/edge-proxy/edge/proxy"
)

// field is a field that a rule sets. Immutable.
type field struct {
	name  string
	id    message.Name
	value *lang.Template // nil: it is removed
}

func newFields(list []Text) (fields []field) {
	for _, f := range list {
		fields = append(fields, field{f.Name, message.Lookup(f.Name), f.Value})
	}
	return fields
}

// append appends the line of f to h, as it is written on the wire, without making it one of its fields. It reports
// false for an empty value.
func (f *field) append(h *message.Head, v *lang.X) (line message.Field, ok bool) {
	if f.value == nil {
		return line, false
	}
	start := len(h.Base)
	base := append(append(h.Base, f.name...), ": "...)
	at := len(base)
	base = encode(f.value.Append(base, v), at, control)
	if value := bytes.Trim(base[at:], " \t"); len(value) < len(base)-at { // RFC 9110 §5.5: no white space at its ends
		base = append(base[:at], value...)
	}
	n := len(base) - at
	if n == 0 {
		return line, false
	}
	h.Base = append(base, '\r', '\n')
	return message.Field{
		NameAt: uint32(start), NameLen: uint16(len(f.name)), ID: f.id, ValueAt: uint32(at), ValueLen: uint32(n),
	}, true
}

// control reports whether a byte cannot stand in a field: a line end would begin another one.
func control(c byte) bool { return c < ' ' && c != '\t' || c == 0x7f }

// sent is a field of a request that goes on: its line stands in the bytes of the request.
type sent struct {
	by    *set
	field *field
	line  message.Field
	value bool // it has one
}

// add evaluates a field of the request, which setFields sets when the request is sent on: what comes of the client is
// sifted in between, and a client may name in Connection what a proxy is to drop (RFC 9110 §7.6.1).
func (st *state) add(s *set, x *proxy.Exchange, v *lang.X, f *field) *proxy.Error {
	h := &x.Request
	line, ok := f.append(h, v)
	if f.id == message.Host {
		value := h.Base[line.ValueAt : line.ValueAt+line.ValueLen]
		if _, _, valid := message.SplitAuthority(value); !ok || !valid {
			return proxy.BadHost
		}
	}
	one := sent{s, f, line, ok}
	if st.sending < fieldsKept {
		st.fields[st.sending] = one
	} else {
		st.more = append(st.more, one)
	}
	st.sending++
	return nil
}

// setFields sets the fields of the request that rules of s have evaluated.
func (s *set) setFields(x *proxy.Exchange) {
	st, h := local.Of(x), &x.Request
	for i := range st.sending {
		f := &st.fields[i%fieldsKept]
		if i >= fieldsKept {
			f = &st.more[i-fieldsKept]
		}
		switch {
		case f.by != s:
		case f.field.id == message.Host:
			h.Authority = message.Span{At: f.line.ValueAt, Len: f.line.ValueLen}
		default:
			h.Del(f.field.name)
			if f.value {
				h.Fields = append(h.Fields, f.line)
			}
		}
	}
}

// held is a rule that held and sets fields of the answer, with what match.N is in it.
type held struct {
	by      *set
	rule    *rule
	subject message.Span  // in the bytes of the request
	groups  *regex.Groups // nil: none, or the route's
}

// keep notes that r held, with its groups in the bytes of h.
func (st *state) keep(s *set, r *rule, h *message.Head, v *lang.X) {
	one := held{by: s, rule: r}
	if subject, groups := v.State.Match(); r.late && groups != nil {
		one.subject = message.Span{At: uint32(len(h.Base)), Len: uint32(len(subject))}
		h.Base = append(h.Base, subject...)
		own := *groups
		one.groups = &own
	}
	if st.holding < heldKept {
		st.held[st.holding] = one
	} else {
		st.rest = append(st.rest, one)
	}
	st.holding++
}

// answer sets the fields of the answer for the rules that held, and lets limits tell what is left.
func (s *set) answer(x *proxy.Exchange) proxy.Verdict {
	for _, l := range s.limits {
		l.Tell(x)
	}
	st := local.Of(x)
	if st.holding == 0 {
		return proxy.Next
	}
	for i := range st.holding {
		one := &st.held[i%heldKept]
		if i >= heldKept {
			one = &st.rest[i-heldKept]
		}
		if one.by != s {
			continue
		}
		v := proxy.View(x)
		if one.groups != nil {
			v.State.SetMatch(x.Request.Bytes(one.subject), one.groups[:])
		}
		for j := range one.rule.answer {
			f, h := &one.rule.answer[j], &x.Response
			line, ok := f.append(h, v)
			h.Del(f.name)
			if ok {
				h.Fields = append(h.Fields, line)
			}
		}
	}
	return proxy.Next
}

// escapeFor returns how values are escaped in a body of a type; nil: they are not.
func escapeFor(contentType string) func(dst []byte, from int) []byte {
	name, _, _ := strings.Cut(strings.ToLower(contentType), ";")
	switch {
	case strings.Contains(name, "html"), strings.Contains(name, "xml"):
		return escapeMarkup
	case strings.Contains(name, "json"), strings.Contains(name, "javascript"):
		return escapeScript
	}
	return nil
}

// escapeMarkup makes dst[from:] a text of HTML or XML, or of an attribute between quotation marks.
func escapeMarkup(dst []byte, from int) []byte {
	return append(dst[:from], html.EscapeString(string(dst[from:]))...)
}

// escapeScript makes dst[from:] a part of a text of JSON or JavaScript, as it stands between quotation marks.
func escapeScript(dst []byte, from int) []byte {
	const digits = "0123456789abcdef"
	tail := slices.Clone(dst[from:])
	dst = dst[:from]
	for _, c := range tail {
		switch {
		case c < ' ' || c == 0x7f || strings.IndexByte(`"'\<>&`+"`$", c) >= 0:
			dst = append(dst, '\\', 'u', '0', '0', digits[c>>4], digits[c&15])
		default:
			dst = append(dst, c)
		}
	}
	return dst
}
