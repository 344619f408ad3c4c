package pingora

import (
	"path/filepath"
	"strconv"
	"strings"

	"github.com/edge-proxy/edge/config/import/plan"
	"github.com/edge-proxy/edge/config/syntax"
)

// importer turns a tree into a plan. Owned by one goroutine.
type importer struct {
	*plan.Plan
}

// Import reads the file at path. The error is that of reading it; all else is among the findings of the plan.
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

// globals returns the keys of Pingora's server, with those of edge.
func globals() map[string]struct{ section, key string } {
	return map[string]struct{ section, key string }{
		"threads":                           {"[global]", "worker_threads"},
		"worker_threads":                    {"[global]", "worker_threads"},
		"pid_file":                          {"[global]", "pid_file"},
		"error_log":                         {"[global]", "error_log"},
		"log_level":                         {"[global]", "log_level"},
		"upgrade_sock":                      {"[global]", "upgrade_sock"},
		"user":                              {"[global]", "user"},
		"group":                             {"[global]", "group"},
		"daemon":                            {"[global]", "daemon"},
		"ca_file":                           {"[global]", "ca_file"},
		"working_directory":                 {"[global]", "working_directory"},
		"grace_period":                      {"[global]", "grace_period"},
		"grace_period_seconds":              {"[global]", "grace_period"},
		"shutdown_timeout":                  {"[global]", "shutdown_timeout"},
		"graceful_shutdown_timeout_seconds": {"[global]", "shutdown_timeout"},
		"upstream_keepalive_pool_size":      {"[upstream_defaults]", "pool.idle"},
		"max_retries":                       {"[upstream_defaults]", "retry.attempts"},
	}
}

// ignored returns keys that need nothing, with what a reader has to know.
func ignored() map[string]string {
	return map[string]string{
		"version":               "edge has one format",
		"work_stealing":         "each connection stays with one event loop",
		"listener_tasks_per_fd": "each event loop accepts",
		"daemon_wait_for_ready": "edge -d ends when the process serves, always",
		"max_blocking_threads":  "event loops do not block",
	}
}

// losses returns keys that edge has nothing for.
func losses() map[string]string {
	return map[string]string{
		"client_bind_to_ipv4":       "connections to backends have the address that the system chooses",
		"client_bind_to_ipv6":       "connections to backends have the address that the system chooses",
		"upstream_debug_ssl_keylog": "edge writes no secrets of connections",
	}
}

// top translates a key at the top of the file.
func (im *importer) top(n *syntax.Node) {
	switch key := n.Key; {
	case n.Kind == syntax.KindNull:
		im.Note(place(n), n.Key, "nothing to write: it has no value")
	case globals()[key].key != "":
		im.global(n)
	case ignored()[key] != "":
		im.Note(place(n), words(n), "nothing to write: "+ignored()[key])
	case strings.HasPrefix(key, "upstream_connect_offload_"):
		im.Note(place(n), words(n), "nothing to write: connecting does not block an event loop")
	case losses()[key] != "" && (n.Kind == syntax.KindBool && !n.Truth ||
		n.Kind == syntax.KindList && len(n.Children) == 0):
		im.Note(place(n), words(n), "nothing to write: it asks for nothing")
	case losses()[key] != "":
		im.Lose(place(n), words(n), losses()[key])
	case key == "global" && n.Kind == syntax.KindTable:
		for _, c := range n.Children {
			if globals()[c.Key].section == "[global]" {
				im.global(c)
			} else {
				im.copy(im.Block("[global]"), c, "")
			}
		}
	default:
		im.section(n)
	}
}

// global writes a key of the process.
func (im *importer) global(n *syntax.Node) {
	to := globals()[n.Key]
	value, ok := tomlValue(n)
	if !ok {
		im.Lose(place(n), words(n), "edge does not know this value")
		return
	}
	b := im.Block(to.section)
	if n.Key == "threads" {
		im.Note(place(n), words(n), "for the whole process; Pingora has as many for each service")
	}
	b.Set(to.key, value, place(n))
}

// copy writes a value under its own key, with those of a table one by one.
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
		return
	}
	if n.Kind == syntax.KindNull {
		im.Note(place(n), n.Key, "nothing to write: it has no value")
		return
	}
	im.Lose(place(n), words(n), "edge does not know this value")
}

// tomlValue returns a value as TOML has it.
func tomlValue(n *syntax.Node) (text string, ok bool) {
	switch n.Kind {
	case syntax.KindString:
		return plan.Raw(n.Text), true
	case syntax.KindInt:
		return strconv.FormatInt(n.Integer, 10), true
	case syntax.KindFloat:
		text = strconv.FormatFloat(n.Fraction, 'f', -1, 64)
		return text, strings.Trim(text, "-0123456789.") == "" && strings.Contains(text, ".")
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
		switch {
		case n.Kind == syntax.KindList:
			return "[" + strings.Join(parts, ", ") + "]", true
		case len(parts) == 0:
			return "{}", true
		}
		return "{ " + strings.Join(parts, ", ") + " }", true
	}
	return "", false
}
