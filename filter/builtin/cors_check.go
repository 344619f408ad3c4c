package builtin

import (
	"strings"

	"github.com/edge-proxy/edge/message"
	"github.com/edge-proxy/edge/plugin"
)

// Check finds what browsers would not follow, and what would give answers away to any page.
func (c *CORS) Check(r *plugin.Report) {
	if len(c.Origins) == 0 {
		r.At("origins").Errorf("", "no origin is listed")
	}
	for i, o := range c.Origins {
		at := r.Element("origins", i, len(c.Origins))
		set, err := newOriginSet([]string{o})
		switch {
		case err != nil:
			at.Errorf(err.Hint, "%v", err)
		case c.Credentials && (set.Any() || set.AnyHost()):
			at.Errorf("list the origins, or take credentials out",
				"%q with credentials: any page could read what the user may read", o)
		case set.Any() && len(c.Origins) > 1:
			at.Errorf("", `"*" beside other origins, which mean nothing then`)
		}
	}
	for i, m := range c.Methods {
		at := r.Element("methods", i, len(c.Methods))
		switch upper := strings.ToUpper(m); {
		case !message.ValidName(m):
			at.Errorf("", "%q is not a method", m)
		case upper == "CONNECT" || upper == "TRACE" || upper == "TRACK":
			at.Errorf("", "%q: browsers send it for no page", m)
		case m != upper:
			at.Errorf(`write "`+upper+`"`, "%q: methods are case-sensitive", m)
		case m == "*" && c.Credentials:
			at.Errorf("list the methods", `"*" with credentials is no wildcard for browsers`)
		}
	}
	c.checkNames(r, "headers", c.Headers)
	c.checkNames(r, "expose", c.Expose)
}

func (c *CORS) checkNames(r *plugin.Report, key string, names []string) {
	for i, name := range names {
		at := r.Element(key, i, len(names))
		switch {
		case !message.ValidName(name):
			at.Errorf("", "%q is not the name of a field", name)
		case name == "*" && c.Credentials:
			at.Errorf("list the fields", `"*" with credentials is no wildcard for browsers`)
		}
	}
}
