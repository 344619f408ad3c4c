package static

import (
	"strconv"
	"strings"

	"github.com/edge-proxy/edge/internal/plugin"
	"github.com/edge-proxy/edge/message"
)

// Config is the table of a destination of the type "static".
type Config struct {
	Root    string   `edge:"root" doc:"Folder whose files are served." required:"true" example:"/srv/www" local:"true"`
	Index   []string `edge:"index" doc:"Files that answer for their folder." default:"[\"index.html\"]"`
	Try     []string `edge:"try" doc:"Paths to look for, until one is there." default:"[\"{path}\"]"`
	Listing bool     `edge:"listing" doc:"Answer for folders without a file of index with a list."`
	Hidden  bool     `edge:"hidden" doc:"Serve files and folders whose names begin with a dot."`
	Charset string   `edge:"charset" doc:"Charset of text; off: none is stated." default:"utf-8"`

	Fallback string `edge:"fallback" doc:"Destination of requests whose path is no file, as in dest." example:"app"`

	CacheControl map[string]string `edge:"cache_control" doc:"Cache-Control by path: /a/*, *.css, /a.html or *."`
}

// Check finds paths that are none.
func (c *Config) Check(r *plugin.Report) {
	for i, p := range c.Try {
		rest, at := strings.ReplaceAll(p, "{path}", "/"), r.Element("try", i, len(c.Try))
		if i > 0 && i == len(c.Try)-1 && rest == p && c.Fallback != "" {
			at.Errorf("leave one of them out", "%q answers for all paths: nothing is left for fallback", p)
		}
		if c.Fallback == "" && strings.ContainsAny(p, "@:") && !strings.HasPrefix(p, "/") {
			at.Errorf("write fallback = "+strconv.Quote(strings.TrimPrefix(p, "@"))+" beside try",
				"%q is no path below the root", p)
			continue
		}
		if !strings.HasPrefix(rest, "/") || strings.ContainsAny(rest, `{}\`) || strings.Contains(rest+"/", "/../") {
			at.Errorf(`as in "{path}", "{path}.html" and "/index.html"`,
				"%q is no path below the root", p)
		}
	}
	for i, name := range c.Index {
		if name == "" || name == ".." || strings.ContainsAny(name, `/\`) {
			r.Element("index", i, len(c.Index)).Errorf(`as in "index.html"`, "%q is no name of a file", name)
		}
	}
	for pattern, value := range c.CacheControl {
		star := strings.IndexByte(pattern, '*')
		if star > 0 && star < len(pattern)-1 || strings.Count(pattern, "*") > 1 || !strings.ContainsAny(pattern, "/*") {
			r.At("cache_control").Errorf(`as in "/assets/*", "*.css", "/index.html" and "*"`, "%q is no pattern",
				pattern)
		}
		if !message.ValidValue(value) {
			r.At("cache_control").Errorf("", "%q cannot stand in a field", value)
		}
	}
	if !message.ValidName(c.Charset) {
		r.At("charset").Errorf(`as in "utf-8"`, "%q is no charset", c.Charset)
	}
}
