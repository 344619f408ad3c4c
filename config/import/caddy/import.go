package caddy

import (
	"path/filepath"
	"slices"
	"strings"

	"github.com/edge-proxy/edge/config/import/plan"
)

// importer turns the tree of a file into a plan. Owned by one goroutine.
type importer struct {
	*plan.Plan
	read      *plan.Reader
	options   options
	sites     []*site
	listeners []*listener
	order     []string            // of directives
	atoms     map[string]*atom    // by what they ask
	names     map[string]bool     // of upstreams of the result
	filters   map[string]bool     // their names
	made      map[string]string   // names of upstreams of the result, by the text of their keys
	steps     int                 // walked so far
	cased     bool                // the note about the case of paths was given
	unsure    map[plan.Place]bool // lines that no walk has run, but requests may come to
}

// Import reads the file at path and those that it imports. The error is that of reading the first file; all else is
// among the findings of the plan.
func Import(path string, read *plan.Reader) (*plan.Plan, error) {
	p := &plan.Plan{Program: "Caddy", File: filepath.Base(path)}
	parse := &parser{read: read, plan: p, dir: filepath.Dir(path)}
	if err := parse.file(path); err != nil {
		return nil, err
	}
	im := &importer{
		Plan: p, read: read, order: slices.Clone(defaultOrder), atoms: map[string]*atom{}, names: map[string]bool{},
		made: map[string]string{}, unsure: map[plan.Place]bool{}, filters: map[string]bool{},
	}
	im.readOptions(parse.global)
	for _, d := range parse.sites {
		im.addSite(d)
	}
	im.listen()
	for _, l := range im.listeners {
		im.addListener(l)
	}
	im.route()
	im.writeCertificates()
	for _, d := range append(parse.global, parse.sites...) {
		im.leftOver(d)
	}
	return p, nil
}

const unsure = "whether a request comes to it depends on conditions that edge does not have"

// leftOver gives each line a finding that has none and is not in the result.
func (im *importer) leftOver(root *directive) {
	carried := im.Carried()
	found := map[plan.Place]bool{}
	for _, at := range carried {
		found[at] = true
	}
	for _, f := range im.Findings() {
		found[f.Place] = true
	}
	var visit func(d *directive)
	visit = func(d *directive) {
		switch {
		case found[d.at], d.used && len(d.args) == 0 && len(d.block) > 0:
		case !d.used:
			im.Lose(d.at, d.text(), "edge does not know it")
		case im.unsure[d.at] && d.refuses():
			im.Lose(d.at, d.text(), "the refusal is not carried: "+unsure)
		case im.unsure[d.at]:
			im.Lose(d.at, d.text(), unsure)
		case d.name != "":
			im.Note(d.at, d.text(), "nothing to write: edge does the same without it, or no request comes to it")
		}
		for _, c := range d.block {
			visit(c)
		}
	}
	visit(root)
}

// lose adds a finding about a directive, and one about each line in it.
func (im *importer) lose(d *directive, why string) {
	d.used = true
	im.Lose(d.at, d.text(), why)
	for _, c := range d.block {
		im.lose(c, "it is inside "+d.text()+", which is not carried")
	}
}

// note adds a note about a directive, and one about each line in it.
func (im *importer) note(d *directive, why string) {
	d.used = true
	im.Note(d.at, d.text(), why)
	for _, c := range d.block {
		im.note(c, why)
	}
}

// options are what a file says before its sites.
type options struct {
	httpPort, httpsPort string
	bind                []string
	auto                string   // auto_https
	local               bool     // local_certs
	trusted             []string // trusted_proxies of all servers
	trustedAt           plan.Place
	servers             []*directive // options of servers
}

// unneededOptions returns options for which edge needs no key, with the reason.
func unneededOptions() map[string]string {
	return map[string]string{
		"email": acmeOnly, "acme_ca": acmeOnly, "acme_ca_root": acmeOnly, "acme_eab": acmeOnly, "acme_dns": acmeOnly,
		"cert_issuer": acmeOnly, "key_type": acmeOnly, "preferred_chains": acmeOnly, "cert_lifetime": acmeOnly,
		"renew_interval": acmeOnly, "storage_clean_interval": acmeOnly, "ocsp_interval": acmeOnly, "dns": acmeOnly,
		"renewal_window_ratio": acmeOnly, "ech": acmeOnly,
		"storage": "nothing to write: edge keeps no certificates", "pki": "nothing to write: see cert = \"internal\"",
		"skip_install_trust": "nothing to write: edge installs no authority", "persist_config": adminOnly,
		"admin": adminOnly, "ocsp_stapling": "nothing to write: a response is stapled where ocsp names one",
	}
}

const (
	asListeners = "nothing to write: the listeners are as it says"
	acmeOnly    = "not needed: this version has no ACME"
	adminOnly   = "nothing to write: edge has an address for operators of its own, see [admin]"
)

// readOptions reads what stands before the sites.
func (im *importer) readOptions(list []*directive) {
	im.options = options{httpPort: "80", httpsPort: "443"}
	global := im.Block("[global]")
	for _, d := range list {
		d.used = true
		switch d.name {
		case "http_port":
			im.options.httpPort = d.arg(0)
			im.Note(d.at, d.text(), asListeners)
		case "https_port":
			im.options.httpsPort = d.arg(0)
			im.Note(d.at, d.text(), asListeners)
		case "default_bind":
			im.options.bind = d.args
			im.Note(d.at, d.text(), asListeners)
		case "auto_https":
			im.options.auto = d.arg(0)
			im.Note(d.at, d.text(), asListeners)
		case "local_certs":
			im.options.local = true
			im.Note(d.at, d.text(), asListeners)
		case "debug":
			global.Set("log_level", `"debug"`, d.at)
		case "grace_period", "shutdown_delay":
			if t, ok := parseTime(d.arg(0)); ok && d.name == "grace_period" {
				global.Set("grace_period", plan.Duration(t), d.at)
				continue
			}
			im.lose(d, "edge does not know it")
		case "order":
			im.reorder(d)
		case "servers":
			im.options.servers = append(im.options.servers, d)
			im.readServers(d)
		case "log":
			im.readGlobalLog(d, global)
		default:
			if why := unneededOptions()[d.name]; why != "" {
				im.note(d, why)
				continue
			}
			im.lose(d, "edge does not know this option")
		}
	}
}

// levels are those of the error log.
var levels = []string{"debug", "info", "warn", "error"}

// readGlobalLog reads the log of the process.
func (im *importer) readGlobalLog(d *directive, global *plan.Block) {
	if len(d.args) > 0 && d.arg(0) != "default" {
		im.lose(d, "there is one log of the process, and those of requests")
		return
	}
	for _, c := range d.block {
		c.used = true
		switch {
		case c.name == "level" && slices.Contains(levels, strings.ToLower(c.arg(0))):
			global.Set("log_level", plan.String(strings.ToLower(c.arg(0))), c.at)
		case c.name == "output" && c.arg(0) == "file":
			global.Set("error_log", plan.String(c.arg(1)), c.at)
			for _, roll := range c.block {
				im.lose(roll, "see [log] rotate")
			}
		case c.name == "output" && c.arg(0) == "stderr", c.name == "format":
			im.note(c, "nothing to write: the default of edge")
		default:
			im.lose(c, "edge does not know it")
		}
	}
}

// readServers reads options of servers that concern all of edge; the others are those of listeners.
func (im *importer) readServers(d *directive) {
	if len(d.args) > 0 {
		im.Lose(d.at, d.text(), "options of servers are taken for all of them")
	}
	for _, c := range d.block {
		c.used = true
		switch c.name {
		case "trusted_proxies":
			if c.arg(0) != "static" {
				im.lose(c, "trusted proxies are networks")
				continue
			}
			im.options.trusted = networks(c.args[1:])
			im.options.trustedAt = c.at
		case "trusted_proxies_strict", "strict_sni_host", "metrics", "enable_full_duplex", "log_credentials",
			"keepalive_interval", "keepalive_idle", "keepalive_count", "name":
			im.note(c, "nothing to write: the default of edge")
		case "timeouts", "max_header_size", "protocols":
		default:
			im.lose(c, "edge does not know it")
		}
	}
}

// networks returns trusted proxies as edge has them.
func networks(list []string) (nets []string) {
	for _, s := range list {
		if s == "private_ranges" {
			nets = append(nets, "192.168.0.0/16", "172.16.0.0/12", "10.0.0.0/8", "127.0.0.0/8", "fd00::/8", "::1/128")
			continue
		}
		nets = append(nets, s)
	}
	return nets
}

// reorder moves a directive in the order of all.
func (im *importer) reorder(d *directive) {
	im.order = slices.DeleteFunc(im.order, func(name string) bool { return name == d.arg(0) })
	at := slices.Index(im.order, d.arg(2))
	switch position := d.arg(1); {
	case position == "first":
		at = 0
	case position == "last":
		at = len(im.order)
	case position == "before" && at >= 0:
	case position == "after" && at >= 0:
		at++
	default:
		im.lose(d, "edge does not know this form")
		return
	}
	im.order = slices.Insert(im.order, at, d.arg(0))
	im.Note(d.at, d.text(), "nothing to write: routes of the result are as it says")
}

// defaultOrder is the order in which the directives of a site run.
var defaultOrder = []string{
	"tracing", "map", "vars", "fs", "root", "log_append", "skip_log", "log_skip", "log_name", "log_level", "header",
	"copy_response_headers", "request_body", "timeouts", "redir", "method", "rewrite", "uri", "try_files",
	"basicauth", "basic_auth", "forward_auth", "request_header", "encode", "push", "intercept", "templates",
	"invoke", "handle", "route", "abort", "error", "copy_response", "respond", "metrics", "reverse_proxy",
	"php_fastcgi", "file_server", "acme_server",
}
