package caddy

import (
	"path"
	"strings"

	"github.com/edge-proxy/edge/config/import/plan"
)

// header is header: fields of answers.
func header(im *importer, _ *scope, d *directive) func(*walk) bool {
	var fields []field
	add := func(c *directive, name, value string, more int) {
		if f, ok := im.fieldOperation(c, name, value, more, false); ok {
			fields = append(fields, f)
		}
	}
	if len(d.args) > 0 {
		add(d, d.arg(0), d.arg(1), len(d.args)-2)
	}
	for _, c := range d.block {
		c.used = true
		switch c.name {
		case "defer":
			im.note(c, "nothing to write: fields are set when the answer is there")
		case "match":
			im.lose(c, "fields are set in every answer")
		default:
			add(c, strings.TrimSuffix(c.name, ":"), c.arg(0), len(c.args)-1)
		}
	}
	return func(w *walk) bool {
		for _, f := range fields {
			w.replies = setField(w.replies, f)
		}
		return false
	}
}

// requestHeader is request_header: fields of requests.
func requestHeader(im *importer, _ *scope, d *directive) func(*walk) bool {
	f, ok := im.fieldOperation(d, strings.TrimSuffix(d.arg(0), ":"), d.arg(1), len(d.args)-2, true)
	return func(w *walk) bool {
		if ok {
			w.asks = setField(w.asks, f)
		}
		return false
	}
}

// fieldOperation reads what is done to a field. more is how many arguments come after the value.
func (im *importer) fieldOperation(d *directive, name, value string, more int, request bool) (f field, ok bool) {
	sign := ""
	if name != "" && strings.ContainsRune("+-?>", rune(name[0])) {
		sign, name = name[:1], name[1:]
	}
	known := factNames()
	text, unknown := translate(value, known)
	kind := "answers"
	if request {
		kind = "requests"
	}
	switch {
	case name == "" || strings.ContainsAny(name, "*{ "):
		im.Lose(d.at, d.text(), "fields have names")
	case more > 0:
		im.Lose(d.at, d.text(), "fields are set or removed: nothing in them is replaced")
	case sign == "+":
		im.Lose(d.at, d.text(), "fields are set or removed, not added")
	case sign == "?":
		im.Lose(d.at, d.text(), "fields are set whether they are there or not")
	case sign == "-":
		return field{name, "", d.at}, true
	case unknown != "":
		im.Lose(d.at, d.text(), "fields of "+kind+" have no "+unknown)
	case value == "":
		im.Lose(d.at, d.text(), "a field without a value is removed by edge")
	case !request && strings.EqualFold(name, "Content-Type"):
		return field{name, text, d.at}, true
	default:
		return field{name, text, d.at}, true
	}
	return f, false
}

// rewrite puts another path in place of that of the request.
func rewrite(im *importer, _ *scope, d *directive) func(*walk) bool {
	return func(w *walk) bool {
		to, query, hasQuery := strings.Cut(d.arg(0), "?")
		text, unknown := translate(to, map[string]string{"uri": "\x00", "path": "\x00", "?query": ""})
		parameters, second := translate(query, map[string]string{"query": "{query}", "uri": "{path}", "path": "{path}"})
		switch {
		case unknown != "" || second != "" || strings.Count(text, "\x00") > 1,
			text != "" && text[0] != '/' && text[0] != 0:
			im.lose(d, "a path is a text, or the one of the request with a text before it")
			return false
		case strings.Contains(text, "\x00") && w.rest && !strings.HasSuffix(text, "\x00"):
			im.lose(d, "nothing is put after the path of the request")
			return false
		}
		if text != "" {
			had := strings.Contains(text, "\x00")
			w.cur = strings.Replace(text, "\x00", w.cur, 1)
			w.rest = w.rest && had
		}
		if hasQuery {
			w.query = "?" + parameters
			if parameters == "{query}" {
				w.query = ""
			}
		}
		return false
	}
}

// uri changes a part of the path.
func uri(im *importer, _ *scope, d *directive) func(*walk) bool {
	return func(w *walk) bool {
		switch d.arg(0) {
		case "strip_prefix":
			prefix := d.arg(1)
			if prefix != "" && prefix[0] != '/' {
				prefix = "/" + prefix
			}
			w.stripPrefix(prefix, d)
			return false
		case "strip_suffix":
			if !w.rest {
				w.cur = rooted(strings.TrimSuffix(w.cur, d.arg(1)))
				return false
			}
		case "replace":
			if !w.rest && len(d.args) == 3 {
				w.cur = rooted(strings.ReplaceAll(w.cur, d.arg(1), d.arg(2)))
				return false
			}
		}
		im.Lose(d.at, d.text(), "a path is changed at its beginning")
		return false
	}
}

// rooted returns a path that begins with a slash.
func rooted(s string) string {
	if strings.HasPrefix(s, "/") {
		return s
	}
	return "/" + s
}

// stripPrefix removes the beginning of the path. Paths of which only some have it are walked later.
func (w *walk) stripPrefix(prefix string, d *directive) {
	switch {
	case prefix == "" || prefix == "/" || strings.ContainsAny(prefix, "*{"):
		if strings.ContainsAny(prefix, "*{") {
			w.im.Lose(d.at, d.text(), "a path is changed at its beginning")
		}
		return
	case hasPrefixFold(w.cur, prefix):
		w.cur = rooted(w.cur[len(prefix):])
	case w.rest && hasPrefixFold(prefix, w.cur):
		w.matchPath(&test{kind: testPath, text: prefix + "*", at: d.at, what: d.text()})
	}
}

// errorPage is a page of handle_errors.
type errorPage struct {
	codes []string // "404", "5xx"
	value string   // as error_pages has it
	at    []plan.Place
}

// errorHandlers reads handle_errors of a site: pages that are texts, or files with names that stand there.
func (im *importer) errorHandlers(s *site) (pages []errorPage) {
	for _, d := range named(s.d.block, "handle_errors") {
		d.used = true
		p := errorPage{codes: d.args, at: places(nil, d)}
		if len(p.codes) == 0 {
			p.codes = []string{"4xx", "5xx"}
		}
		folder, file := "", ""
		if r := s.d.child("root"); r != nil {
			folder = r.arg(len(r.args) - 1)
		}
		for _, c := range d.block {
			c.used = true
			args := c.args
			if len(args) > 0 && args[0] == "*" {
				args = args[1:]
			}
			switch {
			case c.name == "root" && len(args) == 1:
				folder = args[0]
			case c.name == "rewrite" && len(args) == 1 && !strings.Contains(args[0], "{"):
				file = args[0]
			case c.name == "file_server" && folder != "" && file != "" && path.IsAbs(folder):
				p.value = plan.String(path.Join(folder, file))
			case c.name == "respond" && len(args) > 0 && len(c.block) == 0 && !strings.HasPrefix(args[0], "@"):
				im.errorText(&p, c, args)
			default:
				im.lose(c, "error pages are texts, or files with names that stand there")
			}
		}
		if p.value == "" {
			im.Lose(d.at, d.text(), "failures are answered with pages of edge")
			continue
		}
		pages = append(pages, p)
	}
	return pages
}

// errorText reads respond in handle_errors.
func (im *importer) errorText(p *errorPage, d *directive, args []string) {
	text, unknown := translate(args[0], pageNames())
	if unknown != "" || len(args) > 1 && args[1] != "{err.status_code}" && args[1] != "{http.error.status_code}" {
		im.lose(d, "error pages have the status of the failure, and no "+unknown)
		return
	}
	p.value = "{ body = " + plan.String(text) + `, type = "text/plain; charset=utf-8" }`
}

// addPages writes the pages of handle_errors for routes whose failures are handled there: those that ask backends,
// and those of error.
func (w *walk) addPages() {
	o := &w.out
	handled := o.dest != ""
	for i, s := range o.settings {
		if s.name == errorPagesKey {
			o.settings = append(o.settings[:i:i], o.settings[i+1:]...)
			handled = true
			break
		}
	}
	if !handled {
		return
	}
	var parts []string
	done := map[string]bool{}
	var at plan.Place
	for _, p := range w.site.pages {
		for _, code := range p.codes {
			if !done[code] {
				parts = append(parts, code+" = "+p.value)
			}
			done[code] = true
		}
		at = p.at[0]
		o.from = append(o.from, p.at...)
	}
	if len(parts) > 0 {
		o.settings = append(o.settings, setting{"error_pages", "{ " + strings.Join(parts, ", ") + " }", at})
	}
}
