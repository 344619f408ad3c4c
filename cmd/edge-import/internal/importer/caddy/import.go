package caddy

import (
	"path/filepath"
	"slices"
	"strings"

	"github.com/edge-proxy/edge/cmd/edge-import/internal/importer/plan"
)

// importer turns the tree of a file into a plan. Owned by one goroutine.
type importer struct {
	*plan.Plan
	read      *plan.Reader
	options   map[string][]string // their arguments
	order     []string            // of directives
	servers   settings            // of all listeners
	acme      settings            // of [acme], for all sites
	said      *settings           // of [acme], where it stands that is read
	listeners []*listener
	at        map[string]*listener   // by their addresses
	hosts     []string               // of all sites
	serving   map[string][]*listener // by hosts
	known     map[string]bool        // names of listeners, and hosts with a certificate of their own
	loaded    map[string]*secure     // sites with certificates in files, by the files and their names
	logs      map[string]bool        // where sites log
	moves     int                    // of paths, for some requests alone
	odd       string                 // spellings of paths that Caddy reads in another way, of an expression
	cased     bool                   // the note about the case of paths was given
}

// Import reads the file at path and the files that it imports. The error is about reading the first file; all else is
// among the findings of the plan.
func Import(path string, read *plan.Reader) (*plan.Plan, error) {
	p := &plan.Plan{Program: "Caddy", File: filepath.Base(path), Path: decoded}
	parse := &parser{Plan: p, read: read, dir: filepath.Dir(path), snippets: map[string][]token{}}
	var err error
	if parse.tokens, err = parse.lex(path, p.File); err != nil {
		return nil, err
	}
	if parse.top(); parse.err != nil {
		return nil, parse.err
	}
	im := &importer{Plan: p, read: read, options: map[string][]string{}, order: defaultOrder,
		at: map[string]*listener{}, known: map[string]bool{}, serving: map[string][]*listener{},
		loaded: map[string]*secure{}, logs: map[string]bool{}}
	im.readOptions(parse.global)
	for _, d := range parse.sites {
		im.addSite(d)
	}
	im.forwardPlain()
	im.writeListeners()
	im.writeSites()
	im.leftOver(append(parse.global, parse.sites...))
	return p, nil
}

// needless is why a directive has neither a place in the result nor a finding of its own.
const needless = "nothing to write: edge does the same without it, or no request or certificate needs it"

// leftOver gives each line a finding that has none and is not in the result.
func (im *importer) leftOver(roots []*directive) {
	told := im.Told()
	var visit func(d *directive)
	visit = func(d *directive) {
		switch {
		case told[d.at] || d.used && len(d.block) > 0:
		case d.used || d.known:
			im.tell("note", d, needless)
			return
		default:
			im.lose(d, "")
			return
		}
		for _, c := range d.block {
			visit(c)
		}
	}
	for _, d := range roots {
		visit(d)
	}
}

// lose adds a finding about a directive, and one about each line in it.
func (im *importer) lose(d *directive, why string) { im.tell("lost", d, why) }

func (im *importer) tell(says string, d *directive, why string) {
	text := d.text
	if slices.Contains(keyed, d.name) && len(d.args) > 1 {
		text = d.name + " " + d.args[0] + " …"
	}
	d.used = true
	im.Tell(plan.Word{Says: says, Why: why}, d.at, text)
	for _, c := range d.block {
		im.tell(says, c, "it is inside "+text)
	}
}

// keyed are directives that may have a key or a token after their first argument, which no finding shows.
var keyed = []string{"acme_dns", "dns", "eab", "issuer", "cert_issuer", "storage"}

// option returns what an option before the sites says, or standIn.
func (im *importer) option(name, standIn string) string { return append(im.options[name], standIn)[0] }

// readOptions reads what stands before the sites.
func (im *importer) readOptions(list []*directive) {
	global := im.Block("[global]")
	im.said = &im.acme
	for _, d := range list {
		switch d.used = true; d.text {
		case "servers":
			for _, c := range d.lines() {
				if c.name == "timeouts" {
					for _, t := range c.lines() {
						im.word("servers.timeouts", t, im.servers.set)
					}
				} else if c.name == "listener_wrappers" {
					for _, w := range c.lines() {
						im.wrap(w)
					}
				} else {
					im.word("servers", c, im.servers.set)
				}
			}
		case "log", "log default":
			for _, c := range d.lines() {
				im.word("process", c, global.Set)
			}
		default:
			if d.name == "order" {
				im.reorder(d)
				continue
			}
			im.options[d.name] = append([]string{}, d.args...)
			im.word("options", d, global.Set)
		}
	}
}

// wrap reads a wrapper of listeners: proxy_protocol has the peers that are believed.
func (im *importer) wrap(list *directive) {
	if list.name != "proxy_protocol" {
		im.word("listener_wrappers", list, im.servers.set)
		return
	}
	policy, from := "ignore", []string(nil)
	for _, d := range list.lines() {
		if d.name == "allow" {
			from = append(from, networks(d.args)...)
			im.servers.set("proxy_protocol.from", plan.List(from...), d.at)
			continue
		} else if d.name == "fallback_policy" {
			policy = strings.ToLower(d.arg(0))
		}
		im.word("proxy_protocol", d, im.servers.set)
	}
	if from == nil && (policy == "use" || policy == "require") {
		im.servers.set("proxy_protocol.from", plan.AnySender, list.at)
		im.Note(list.at, list.text, plan.NameSenders)
	} else if from == nil {
		im.Lose(list.at, list.text, "no peer is believed: Caddy drops the headers, edge answers them 400")
	}
}

// settings are keys of a block that is written later.
type settings []plan.Setting

func (s *settings) set(name, value string, at plan.Place) {
	*s = append(*s, plan.Setting{Name: name, Value: value, At: at})
}

// get returns the first value for a key, or "".
func (s settings) get(name string) string {
	for _, k := range s {
		if k.Name == name {
			return k.Value
		}
	}
	return ""
}

// networks returns addresses as edge has them.
func networks(list []string) []string {
	return strings.Fields(strings.ReplaceAll(strings.Join(list, " "), "private_ranges",
		"192.168.0.0/16 172.16.0.0/12 10.0.0.0/8 127.0.0.0/8 fd00::/8 ::1/128"))
}

func (im *importer) reorder(d *directive) {
	order := slices.DeleteFunc(slices.Clone(im.order), func(name string) bool { return name == d.arg(0) })
	at := map[string]int{"first": 0, "last": len(order), "before": slices.Index(order, d.arg(2)),
		"after": slices.Index(order, d.arg(2)) + 1}
	i, known := at[d.arg(1)]
	if !known || i < 0 || d.arg(1) == "after" && i == 0 {
		im.lose(d, noForm)
		return
	}
	im.order = slices.Insert(order, i, d.arg(0))
	im.Note(d.at, d.text, "nothing to write: routes of the result are as it says")
}

// defaultOrder is the order in which the directives of a site run.
var defaultOrder = strings.Fields("tracing map vars fs root log_append skip_log log_skip log_name log_level header " +
	"copy_response_headers request_body timeouts redir method rewrite uri try_files basicauth basic_auth " +
	"forward_auth request_header encode push intercept templates invoke handle route abort error copy_response " +
	"respond metrics reverse_proxy php_fastcgi file_server acme_server")
