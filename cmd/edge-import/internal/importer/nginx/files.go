package nginx

import (
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/edge-proxy/edge/cmd/edge-import/internal/importer/plan"
)

// noHTTP are directives whose answers come from something that does not speak HTTP.
var noHTTP = []string{"fastcgi_pass", "uwsgi_pass", "scgi_pass", "memcached_pass", "content_by_lua_block",
	"content_by_lua_file", "js_content", "stub_status", "dav_methods", "mirror"}

// hasFiles reports whether a location answers with files.
func (c context) hasFiles() bool {
	d, _, _ := c.folder()
	return d != nil && c.at.own(append([]string{"proxy_pass", "grpc_pass"}, noHTTP...)...) == nil
}

// folder returns the line that names the folder of a location, the folder, and the prefix that is cut off paths before;
// nil: edge does not know the folder.
func (c context) folder() (d *directive, root, prefix string) {
	d = c.at.block.child("alias")
	if d == nil {
		d = c.at.find("root")
	} else if cut, folder := strings.CutSuffix(c.l.path, "/"); strings.HasSuffix(d.arg(0), "/") == folder {
		prefix = cut
	} else {
		return nil, "", ""
	}
	if d != nil {
		root = expand(d.arg(0), c.at.constants)
	}
	if hasVariables(root) || !filepath.IsAbs(root) || d.name == "alias" && c.l.mark != "" && c.l.mark != "^~" {
		return nil, "", ""
	}
	return d, filepath.Clean(root), prefix
}

// looksFirst reports whether edge looks for files as the try_files d of a location does before o takes a request:
// guards and tests of o would be for requests for files, too.
func (c context) looksFirst(d *directive, o *location) bool {
	of, _, prefix := c.folder()
	paths, lost := plan.Try("$uri", d.args[:len(d.args)-1])
	n := len(paths) - 1
	return of != nil && prefix == "" && lost == nil && n >= 0 && (n == 0 || strings.Contains(paths[n], "{path}")) &&
		!slices.ContainsFunc(o.d.block, func(d *directive) bool { return !ofBackends().MatchString(d.name) })
}

// ofBackends matches directives that say how requests are sent on.
var ofBackends = plan.Expr(`^(?:proxy_.*|grpc_.*|add_header|access_log|error_log|client_.*|gzip.*|internal)$`)

// files leads t to the files of a location. Requests for other paths go on to fallback, a value of TOML; "": they
// fail.
func (im *importer) files(c context, t *plan.Target, fallback string) {
	t.End = plan.Fail(404)
	d, root, prefix := c.folder()
	tries, index, charset := c.at.own("try_files"), c.at.get("index"), c.at.get("charset")
	list := slices.DeleteFunc([]*directive{c.at.own("alias"), c.at.get("root"), tries, index, c.at.get("autoindex"),
		charset, c.at.get("expires")}, func(d *directive) bool { return d == nil })
	if d == nil {
		for _, d := range list {
			if slices.Contains(c.at.block.block, d) {
				im.Lose(d.at, d.text(), "edge does not know the folder: such requests are answered 404")
			}
		}
		return
	}
	var keys []plan.Setting
	add := func(name, value string, d *directive) {
		keys = append(keys, plan.Setting{Name: name, Value: value, At: d.at})
	}
	names, listed := []string{"index.html"}, c.at.says("autoindex", "on")
	if index != nil {
		names = plan.Index(index.args)
		if len(names) < len(index.args) {
			im.Lose(index.at, index.text(), "files of scripts do not answer for their folder")
		}
	}
	if fallback != "" {
		add("fallback", fallback, tries)
		if !slices.Contains(tries.args, "$uri/") { // nginx passes folders by
			names, listed = nil, false
			add("index", "[]", tries)
		} else {
			im.Note(tries.at, tries.text(), "the fallback answers for a folder without a file of index, not 301 or 403")
		}
	}
	if i := slices.IndexFunc(names, func(name string) bool { return c.leads(name) }); i >= 0 {
		im.Lose(d.at, names[i]+" of "+c.l.d.text(), "it is in another location, which asks other things of requests: "+
			"folders are answered 404")
		add("index", "[]", d)
		listed = false
	} else if len(names) > 0 && !slices.Equal(names, []string{"index.html"}) {
		add("index", plan.List(names...), index)
	}
	if tries != nil {
		if paths := im.tried(c, tries, prefix); len(paths) > 0 && !slices.Equal(paths, []string{"{path}"}) {
			add("try", plan.List(paths...), tries)
		}
	}
	if listed {
		add("listing", "true", c.at.find("autoindex"))
	} else if fallback == "" {
		im.Note(d.at, d.text(), "a folder without a file of index is 404, in nginx 403")
	}
	if charset != nil && !strings.EqualFold(charset.arg(0), "utf-8") {
		add("charset", plan.String(charset.arg(0)), charset)
	}
	if value, from := im.cacheControl(c.at); value != "" {
		add("cache_control", plan.Table([]plan.Field{{Name: "*", Value: value}}), from)
	}
	if prefix != "" {
		set(t, "rewrite.strip_prefix", plan.String(sent(prefix)), d.at)
	}
	var from []plan.Place
	for _, d := range list {
		from = append(from, d.at)
	}
	t.End, t.From = im.Files(root, keys, from...), append(t.From, from...)
	t.End.At, t.Routed = d.at, fallback != ""
	im.errorPages(c, t)
}

// tried returns the paths that edge looks for because of the try_files d of a location, without the prefix that is cut
// off.
func (im *importer) tried(c context, d *directive, prefix string) []string {
	paths, lost := plan.Try("$uri", slices.DeleteFunc(slices.Clone(d.args), func(path string) bool {
		return strings.HasPrefix(path, "/") && c.leads(path) || c.named[path] != nil
	}))
	if lost != nil {
		im.Lose(d.at, d.text(), "edge does not look for "+strings.Join(lost, " ")+": 404 in its place")
	}
	for i, p := range paths { // of the whole site there
		paths[i] = strings.TrimPrefix(p, prefix)
	}
	return paths
}

// leads reports whether nginx may lead requests for a folder of c.l to another location, by the name of its file of
// index, which refuses requests that c.l lets pass. A name that begins with a slash is the last path of try_files.
func (c context) leads(name string) bool {
	l := c.l
	rooted := strings.HasPrefix(name, "/")
	file := l.mark == "=" && !strings.HasSuffix(l.path, "/") || l.regular() && noFolder().MatchString(l.path)
	if file && !rooted {
		return false
	}
	last := name[strings.LastIndexByte(name, '/')+1:]
	samples := []string{name}
	if !rooted {
		samples = []string{"/" + name, "/a/" + name, l.path[:strings.LastIndexByte(l.path, '/')+1] + name}
	}
	takes := func(o *location) bool {
		base := o.path[strings.LastIndexByte(o.path, '/')+1:]
		switch {
		case o.regular():
			re, err := regexp.Compile(map[bool]string{true: "(?i)"}[o.mark == "~*"] + o.path)
			return err != nil || slices.ContainsFunc(samples, re.MatchString)
		case rooted:
			return strings.HasPrefix(name, o.path) && (o.mark != "=" || name == o.path)
		case o.mark == "=":
			return base == last
		case l.mark == "=":
			return strings.HasPrefix(l.path+name, o.path)
		}
		return base != "" && strings.HasPrefix(name, base) || l.regular()
	}
	return slices.ContainsFunc(c.places, func(o place) bool {
		return o.location != l && !o.redirect && takes(o.location) && !(o.harmless() && l.harmless())
	})
}

// noFolder matches expressions that match no path with a slash at its end.
var noFolder = plan.Expr(`\.[\w.?(|)]*[\w)]\$$`)

// harmless reports whether a location says nothing by itself that refuses requests, or lets some pass.
func (l *location) harmless() bool {
	return !slices.ContainsFunc(l.d.block, func(d *directive) bool { return !ofFiles().MatchString(d.name) })
}

// ofFiles matches directives that say how files are sent.
var ofFiles = plan.Expr(`^(?:expires|add_header|access_log|log_not_found|root|alias|index|try_files|charset|location|` +
	`autoindex.*|gzip.*|brotli.*|types|default_type|etag|open_file_cache.*|error_page|sendfile.*|tcp_.*)$`)

// cacheControl returns the Cache-Control of files by expires and add_header, and one of these lines.
func (im *importer) cacheControl(at *scope) (value string, from *directive) {
	if d := at.get("expires"); d != nil && d.arg(0) != "off" {
		text, before := strings.CutPrefix(d.arg(len(d.args)-1), "-")
		text = strings.Replace(text, "max", "10y", 1)
		switch time, ok := plan.ParseTime(text, time.Second); {
		case before || text == "epoch":
			value = "no-cache"
		case len(d.args) > 1 || !ok:
			im.Lose(d.at, d.text(), "edge does not know the time: see cache_control of the destination")
		default:
			value = "max-age=" + strconv.FormatInt(int64(time.Seconds()), 10)
		}
		from = d
	}
	for _, d := range at.all("add_header") {
		if isCacheControl(d) && value != "" {
			value += ", "
		}
		if isCacheControl(d) {
			value, from = value+d.arg(1), d
		}
	}
	return value, from
}

// isCacheControl reports whether d sets the Cache-Control of files.
func isCacheControl(d *directive) bool {
	return d.name == "add_header" && strings.EqualFold(d.arg(0), "Cache-Control") && !hasVariables(d.arg(1))
}

// compress returns the filters for the answers of a scope, beside those for all.
func (im *importer) compress(at *scope) (filters []string, from []plan.Place) {
	all, _ := im.compressor(im.http)
	name, from := im.compressor(at)
	if name == all {
		return nil, nil
	}
	if name != "" {
		filters = []string{name}
	}
	if all != "" {
		filters = append(filters, "!"+all)
		from = append(from, at.get("gzip").at)
	}
	return filters, from
}

// compressor returns the filter that compresses the answers of a scope; "": they stay as they are.
func (im *importer) compressor(at *scope) (name string, from []plan.Place) {
	d := at.find("gzip")
	if d == nil || d.arg(0) != "on" {
		return "", nil
	}
	d.used, from = true, []plan.Place{d.at}
	types := []string{"text/html"}
	if d := at.get("gzip_types"); d != nil {
		from = append(from, d.at)
		if types = append(types, d.args...); slices.Contains(types, "*") {
			types = []string{"*"}
		}
		slices.Sort(types)
		types = slices.Compact(types)
	}
	keys := []plan.Setting{{Name: "types", Value: plan.Strings(types...)}}
	if level, place, _ := at.value("gzip_comp_level"); level != "" {
		from = append(from, place)
		if word := lookup("1=fast; 2=fast; 8=best; 9=best", level); word != "" {
			keys = append(keys, plan.Setting{Name: "level", Value: plan.String(word), At: place})
		}
	}
	return im.Compress(append(keys, im.settings(at, "gzip_min_length")...), from...), from
}

// set adds a line to the routes of t, or replaces the one of that name.
func set(t *plan.Target, name, value string, at plan.Place) {
	t.Keys = slices.DeleteFunc(t.Keys, func(k plan.Setting) bool { return k.Name == name })
	t.Keys = append(t.Keys, plan.Setting{Name: name, Value: value, At: at})
}

// errorPages writes the pages of error_page that are files.
func (im *importer) errorPages(c context, t *plan.Target) {
	var fields []plan.Field
	for _, d := range c.at.all("error_page") {
		uri := d.arg(len(d.args) - 1)
		root, _, _ := c.server.scope.value("root")
		for _, loc := range c.d.block {
			of := strings.TrimPrefix(loc.arg(len(loc.args)-1), "=")
			if loc.name == "location" && loc.child("root") != nil && of == uri {
				root = loc.child("root").arg(0)
			}
		}
		named := len(d.args) > 2 && strings.HasPrefix(d.args[len(d.args)-2], "=")
		if root == "" || hasVariables(root) || named || !strings.HasPrefix(uri, "/") {
			im.Lose(d.at, d.text(), "error pages are files with names that stand there")
			continue
		}
		for _, code := range d.args[:len(d.args)-1] {
			fields = append(fields, plan.Field{Name: code, Value: filepath.Join(root, uri)})
		}
		t.From = append(t.From, d.at)
		set(t, "error_pages", plan.Table(fields), d.at)
	}
	if c.at.says("proxy_intercept_errors", "on") {
		set(t, "intercept_errors", "true", c.at.find("proxy_intercept_errors").at)
	}
}
