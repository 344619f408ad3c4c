package rules

import (
	"bytes"
	"strings"

	"github.com/edge-proxy/edge/internal/exchange/location"
	"github.com/edge-proxy/edge/lang"
	"github.com/edge-proxy/edge/message"
	"github.com/edge-proxy/edge/proxy"
)

// failureOf returns the failure of a request that no target, and no Location, can be made of.
func failureOf(err error) *proxy.Error {
	switch err {
	case location.ErrLong:
		return proxy.TargetTooLong
	case location.ErrDots:
		return proxy.AmbiguousPath
	}
	return proxy.BadTarget
}

// change changes the query of the target of h, the request, for v.
func (q *query) change(h *message.Head, v *lang.X) *proxy.Error {
	target := h.Bytes(h.Target)
	if len(target) == 0 || target[0] != '/' { // "*", or the authority of CONNECT
		return nil
	}
	start := len(h.Base)
	base := append(h.Base, h.Path()...)
	mark := byte('?')
	for rest := h.Query(); len(rest) > 0; {
		pair, after, _ := bytes.Cut(rest, []byte("&"))
		rest = after
		if len(pair) > 0 && !q.takes(pair) {
			base = append(append(base, mark), pair...)
			mark = '&'
		}
	}
	for i := range q.put {
		base = append(append(append(base, mark), q.put[i].name...), '=')
		mark = '&'
		if t := q.put[i].value; t != nil {
			from := len(base)
			base = encode(t.Append(base, v), from, reserved)
		}
	}
	if len(base)-start > location.Max {
		return proxy.TargetTooLong
	}
	h.Base, h.Target = base, message.Span{At: uint32(start), Len: uint32(len(base) - start)}
	return nil
}

// query is a Query that was made ready. Immutable.
type query struct {
	gone []string // names, decoded, of what is taken away
	put  []parameter
}

type parameter struct {
	name  string // encoded
	value *lang.Template
}

func newQuery(q *Query) *query {
	if q == nil {
		return nil
	}
	c := &query{gone: q.Del}
	for _, p := range q.Set {
		c.gone = append(c.gone[:len(c.gone):len(c.gone)], p.Name)
	}
	for _, list := range [][]Text{q.Set, q.Add} {
		for _, p := range list {
			c.put = append(c.put, parameter{string(encode([]byte(p.Name), 0, reserved)), p.Value})
		}
	}
	return c
}

// takes reports whether a pair of a query is taken away.
func (q *query) takes(pair []byte) bool {
	for _, name := range q.gone {
		if _, _, ok := message.CutParameter(pair, name); ok {
			return true
		}
	}
	return false
}

// reserved reports whether a byte is encoded in a parameter: all but the unreserved ones of RFC 3986 §2.3.
func reserved(c byte) bool {
	lower := c | 0x20
	return (lower < 'a' || lower > 'z') && (c < '0' || c > '9') && strings.IndexByte("-._~", c) < 0
}

// encode percent-encodes the bytes of dst[from:] that are bad.
func encode(dst []byte, from int, bad func(c byte) bool) []byte {
	i := from
	for i < len(dst) && !bad(dst[i]) {
		i++
	}
	if i == len(dst) {
		return dst
	}
	tail := bytes.Clone(dst[i:])
	dst = dst[:i]
	for _, c := range tail {
		if bad(c) {
			dst = message.AppendPercent(dst, c)
		} else {
			dst = append(dst, c)
		}
	}
	return dst
}
