package proxy

import (
	"errors"
	"fmt"
	"strings"

	"github.com/edge-proxy/edge/message"
)

// Rewrite changes the path of a request before it is sent on. The log, redirects and conditions see the path as it
// came. What it makes begins with one slash.
// Immutable once it is part of a Snapshot.
type Rewrite struct {
	StripPrefix string // taken away where the path begins with it, by segments
	AddPrefix   string // put before what is left
	Path        string // instead of both: a template, see message.ParsePath
}

// targetMax bounds the target that a rewrite or a redirect makes.
const targetMax = 16 << 10

var errRewrite = errors.New("a rewrite has either a path or prefixes, which begin with a slash")

// filter checks w and makes a filter of it.
func (w *Rewrite) filter() (*Filter, error) {
	f := &Filter{Name: "rewrite"}
	if w.Path != "" {
		t, err := message.ParsePath(w.Path)
		if err != nil {
			return nil, fmt.Errorf("rewrite to %q: %w", w.Path, err)
		}
		if w.StripPrefix != "" || w.AddPrefix != "" {
			return nil, errRewrite
		}
		f.UpstreamRequest = func(x *Exchange) {
			if h := &x.Request; h.Bytes(h.Target)[0] == '/' { // neither "*" nor the authority of CONNECT
				rest := restFor(x, t)
				retarget(x, t.Append(h.Base, h, x.Scheme(), rest))
			}
		}
		return f, nil
	}
	strip, put := strings.TrimRight(w.StripPrefix, "/"), strings.TrimRight(w.AddPrefix, "/")
	for _, prefix := range []string{strip, put} {
		if prefix == "" {
			continue
		}
		if _, err := message.ParsePath(prefix); err != nil || strings.ContainsAny(prefix, "{?") {
			return nil, errRewrite
		}
	}
	f.UpstreamRequest = func(x *Exchange) { swapPrefix(x, strip, put) }
	return f, nil
}

// swapPrefix puts one prefix in the place of another.
func swapPrefix(x *Exchange, strip, put string) {
	h := &x.Request
	target, path := h.Bytes(h.Target), h.Path()
	if target[0] != '/' { // "*", or the authority of CONNECT
		return
	}
	if n := len(strip); len(path) >= n && string(path[:n]) == strip && (len(path) == n || path[n] == '/') {
		target, path = target[n:], path[n:]
	}
	base := append(h.Base, put...)
	if len(put)+len(path) == 0 {
		base = append(base, '/')
	}
	retarget(x, message.OneSlash(append(base, target...), len(h.Base)))
}

// retarget makes the bytes that base has beyond the request its target.
func retarget(x *Exchange, base []byte) {
	h := &x.Request
	n := len(base) - len(h.Base)
	if n > targetMax {
		x.refusal = TargetTooLong
		return
	}
	h.Target = message.Span{At: uint32(len(h.Base)), Len: uint32(n)}
	h.Base = base
}

// restFor returns what {rest} stands for, where t has it: what the path has beyond that of the route. "" or a path.
// Borrowed until x ends.
func restFor(x *Exchange, t *message.Template) []byte {
	if !t.HasRest() || x.route.Exact {
		return nil
	}
	path := x.Path()
	if len(path) == 0 || path[0] != '/' { // "*", or the authority of CONNECT
		return nil
	}
	return path[min(x.route.rest, len(path)):]
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
			path, ok := ownPath(x, v)
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

// ownPath returns the path, query and fragment of a reference to the backend: one that is a path, or a URL with the
// backend's address, the Host that it was sent, or the name in that Host with the backend's port, as nginx has it.
func ownPath(x *Exchange, ref string) (path string, ok bool) {
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
	host, backend := rest[:end], x.Backend()
	port := backend[strings.LastIndexByte(backend, ':')+1:]
	if strings.HasPrefix(backend, "unix:") {
		port = "80" // it has none, so nginx names none
	}
	for _, own := range []string{
		backend, string(x.Request.Bytes(x.Request.Authority)), string(x.Request.Host()) + ":" + port,
	} {
		short := hostOfAddress(own, strings.EqualFold(scheme, "https"))
		if own != "" && (strings.EqualFold(host, own) || strings.EqualFold(host, short)) {
			return rest[end:], true
		}
	}
	return "", false
}
