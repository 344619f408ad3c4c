package pingora

import (
	"slices"

	"github.com/edge-proxy/edge/config/import/plan"
	"github.com/edge-proxy/edge/config/syntax"
)

// renamed returns the keys that listeners have by another name.
func renamed() map[string]string {
	return map[string]string{"ssl_certificate": "cert", "ssl_certificate_key": "key"}
}

// section translates a section of the file.
func (im *importer) section(n *syntax.Node) {
	table, list := n.Kind == syntax.KindTable, n.Kind == syntax.KindList
	switch key := n.Key; {
	case (key == "network" || key == "http" || key == "https") && table:
		im.listener(n)
	case key == "proxy" && table:
		im.proxy(n)
	case key == "load_balancing" && table:
		im.balancing(n)
	case (key == "routes" || key == "listeners" || key == "certificates" || key == "register") && list:
		for _, c := range n.Children {
			im.entry("[["+key+"]]", c, nil)
		}
	case key == "upstreams" && table:
		for _, c := range n.Children {
			im.entry("[upstreams."+plan.Key(c.Key)+"]", c, nil)
		}
	case table && len(n.Children) > 0:
		im.entry("["+plan.Key(key)+"]", n, nil)
	default:
		im.copy(im.Block(""), n, "")
	}
}

// entry writes a table, with other names for some of its keys.
func (im *importer) entry(header string, n *syntax.Node, names map[string]string) *plan.Block {
	if n.Kind != syntax.KindTable {
		im.Lose(place(n), words(n), "it is no table")
		return nil
	}
	var b *plan.Block
	if len(header) > 1 && header[1] == '[' {
		b = im.Add(header, place(n))
	} else {
		b = im.Block(header)
		b.From(place(n))
	}
	for _, c := range n.Children {
		if name := names[c.Key]; name != "" {
			other := *c
			other.Key = name
			c = &other
		}
		im.copy(b, c, "")
	}
	return b
}

// listener writes [network], [http] or [https].
func (im *importer) listener(n *syntax.Node) {
	b := im.entry("[[listeners]]", n, renamed())
	if b.Has("tls") {
		return
	}
	switch {
	case n.Key == "https":
		b.Set("tls", "true", plan.Place{})
	case n.Key == "network" && b.Has("cert"):
		b.Set("tls", `"auto"`, plan.Place{})
	}
}

// proxy writes [proxy], and its rules as routes.
func (im *importer) proxy(n *syntax.Node) {
	for _, c := range n.Children {
		if c.Key != "rules" || c.Kind != syntax.KindList {
			im.copy(im.Block(""), c, "")
			continue
		}
		for _, rule := range c.Children {
			im.entry("[[routes]]", rule, map[string]string{"upstream": "dest"})
		}
	}
}

// balancing writes [load_balancing]: what holds for all upstreams, and its backends as upstreams.
func (im *importer) balancing(n *syntax.Node) {
	var names []string
	groups := map[string][]*syntax.Node{}
	add := func(name string, c *syntax.Node) {
		if !slices.Contains(names, name) {
			names = append(names, name)
		}
		groups[name] = append(groups[name], c)
	}
	for _, c := range n.Children {
		switch {
		case c.Key == "backends" && c.Kind == syntax.KindList:
			for _, one := range c.Children {
				if one.Kind != syntax.KindTable {
					im.Lose(place(one), words(one), "it is no table")
					continue
				}
				name, upstream := one.Child("name"), one.Child("upstream")
				if name != nil {
					add(name.Text, one)
				}
				if upstream != nil {
					add(upstream.Text, one)
				} else {
					add("default", one)
				}
			}
		case c.Key == "method":
			other := *c
			other.Key = "load_balancing"
			im.copy(im.Block("[upstream_defaults]"), &other, "")
		default:
			im.copy(im.Block("[upstream_defaults]"), c, "")
		}
	}
	for _, name := range names {
		im.upstream(name, groups[name])
	}
}

// upstream writes an upstream with its backends.
func (im *importer) upstream(name string, list []*syntax.Node) {
	b := im.Block("[upstreams." + plan.Key(name) + "]")
	var backends []string
	for _, n := range list {
		one := *n
		one.Children = nil
		for _, c := range n.Children {
			b.From(place(c))
			if c.Key != "name" && c.Key != "upstream" && c.Kind != syntax.KindNull {
				one.Children = append(one.Children, c)
			}
		}
		if value, ok := tomlValue(&one); ok {
			backends = append(backends, value)
			b.From(place(n))
		} else {
			im.Lose(place(n), "a backend", "edge does not know this value")
		}
	}
	b.Set("backends", plan.Lines(backends), place(list[0]))
}
