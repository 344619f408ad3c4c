package traefik

import (
	"net/textproto"
	"slices"
	"strings"

	"github.com/edge-proxy/edge/config/import/plan"
)

// written is a route that is to be written.
type written struct {
	test
	entries []*entry
	keys    []plan.Field // keys of all of its routes
	dests   []dest       // one, or several that share the requests
	from    []plan.Place
	filters []*filter
	unless  []string // conditions of more specific routes, which edge counts as it does those of this one
	text    string   // all keys: routes with the same text answer alike

	hosts, methods []string
}

// dest is where a route leads to.
type dest struct {
	keys []plan.Field
	from []plan.Place
}

// finish makes the text of a route.
func (w *written) finish() *written {
	var b strings.Builder
	put := func(list []plan.Field) {
		for _, f := range list {
			b.WriteString(f.Name + " = " + f.Value + "\n")
		}
	}
	for _, d := range w.dests {
		put(d.keys)
	}
	put(w.keys)
	w.text = strings.TrimSuffix(b.String(), "\n")
	return w
}

// write writes routes. Those that differ in nothing but the entry point, the host or the method become one.
func (im *importer) write(all []*written) {
	var list []*written
	byKey := map[string]*written{}
	for _, w := range all {
		key := w.key() + "\x03" + w.when() + "\x03" + w.text
		if same := byKey[key]; same != nil {
			same.entries = append(same.entries, w.entries...)
			same.from = append(same.from, w.from...)
			continue
		}
		byKey[key] = w
		list = append(list, w)
	}
	open := im.open()
	listed := map[string]bool{} // hosts and paths whose routes say their listeners: all of them, or none
	for _, w := range list {
		if len(w.entries) < len(open) {
			listed[w.place()] = true
		}
	}
	for i, w := range list {
		w.hosts = []string{w.host}
		for _, c := range w.conds {
			if c.kind == 'm' {
				w.methods = []string{c.name}
			}
		}
		if !w.join(list[:i], listed) {
			continue
		}
		list[i] = nil
	}
	methods := false
	for _, w := range list {
		if w != nil {
			im.route(w, listed[w.place()])
			methods = methods || len(w.methods) > 0
		}
	}
	if methods {
		im.refuseMethods(list, open)
	}
}

// open returns the entry points whose requests are not all redirected.
func (im *importer) open() (list []*entry) {
	for _, e := range im.entries {
		if !e.block.Has("redirect_to_https") {
			list = append(list, e)
		}
	}
	return list
}

// join adds the hosts or the methods of w to a route before it that differs in nothing else.
func (w *written) join(before []*written, listed map[string]bool) bool {
	for _, o := range slices.Backward(before) {
		if o == nil || o.text != w.text || o.path != w.path || listed[o.place()] != listed[w.place()] ||
			!slices.Equal(o.entries, w.entries) {
			continue
		}
		sameMethods, sameHosts := slices.Equal(o.methods, w.methods), slices.Equal(o.hosts, w.hosts)
		if !slices.Equal(withoutMethods(o.conds), withoutMethods(w.conds)) || o.when() != w.when() {
			continue
		}
		switch {
		case sameMethods && w.host != "" && o.host != "":
			o.hosts = append(o.hosts, w.hosts...)
		case sameHosts && len(o.methods) > 0 && len(w.methods) > 0:
			o.methods = append(o.methods, w.methods...)
		default:
			continue
		}
		o.from = append(o.from, w.from...)
		return true
	}
	return false
}

// when returns the condition in the language; "": none.
func (w *written) when() string {
	whens, _ := w.whens()
	return strings.Join(slices.Concat(whens, w.unless), " and ")
}

// apart has routes that edge would not choose by the number of their conditions ask that those which are more specific
// do not take a request: several conditions in the language count as one.
func apart(list []*written) {
	for _, w := range list {
		own, others := w.whens()
		if len(own) == 0 {
			continue
		}
		for _, o := range list {
			more, same := o.whens()
			if o.place() != w.place() || same != others || len(more) <= len(own) || !o.test.within(w.test) {
				continue
			}
			var rest []string
			for _, text := range more {
				if !slices.Contains(own, text) {
					rest = append(rest, text)
				}
			}
			text := "not (" + strings.Join(rest, " and ") + ")"
			if len(rest) == 1 {
				text = negated(rest[0])
			}
			if !slices.Contains(w.unless, text) {
				w.unless = append(w.unless, text)
			}
		}
	}
}

// withoutMethods returns the conditions that are not methods.
func withoutMethods(list []cond) (rest []cond) {
	for _, c := range list {
		if c.kind != 'm' {
			rest = append(rest, c)
		}
	}
	return rest
}

// refuseMethods adds a route that answers 404 to all requests that no other route takes. Without it edge answers 405 to
// a request that routes take with other methods only. Traefik answers 404.
func (im *importer) refuseMethods(list []*written, open []*entry) {
	for _, w := range list {
		if w != nil && w.host == "" && w.path == "" && len(w.conds) == 0 && len(w.entries) == len(open) {
			return
		}
	}
	listed := false
	var left []*entry
	for _, e := range open {
		taken := func(w *written) bool {
			return w != nil && w.host == "" && w.path == "" && len(w.conds) == 0 && slices.Contains(w.entries, e)
		}
		if slices.ContainsFunc(list, taken) {
			listed = true
		} else {
			left = append(left, e)
		}
	}
	if len(left) == 0 {
		return
	}
	w := &written{entries: left, dests: []dest{{keys: []plan.Field{{Name: "dest", Value: `"status:404"`}}}}}
	im.route(w, listed)
}

// route writes a route, or several that share its requests.
func (im *importer) route(w *written, listed bool) {
	none := plan.Place{}
	im.filters.write(w.filters)
	for _, d := range w.dests {
		b := im.Add("[[routes]]", w.from...)
		b.From(d.from...)
		if w.host != "" {
			slices.Sort(w.hosts)
			b.Set("host", plan.Strings(w.hosts...), none)
		}
		path, exact := w.exact()
		switch {
		case !exact && w.path == "":
			path = "/*"
		case !exact:
			path = w.path
		case strings.HasSuffix(path, "/"):
			path = w.path
		}
		b.Set("path", plan.String(path), none)
		if listed {
			var names []string
			for _, e := range w.entries {
				names = append(names, e.listener)
			}
			b.Set("listener", plan.Strings(names...), none)
		}
		if len(w.methods) > 0 {
			b.Set("methods", plan.List(w.methods...), none)
		}
		for _, kind := range []struct {
			kind byte
			key  string
		}{{'h', "header"}, {'q', "query"}} {
			if text := conditions(w.conds, kind.kind); text != "" {
				b.Set(kind.key, text, none)
			}
		}
		if when := w.when(); when != "" {
			b.Set("when", plan.Literal(when), none)
		}
		for _, f := range slices.Concat(d.keys, w.keys) {
			other := ""
			if f.Name == "dest" {
				other = `"status:503"` // without it, a less specific route would take the requests
			}
			b.SetOr(f.Name, f.Value, other, none)
		}
	}
}

// conditions returns the conditions of a kind as edge.toml has them, "" where there are none.
func conditions(list []cond, kind byte) string {
	var fields []plan.Field
	for _, c := range list {
		if c.kind == kind {
			name := c.name
			if kind == 'h' {
				name = textproto.CanonicalMIMEHeaderKey(name)
			}
			fields = append(fields, plan.Field{Name: name, Value: c.value})
		}
	}
	if len(fields) == 0 {
		return ""
	}
	return plan.Table(fields)
}
