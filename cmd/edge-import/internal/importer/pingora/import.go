package pingora

import (
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/edge-proxy/edge/cmd/edge-import/internal/importer/plan"
	"github.com/edge-proxy/edge/internal/config/syntax"
)

// importer turns a tree into a plan. Owned by one goroutine.
type importer struct {
	*plan.Plan
}

// Import reads the file at path. The error says why it cannot be read; all else is among the findings of the plan.
func Import(path string, r *plan.Reader) (*plan.Plan, error) {
	text, err := r.Read(path)
	if err != nil {
		return nil, err
	}
	rep := &syntax.Report{}
	root, _ := syntax.ParseTree(syntax.NewSource(filepath.Base(path), text, 0), rep)
	if len(rep.Errors) > 0 {
		return nil, &rep.Errors[0]
	}
	im := &importer{&plan.Plan{Program: "Pingora", File: filepath.Base(path)}}
	for _, n := range root.Children {
		im.top(n)
	}
	return im.Plan, nil
}

// place returns where a value stands.
func place(n *syntax.Node) plan.Place {
	at := n.Head.Pos()
	return plan.Place{File: at.File, Line: at.Line}
}

// words returns a key and its value as a finding names them.
func words(n *syntax.Node) string {
	if n.Kind == syntax.KindTable || n.Kind == syntax.KindList || n.Text == "" {
		return n.Key
	}
	return n.Key + ": " + n.Text
}

// known is what becomes of keys of Pingora's server: of a key of edge its table stands after it.
var known = sync.OnceValue(func() *plan.Words {
	return plan.ParseWords(`
threads                 key worker_threads [global] for the whole process; Pingora has as many for each service
worker_threads          key worker_threads [global]
pid_file                key pid_file [global]
error_log               key error_log [global]
log_level               key log_level [global]
upgrade_sock            key upgrade_sock [global]
user                    key user [global]
group                   key group [global]
daemon                  key daemon [global]
ca_file                 key ca_file [global]
working_directory       key working_directory [global]
grace_period grace_period_seconds                  key grace_period [global]
shutdown_timeout graceful_shutdown_timeout_seconds key shutdown_timeout [global]
upstream_keepalive_pool_size                       key pool.idle [upstream_defaults]
max_retries             key retry.attempts [upstream_defaults]
version                 note nothing to write: edge has one format
work_stealing           note nothing to write: each connection stays with one event loop
listener_tasks_per_fd   note nothing to write: each event loop accepts
daemon_wait_for_ready   note nothing to write: edge -d ends when the process serves, always
max_blocking_threads    note nothing to write: event loops do not block
upstream_connect_offload_threadpools upstream_connect_offload_thread_per_pool
                        note nothing to write: connecting does not block an event loop
client_bind_to_ipv4 client_bind_to_ipv6
                        lost connections to backends have the address that the system chooses
upstream_debug_ssl_keylog lost edge writes no secrets of connections`)
})

func (im *importer) top(n *syntax.Node) {
	w, found := known().Find(n.Key)
	switch {
	case w.Says == "key":
		im.global(n, w)
	case w.Says == "lost" && (n.Kind == syntax.KindBool && !n.Truth || n.Kind == syntax.KindNull ||
		n.Kind == syntax.KindList && len(n.Children) == 0):
		im.Note(place(n), words(n), "nothing to write: it asks for nothing")
	case found:
		im.Tell(w, place(n), words(n))
	case n.Key == "global" && n.Kind == syntax.KindTable:
		for _, c := range n.Children {
			if w, _ := known().Find(c.Key); w.Unit == "[global]" {
				im.global(c, w)
			} else {
				im.copy(im.Block("[global]"), c, "")
			}
		}
	default:
		im.section(n)
	}
}

func (im *importer) global(n *syntax.Node, w plan.Word) {
	value, ok := tomlValue(n)
	if !ok {
		im.unwritten(n)
		return
	}
	if w.Why != "" {
		im.Note(place(n), words(n), w.Why)
	}
	im.Block(string(w.Unit)).Set(w.Key, value, place(n))
}

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
	case table:
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
	b := im.entry("[[listeners]]", n, map[string]string{"ssl_certificate": "cert", "ssl_certificate_key": "key"})
	switch {
	case b.Has("tls"):
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
					im.Lose(place(one), "a backend", "it is no table")
					continue
				}
				if name := one.Child("name"); name != nil {
					add(name.Text, one)
				}
				if upstream := one.Child("upstream"); upstream != nil {
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

// unwritten adds a finding about a value that edge.toml does not have.
func (im *importer) unwritten(n *syntax.Node) {
	if n.Kind == syntax.KindNull {
		im.Note(place(n), n.Key, "nothing to write: it has no value")
		return
	}
	im.Lose(place(n), words(n), "edge does not know this value")
}

// copy writes a value under its own key, and the values of a table one by one.
func (im *importer) copy(b *plan.Block, n *syntax.Node, above string) {
	key := plan.Key(n.Key)
	if above != "" {
		key = above + "." + key
	}
	b.From(place(n))
	if n.Kind == syntax.KindTable && len(n.Children) > 0 {
		for _, c := range n.Children {
			im.copy(b, c, key)
		}
		return
	}
	if value, ok := tomlValue(n); ok {
		b.Set(key, value, place(n))
	} else {
		im.unwritten(n)
	}
}

// tomlValue returns a value as TOML has it.
func tomlValue(n *syntax.Node) (text string, ok bool) {
	switch n.Kind {
	case syntax.KindString:
		return plan.Raw(n.Text), true
	case syntax.KindInt:
		return strconv.FormatInt(n.Integer, 10), true
	case syntax.KindFloat:
		return n.Text, true
	case syntax.KindBool:
		return strconv.FormatBool(n.Truth), true
	case syntax.KindList, syntax.KindTable:
		var parts []string
		for _, c := range n.Children {
			value, ok := tomlValue(c)
			if !ok {
				return "", false
			}
			if n.Kind == syntax.KindTable {
				value = plan.Key(c.Key) + " = " + value
			}
			parts = append(parts, value)
		}
		if n.Kind == syntax.KindList {
			return "[" + strings.Join(parts, ", ") + "]", true
		}
		return "{ " + strings.Join(parts, ", ") + " }", true
	}
	return "", false
}
