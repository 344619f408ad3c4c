package config

import (
	"errors"
	"io/fs"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/edge-proxy/edge/internal/config/schema"
	"github.com/edge-proxy/edge/internal/config/syntax"
	"github.com/edge-proxy/edge/internal/config/value"
	"github.com/edge-proxy/edge/message"
)

// ErrorPage is the body of answers to failures, in place of edge's own.
type ErrorPage struct {
	For  string // a status, "404", or a class, "5xx"
	Type string // of Body
	File string `file:"page"` // where Body stands; empty: in the configuration
	Body string // File's own once it was opened: see Load
}

// errorPages are the pages of one key, with the places in the file that name them.
type errorPages struct {
	pages []ErrorPage
	at    []syntax.Span
}

var typeErrorPages = schema.Type{Name: "table of files or tables", Parse: parseErrorPages} // errorPages

// errorPageMax bounds an error page, in bytes: it is kept in memory.
const errorPageMax = 1 << 20

const htmlType = "text/html; charset=utf-8"

// pageTypes are the types of pages by the extensions of their files.
var pageTypes = map[string]string{
	".html": htmlType, ".htm": htmlType, ".txt": "text/plain; charset=utf-8", ".json": "application/json",
	".xml": "application/xml", ".svg": "image/svg+xml",
}

// parseErrorPages reads { 404 = "/etc/edge/404.html", 5xx = { body = "…", type = "text/html" } }. A list has pages of
// several types for one status.
func parseErrorPages(d *schema.Decoder, _ *schema.Key, n *syntax.Node) (any, bool) {
	var all errorPages
	if n.Kind != syntax.KindTable {
		d.WrongKind(n, "a table", schema.TableHint)
		return all, false
	}
	right := d.Filled(n)
	for _, c := range n.Children {
		if !isErrorStatus(c.Key) {
			d.Report.Errorf(c.Name, statusHint(c.Key), "%s is neither a status from 400 to 599 nor 4xx nor 5xx",
				syntax.Quote(c.Key))
			right = false
			continue
		}
		list := []*syntax.Node{c}
		if c.Kind == syntax.KindList {
			right = d.Filled(c) && right
			list = c.Children
		}
		for _, one := range list {
			p := ErrorPage{For: c.Key}
			right = p.parse(d, one, c.Key) && right
			all.pages, all.at = append(all.pages, p), append(all.at, one.Value)
		}
	}
	return all, right
}

func isErrorStatus(s string) bool {
	n, err := strconv.Atoi(s)
	return s == "4xx" || s == "5xx" || err == nil && len(s) == 3 && 400 <= n && n <= 599
}

// statusHint says what people mean who know other servers.
func statusHint(s string) string {
	switch {
	case strings.ContainsAny(s, " ,"):
		return "each status has a line of its own; 5xx is all from 500 to 599"
	case s == "*" || s == "all" || s == "default":
		return "write 4xx and 5xx"
	case strings.EqualFold(s, "4xx") || strings.EqualFold(s, "5xx"):
		return "write " + strings.ToLower(s)
	}
	return ""
}

// parse reads the page at n: the path of a file, or a table.
func (p *ErrorPage) parse(d *schema.Decoder, n *syntax.Node, status string) bool {
	if n.Kind != syntax.KindTable {
		n.Key = status
		if n.Kind == syntax.KindString && strings.HasPrefix(strings.TrimSpace(n.Text), "<") {
			d.Report.Errorf(n.Value, "write { body = … }", "a page that is no file stands in a table")
			return false
		}
		s, ok := d.String(n, "a path or a table")
		p.File = s
		return ok && p.typed(d, n.Value)
	}
	fields := map[string]*string{"file": &p.File, "body": &p.Body, "type": &p.Type}
	right := value.ReadFields(d, n, fields, "a page has %s, not %s", func(c *syntax.Node) (string, bool) {
		if c.Key == "body" && c.Kind == syntax.KindString { // of any text, in several lines
			return c.Text, true
		}
		return d.String(c, "a string")
	})
	switch {
	case !right:
		return false
	case (p.File == "") == (p.Body == ""):
		d.Report.Errorf(n.Value, `write { file = "…" } or { body = "…" }`, "a page has either a file or a body")
		return false
	case len(p.Body) > errorPageMax:
		d.Report.Errorf(n.Value, "", "the page is larger than 1 MiB")
		return false
	}
	return p.typed(d, n.Value)
}

// typed finds the type of a page that says none, and checks a type that it says.
func (p *ErrorPage) typed(d *schema.Decoder, at syntax.Span) bool {
	if p.Type != "" {
		major, minor, _ := strings.Cut(p.Type, "/")
		if !message.ValidName(major) || minor == "" || !message.ValidValue(p.Type) {
			d.Report.Errorf(at, `write type = "text/html"`, "%s is not a content type", syntax.Quote(p.Type))
			return false
		}
		if strings.EqualFold(major, "text") && !strings.Contains(minor, ";") {
			p.Type += "; charset=utf-8"
		}
		return true
	}
	if p.Type = htmlType; p.File == "" {
		return true
	}
	var known bool
	if p.Type, known = pageTypes[strings.ToLower(filepath.Ext(p.File))]; !known {
		d.Report.Errorf(at, `write { file = "…", type = "text/html" }`, "nothing says of which type the page %s is",
			syntax.QuotePath(p.File))
	}
	return known
}

// warnPointlessIntercept warns of intercept_errors where no page could take the place of an answer.
func warnPointlessIntercept(r *resolver, e *routeEntry) {
	has := func(l Listener) bool { return len(l.ErrorPages) > 0 }
	if e.InterceptErrors && !e.Has("error_pages") && !r.doc.top.Has("error_pages") &&
		!slices.ContainsFunc(r.c.Listeners, has) {
		r.rep.Warnf(schema.CodeNoEffect, e.Head("intercept_errors"), "add error_pages", "there are no pages")
	}
}

// openErrorPages reads the files of all pages. The slices are shared with the Config, so a body that is filled in here
// is filled in there.
func openErrorPages(r *resolver) {
	openPages(r, &r.doc.top.Errors)
	for _, e := range r.doc.listeners {
		openPages(r, &e.Errors)
	}
	for _, e := range r.doc.routes {
		openPages(r, &e.Errors)
	}
}

func openPages(r *resolver, e *errorPages) {
	for i := range e.pages {
		p := &e.pages[i]
		if p.File == "" {
			continue
		}
		p.File = r.locate(p.File, e.at[i])
		var err error
		if p.Body, err = p.Read(); err == nil {
			continue
		}
		hint := ""
		if errors.Is(err, fs.ErrPermission) {
			hint = "edge has to be allowed to read it"
		}
		r.rep.Errorf(e.at[i], hint, "cannot use %s: %s", syntax.QuotePath(p.File), syntax.WithoutPath(err))
	}
}

// Read returns the body, from the file where it was not opened yet.
func (p *ErrorPage) Read() (string, error) {
	if p.File == "" || p.Body != "" {
		return p.Body, nil
	}
	text, err := syntax.ReadRegular(p.File, errorPageMax, errLargePage)
	return string(text), err
}

var errLargePage = errors.New("larger than 1 MiB")
