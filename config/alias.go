package config

import (
	"reflect"
	"strings"

	"github.com/edge-proxy/edge/config/syntax"
)

// addAliases makes the other spellings of the keys of s known to the tree of places.
func addAliases(root *place, s *section) {
	home := root.walk(s.path)
	for _, k := range s.keys {
		if s.top && !strings.Contains(k.path, ".") {
			root.aliasTo(k.path, k)
		}
		for _, a := range k.aliases {
			if name, sameLevel := strings.CutPrefix(a, "."); sameLevel {
				home.aliasTo(levelOf(k.path)+name, k)
			} else {
				root.aliasTo(a, k)
			}
		}
	}
}

func (p *place) aliasTo(path string, k *key) {
	at := p.walk(path)
	if at.key != nil || at.section != nil {
		panic("config: the alias " + path + " of " + k.path + " is taken")
	}
	at.key = k
}

// levelOf returns the path of the table that holds the key, with its dot.
func levelOf(path string) string {
	return path[:strings.LastIndexByte(path, '.')+1]
}

// store keeps a decoded value. A key that comes a second time, by another spelling, must say the same.
func (d *decoder) store(g *given, k *key, n *syntax.Node, v any, right bool) {
	old := g.nodes[k.path]
	if old == nil {
		g.nodes[k.path] = n
		if right {
			g.values[k.path] = v
		}
		return
	}
	if !right || g.failed(k.path) || reflect.DeepEqual(g.values[k.path], v) {
		return
	}
	if n.Head.Compare(old.Head) < 0 {
		n, old = old, n
	}
	where := old.Head.RelativeTo(n.Head)
	if n.Key == old.Key {
		d.rep.Conflictf(n.Head, old.Head, "", "%q is set twice to different values, first at %s", n.Key, where)
		return
	}
	d.rep.Conflictf(n.Head, old.Head, "",
		"%q and %q at %s mean the same, but have different values", n.Key, old.Key, where)
}
