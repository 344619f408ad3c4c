package nginx

import (
	"cmp"
	"path/filepath"
	"strings"

	"github.com/edge-proxy/edge/cmd/edge-import/internal/importer/plan"
)

// importer turns the tree of a file into a plan. Owned by one goroutine.
type importer struct {
	*plan.Plan
	read         *plan.Reader
	dir          string // where relative paths of the file begin
	count        int    // of directives
	http         *scope
	groups       map[string]*group // upstream { }, by name
	zones        map[string]*zone
	clients      map[string]*directive // limit_conn_zone of stream, by name, that count by client
	servers      []*server
	listeners    []*listener
	issuer       string          // of [acme]; "": no server orders a certificate
	certificates map[string]bool // that are written, with the names that they are for
	maps         map[string]*table
	locals       map[string]bool // these variables
	lost         map[string]bool // variables that edge does not know
	asked        []plan.Place    // lines of maps that the last condition asks
	again        []plan.Step     // that begin the search for a location again, in the last server
}

// Import reads the file at path and the files that it includes. The error is about reading the first file; all else is
// among the findings of the plan.
func Import(path string, read *plan.Reader) (*plan.Plan, error) {
	p := &plan.Plan{Program: "nginx", File: filepath.Base(path), Path: comparedPath}
	im := &importer{
		Plan: p, read: read, dir: filepath.Dir(path), groups: map[string]*group{}, zones: map[string]*zone{},
		certificates: map[string]bool{}, maps: map[string]*table{},
		locals: map[string]bool{}, lost: map[string]bool{},
	}
	tree, err := im.file(path, 0)
	if err != nil {
		return nil, err
	}
	im.main(tree)
	im.leftOver(tree, "")
	return p, nil
}

// path returns the path that a name of a file stands for.
func (im *importer) path(name string) string {
	if filepath.IsAbs(name) {
		return name
	}
	return filepath.Join(im.dir, name)
}

// main translates the file: what stands outside of all blocks, then http and stream.
func (im *importer) main(tree []*directive) {
	root := &directive{name: "main", block: tree}
	im.findLocals(root, false)
	outer := &scope{block: root, constants: map[string]string{}, locals: im.locals}
	if root.child("http") == nil && (root.child("server") != nil || root.child("location") != nil) {
		im.http = outer // a file of conf.d or sites-enabled, which http includes
		im.contents(root)
		return
	}
	im.process(outer)
	for _, d := range tree {
		switch d.name {
		case "http":
			d.used = true
			im.http = outer.inner(d)
			im.contents(d)
		case "stream":
			d.used = true
			im.stream(outer.inner(d))
		}
	}
}

// contents translates what is inside http { }.
func (im *importer) contents(http *directive) {
	for _, d := range http.block {
		switch d.name {
		case "upstream":
			im.addGroup(d)
		case "map", "geo":
			im.addTable(d)
		case "server":
			d.used = true
			im.servers = append(im.servers, im.newServer(d))
		}
	}
	im.addZones(http)
	if name, _ := im.compressor(im.http); name != "" {
		im.Block("[defaults]").Set("filters", plan.Strings(name), plan.Place{})
	}
	im.logs()
	im.listen()
	for _, l := range im.listeners {
		im.addListener(l)
	}
	var sites []*plan.Site
	for _, s := range im.servers {
		sites = append(sites, im.sitesOf(s)...)
	}
	im.Odd(sites, `path contains "%00"`, "")
	im.Write(sites)
}

func (im *importer) process(s *scope) {
	b := im.Block("[global]")
	if d := s.get("worker_processes"); d != nil && d.arg(0) == "auto" {
		im.Note(d.at, d.text(), "nothing to write: one thread for each core is the default")
	} else {
		im.carry(b, s, "worker_processes")
	}
	im.carry(b, s, "pid", "worker_shutdown_timeout")
	if d := s.get("user"); d != nil {
		b.Set("user", plan.String(d.arg(0)), d.at)
		if len(d.args) > 1 {
			b.Set("group", plan.String(d.arg(1)), d.at)
		}
	}
	if d := s.get("error_log"); d != nil {
		if d.arg(0) != "stderr" {
			b.Set("error_log", plan.String(d.arg(0)), d.at)
		}
		level := lookup("notice=info; crit=error; alert=error; emerg=error", d.arg(1))
		if level = cmp.Or(level, d.arg(1)); level != "" {
			b.Set("log_level", plan.String(level), d.at)
		}
	}
}

// logs translates access_log of http.
func (im *importer) logs() {
	b := im.Block("[log]")
	var files []string
	format := "combined"
	for _, d := range im.http.all("access_log") {
		switch path := d.arg(0); {
		case hasVariables(path) || strings.HasPrefix(path, "syslog:"):
			im.Lose(d.at, d.text(), "logs go to files, stdout and stderr")
			continue
		case path == "/dev/stdout":
			files = append(files, "stdout")
		case path != "off":
			files = append(files, path)
		}
		if name := d.arg(1); name != "" && !strings.Contains(name, "=") {
			format = name
		}
		b.Set("output", plan.List(files...), d.at)
	}
	if len(files) == 0 {
		return
	}
	for _, d := range im.http.block.block {
		if d.name != "log_format" || d.arg(0) != format {
			continue
		}
		d.used = true
		line, unknown := im.line(d)
		if unknown == "" {
			im.Note(d.at, "log_format "+format, "times, and texts with quotation marks, are written as edge does")
			b.Set("line", plan.String(line), d.at)
			return
		}
		im.Lose(d.at, "log_format "+format, "lines have no "+unknown+"; the format is combined now")
	}
	b.Set("format", `"combined"`, plan.Place{})
}

// logged are variables of log formats, as lines of the log have them.
const logged = `request={method} {target} {proto}; remote_user=auth.user ?? "-"; status=status;
	body_bytes_sent=bytes.out; bytes_sent=bytes.out; request_length=bytes.in; request_time=duration;
	upstream_response_time=upstream.time; upstream_addr=upstream.addr ?? "-"; upstream_status=upstream.status;
	http_host=header.host ?? "-"; time_local=time; time_iso8601=time; uri=path; document_uri=path; msec=time.unix`

// line returns a log_format as a template; unknown is a variable that edge has not, or "".
func (im *importer) line(format *directive) (line, unknown string) {
	text := strings.Join(format.args[1:], "")
	if escape := format.arg(1); strings.HasPrefix(escape, "escape=") {
		text = strings.Join(format.args[2:], "")
	}
	return replaced(text, func(name string) string {
		subject := cmp.Or(lookup(logged, name), im.subject(name))
		if part, key := partOf(name); part == "header" {
			subject = "header." + key + ` ?? "-"`
		}
		if subject == "" || strings.HasPrefix(subject, "{") {
			return subject
		}
		return "{" + subject + "}"
	})
}
