package proxy

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/edge-proxy/edge/internal/exchange/forwarding"
	"github.com/edge-proxy/edge/internal/exchange/location"
	"github.com/edge-proxy/edge/internal/forward"
	"github.com/edge-proxy/edge/lang"
	"github.com/edge-proxy/edge/message"
	"github.com/edge-proxy/edge/session"
)

// SetFields makes a filter that sets fields: of the request before it is sent on, of the answer before it is returned.
// nil, or a text that is empty, removes the field. What the client says under a name that is set, in any spelling (see
// Del of message.Head) and in trailers too, is not sent on. Names, and the text around values, must be valid
// (message.ValidName, ValidValue).
//
// Where none of the values in a template is there the field is removed, so that no client can write it itself. Control
// characters in values are percent-encoded. What becomes Host is a host, or the request is refused.
func SetFields(request, response map[string]*lang.Template) *Filter {
	f := &Filter{Name: "headers"}
	if list := newFields(f, request); len(list) > 0 {
		f.UpstreamRequest = func(x *Exchange) { setFields(x, &x.Request, list) }
		for _, set := range list {
			f.owned = append(f.owned, set.name)
		}
	}
	if list := newFields(f, response); len(list) > 0 {
		f.Response = func(x *Exchange) Verdict {
			setFields(x, &x.Response, list)
			return Next
		}
	}
	return f
}

// setField is a field that SetFields sets. Immutable.
type setField struct {
	name  string
	id    message.Name
	fixed string         // the value, where it has no values of a request
	value *lang.Template // nil: it is fixed
	plain []bool         // which parts of value are texts
}

// newFields makes the fields that f sets.
func newFields(f *Filter, fields map[string]*lang.Template) (list []setField) {
	for _, name := range slices.Sorted(maps.Keys(fields)) {
		one := setField{name: name, id: message.Lookup(name)}
		if t := fields[name]; t != nil {
			one.use(t)
			f.NamesMatch = f.NamesMatch || t.NamesMatch()
		}
		list = append(list, one)
	}
	return list
}

// use makes t the value of f.
func (f *setField) use(t *lang.Template) {
	for _, p := range t.Parts() {
		f.fixed += p.Plain
		f.plain = append(f.plain, p.Source == "")
		if p.Source != "" {
			f.value = t
		}
	}
}

// append appends the value for v; known reports whether one of its values is there.
func (f *setField) append(dst []byte, v *lang.X) (text []byte, known bool) {
	for i, plain := range f.plain {
		from := len(dst)
		dst = f.value.AppendPart(dst, v, i)
		if !plain {
			known = known || len(dst) > from
			dst = escapeControls(dst, from)
		}
	}
	return dst, known
}

func setFields(x *Exchange, h *message.Head, list []setField) {
	var v *lang.X
	for i := range list {
		f := &list[i]
		value := f.fixed
		if f.value != nil {
			if v == nil {
				v = View(x)
			}
			if !evaluationOf(x).setField(h, f, v) {
				x.refusal = BadHost
			}
			continue
		}
		switch {
		case value == "":
			h.Del(f.name)
		case f.id == message.Host:
			h.SetAuthority(value)
		default:
			h.Set(f.name, value)
		}
	}
}

// setField sets the field f of h, whose value has values of the request. It reports false for a Host that is none.
func (e *evaluation) setField(h *message.Head, f *setField, v *lang.X) (ok bool) {
	text, known := f.append(e.text[:0], v)
	e.text = text[:0]
	value := trimBlanks(text)
	switch {
	case !known || len(value) == 0:
		h.Del(f.name)
	case f.id != message.Host:
		h.Del(f.name)
		h.AddBytes(f.id, f.name, value)
	default:
		if _, _, ok := message.SplitAuthority(value); !ok {
			return false
		}
		h.Authority = keep(h, value)
	}
	return true
}

// trimBlanks returns a value without white space at its ends: RFC 9110 §5.5.
func trimBlanks(b []byte) []byte {
	for len(b) > 0 && (b[0] == ' ' || b[0] == '\t') {
		b = b[1:]
	}
	for len(b) > 0 && (b[len(b)-1] == ' ' || b[len(b)-1] == '\t') {
		b = b[:len(b)-1]
	}
	return b
}

// escapeControls percent-encodes control characters of dst[from:], which a client may have chosen: a client that makes
// its own certificate may put line ends into names, which would end the field.
func escapeControls(dst []byte, from int) []byte {
	i := from
	for i < len(dst) && dst[i] >= ' ' && dst[i] != 0x7f {
		i++
	}
	if i == len(dst) {
		return dst
	}
	end := len(dst)
	for _, c := range dst[i:end] {
		if c < ' ' || c == 0x7f {
			dst = message.AppendPercent(dst, c)
		} else {
			dst = append(dst, c)
		}
	}
	return append(dst[:i], dst[end:]...)
}

// Rewrite changes the path of a request before it is sent on. The log, redirects and conditions see the path as it
// came. What it makes begins with one slash.
// Immutable once it is part of a Snapshot.
type Rewrite struct {
	StripPrefix string         // taken away where the path begins with it, by segments
	AddPrefix   string         // put before what is left
	Path        *lang.Template // instead of both: see location.Path
}

var errRewrite = errors.New("a rewrite has either a path or prefixes, which begin with a slash")

// filter checks w and makes a filter of it.
func (w *Rewrite) filter() (*Filter, error) {
	f := &Filter{Name: "rewrite"}
	if w.Path != nil {
		t, err := location.Path(w.Path)
		if err != nil {
			return nil, fmt.Errorf("rewrite to %q: %w", w.Path, err)
		}
		if w.StripPrefix != "" || w.AddPrefix != "" {
			return nil, errRewrite
		}
		f.NamesMatch = t.NamesMatch()
		f.UpstreamRequest = func(x *Exchange) {
			h := &x.Request
			if h.Bytes(h.Target)[0] != '/' { // "*", or the authority of CONNECT
				return
			}
			v := View(x)
			base, err := t.Append(h.Base, h, v)
			if err != nil {
				x.refusal = refusalOf(err)
				return
			}
			if !retarget(h, base) {
				x.refusal = TargetTooLong
			}
		}
		return f, nil
	}
	strip, put := strings.TrimRight(w.StripPrefix, "/"), strings.TrimRight(w.AddPrefix, "/")
	for _, prefix := range []string{strip, put} {
		if prefix != "" && (!location.ValidPrefix(prefix) || strings.ContainsAny(prefix, "{}")) {
			return nil, errRewrite
		}
	}
	f.UpstreamRequest = func(x *Exchange) {
		if !swapPrefix(&x.Request, strip, put) {
			x.refusal = TargetTooLong
		}
	}
	return f, nil
}

// swapPrefix puts one prefix in the place of another. It reports false for a target that gets too long.
func swapPrefix(h *message.Head, strip, put string) (ok bool) {
	target, path := h.Bytes(h.Target), h.Path()
	if target[0] != '/' { // "*", or the authority of CONNECT
		return true
	}
	if n := len(strip); len(path) >= n && string(path[:n]) == strip && (len(path) == n || path[n] == '/') {
		target, path = target[n:], path[n:]
	}
	base := append(h.Base, put...)
	if len(put)+len(path) == 0 {
		base = append(base, '/')
	}
	return retarget(h, message.OneSlash(append(base, target...), len(h.Base)))
}

// retarget makes the bytes that base has beyond the request its target. It reports false where they are too many.
func retarget(h *message.Head, base []byte) (ok bool) {
	n := len(base) - len(h.Base)
	if n > location.Max {
		return false
	}
	h.Target = message.Span{At: uint32(len(h.Base)), Len: uint32(n)}
	h.Base = base
	return true
}

// refusalOf returns the failure of a request that no target, and no Location, can be made of.
func refusalOf(err error) *Error {
	switch err {
	case location.ErrLong:
		return TargetTooLong
	case location.ErrDots:
		return AmbiguousPath
	}
	return BadTarget
}

// RewriteLocation makes a filter that has answers name this proxy where they name the backend: a Location or
// Content-Location with the address that the backend was reached by, or the Host that it was sent, also with the
// backend's port in it, becomes a path, and the prefixes of the rewrite are undone in it. w may be nil.
func RewriteLocation(w *Rewrite) *Filter {
	strip, put := "", ""
	if w != nil {
		strip, put = strings.TrimRight(w.StripPrefix, "/"), strings.TrimRight(w.AddPrefix, "/")
	}
	return &Filter{Name: "rewrite_location", UpstreamResponse: func(x *Exchange) {
		for _, name := range []string{"Location", "Content-Location"} {
			v := x.Response.Get(name)
			path, ok := ownPath(v, x.Backend(), &x.Request)
			if !ok {
				continue
			}
			rest, below := strings.CutPrefix(path, put)
			if below && (rest == "" || strings.IndexByte("/?#", rest[0]) >= 0) {
				path = strip + rest
			}
			if path == "" || path[0] != '/' {
				path = "/" + path
			}
			if path != v { // to a browser "//a/b" is a host, which the backend has not meant
				x.Response.Set(name, string(message.OneSlash([]byte(path), 0)))
			}
		}
	}}
}

// ownPath returns the path, query and fragment of a reference to the backend, which was sent h: a reference that is a
// path, or a URL with the backend's address, the Host, or the name in that with the backend's port, as nginx has it.
func ownPath(ref, backend string, h *message.Head) (path string, ok bool) {
	if strings.HasPrefix(ref, "/") && !strings.HasPrefix(ref, "//") {
		return ref, true
	}
	scheme, rest, found := strings.Cut(ref, "://")
	if !found || !strings.EqualFold(scheme, "http") && !strings.EqualFold(scheme, "https") {
		return "", false
	}
	end := strings.IndexAny(rest, "/?#")
	if end < 0 {
		end = len(rest)
	}
	host := rest[:end]
	port := backend[strings.LastIndexByte(backend, ':')+1:]
	if strings.HasPrefix(backend, "unix:") {
		port = "80" // it has none, so nginx names none
	}
	for _, own := range []string{
		backend, string(h.Bytes(h.Authority)), string(h.Host()) + ":" + port,
	} {
		short := forward.HostOfAddress(own, strings.EqualFold(scheme, "https"))
		if own != "" && (strings.EqualFold(host, own) || strings.EqualFold(host, short)) {
			return rest[end:], true
		}
	}
	return "", false
}

// sendOn makes the request of x ready to be sent on: RFC 9110 §7.6.
func sendOn(x *Exchange, noVia bool) {
	x.forwards = true
	ok := forwarding.Request(&x.Request, x.local.proxy.name, session.PeerIP(x.down).Addr(), forwarding.Facts{
		Secured: x.digest != nil, Trusted: x.trusted, Forwarded: x.listener.Forwarded,
		NoVia: noVia,
	})
	if !ok {
		x.refusal = loopDetected
	}
}
