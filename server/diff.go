package server

import (
	"log/slog"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/edge-proxy/edge/config"
	"github.com/edge-proxy/edge/config/schema"
)

// Diff is what a reload changed: "listener web", "route api", "upstream users", "log", "global".
type Diff struct {
	Added, Removed, Changed []string
	Restart                 []string // keys whose new value waits for a restart
}

// Empty reports whether nothing changed.
func (d *Diff) Empty() bool {
	return len(d.Added)+len(d.Removed)+len(d.Changed)+len(d.Restart) == 0
}

// Listeners reports whether a listener is among what changed.
func (d *Diff) Listeners() bool {
	return slices.ContainsFunc(slices.Concat(d.Added, d.Removed, d.Changed), func(item string) bool {
		return strings.HasPrefix(item, "listener ")
	})
}

// LogValue shows what changed as attributes of a line of the event log.
func (d Diff) LogValue() slog.Value {
	var attrs []slog.Attr
	for _, list := range []struct {
		name  string
		items []string
	}{{"added", d.Added}, {"removed", d.Removed}, {"changed", d.Changed}, {"restart", d.Restart}} {
		if len(list.items) > 0 {
			attrs = append(attrs, slog.Any(list.name, list.items))
		}
	}
	return slog.GroupValue(attrs...)
}

// entry is a named part of a configuration.
type entry struct {
	kind, name string
	value      any
}

// routeEntry is a route with its destination by name: its index says nothing in another configuration.
type routeEntry struct {
	config.Route
	to string
}

func diffOf(old, next *config.Config) Diff {
	var d Diff
	before, after := entries(old), entries(next)
	seen := make(map[[2]string]any)
	for _, e := range before {
		seen[[2]string{e.kind, e.name}] = e.value
	}
	for _, e := range after {
		id := [2]string{e.kind, e.name}
		was, found := seen[id]
		delete(seen, id)
		switch {
		case !found:
			d.Added = append(d.Added, e.title())
		case !same(reflect.ValueOf(was), reflect.ValueOf(e.value)):
			d.Changed = append(d.Changed, e.title())
		}
	}
	for _, e := range before {
		if _, left := seen[[2]string{e.kind, e.name}]; left {
			d.Removed = append(d.Removed, e.title())
		}
	}
	d.Restart = append(config.RestartKeys(old, next), socketKeys(old, next)...)
	return d
}

func (e *entry) title() string {
	if e.name == "" {
		return e.kind
	}
	return e.kind + " " + e.name
}

func entries(c *config.Config) []entry {
	all := []entry{{"global", "", c.Global}, {"log", "", c.Log}, {"tls", "", c.TLS}, {"filters", "", c.Filters}}
	if len(c.ErrorPages) > 0 {
		all = append(all, entry{"error_pages", "", c.ErrorPages})
	}
	for _, p := range c.Certificates {
		all = append(all, entry{"certificate", p.Cert, p})
	}
	for _, l := range c.Listeners {
		all = append(all, entry{"listener", l.Name, l})
	}
	for _, u := range c.Upstreams {
		all = append(all, entry{"upstream", u.Name, u})
	}
	for _, r := range c.Routes {
		to := ""
		if r.Dest.Kind == config.DestUpstream {
			to = c.Upstreams[r.Dest.Upstream].Name
		}
		name := r.Name
		if r.Host != "" && r.Name != "" {
			name += " (" + r.Host + ")"
		}
		r.Dest.Upstream, r.Entry = 0, 0
		all = append(all, entry{"route", name, routeEntry{r, to}})
	}
	for _, r := range c.Registrations {
		all = append(all, entry{"register", strings.TrimSpace(r.To + " " + r.Name), r})
	}
	for _, f := range c.Features {
		all = append(all, entry{schema.SectionOf(f).Path, "", f})
	}
	number(all)
	return all
}

// number makes equal names different: those of certificates in one file.
func number(all []entry) {
	times := make(map[string]int)
	for i := range all {
		title := all[i].title()
		if times[title]++; times[title] > 1 {
			all[i].name += " #" + strconv.Itoa(times[title])
		}
	}
}

// socketPrefix begins the names of socketKeys.
const socketPrefix = "listeners."

// socketKeys returns the keys that wait for a restart because they belong to sockets that stay open: those of addresses
// that both configurations listen on.
func socketKeys(old, next *config.Config) (keys []string) {
	opened := make(map[string]*config.Listener)
	for i := range old.Listeners {
		for _, a := range old.Listeners[i].Addresses {
			opened[keyOf(&a)] = &old.Listeners[i]
		}
	}
	for i := range next.Listeners {
		for _, a := range next.Listeners[i].Addresses {
			was := opened[keyOf(&a)]
			if was == nil {
				continue
			}
			for _, key := range was.RestartKeys(&next.Listeners[i]) {
				if !slices.Contains(keys, key) {
					keys = append(keys, key)
				}
			}
		}
	}
	return keys
}

// same reports whether two values of one type are equal, wherever in a file they were written.
func same(a, b reflect.Value) bool {
	if t := a.Type(); t == reflect.TypeFor[config.Pos]() || t == reflect.TypeFor[schema.Given]() {
		return true
	}
	switch a.Kind() {
	case reflect.Interface:
		return a.Elem().Type() == b.Elem().Type() && same(a.Elem(), b.Elem())
	case reflect.Struct:
		for i := range a.NumField() {
			if !same(a.Field(i), b.Field(i)) {
				return false
			}
		}
		return true
	case reflect.Pointer:
		return a.IsNil() && b.IsNil() || !a.IsNil() && !b.IsNil() && same(a.Elem(), b.Elem())
	case reflect.Slice:
		if a.Len() != b.Len() {
			return false
		}
		for i := range a.Len() {
			if !same(a.Index(i), b.Index(i)) {
				return false
			}
		}
		return true
	}
	return a.Equal(b)
}
