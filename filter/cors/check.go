package cors

import (
	"fmt"
	"strings"

	"github.com/edge-proxy/edge/filter/origin"
	"github.com/edge-proxy/edge/message"
)

// problem is what is wrong with a key: an element of its list, or the key as a whole where that is below 0.
type problem struct {
	key        string
	element    int
	text, hint string
}

func (p *problem) Error() string {
	text := p.key + ": " + p.text
	if p.hint != "" {
		text += " (" + p.hint + ")"
	}
	return text
}

// problems returns what is wrong with c.
func (c *Config) problems() (list []*problem) {
	add := func(key string, element int, text, hint string) {
		list = append(list, &problem{key, element, text, hint})
	}
	if len(c.Origins) == 0 {
		add("origins", -1, "no origin is listed", "")
	}
	for i, o := range c.Origins {
		set, err := origin.NewSet([]string{o})
		switch {
		case err != nil:
			add("origins", i, err.Error(), err.Hint)
		case c.Credentials && (set.Any() || set.AnyHost()):
			add("origins", i, fmt.Sprintf("%q with credentials: any page could read what the user may read", o),
				"list the origins, or take credentials out")
		case set.Any() && len(c.Origins) > 1:
			add("origins", i, `"*" beside other origins, which mean nothing then`, "")
		}
	}
	for i, m := range c.Methods {
		switch upper := strings.ToUpper(m); {
		case !message.ValidName(m):
			add("methods", i, fmt.Sprintf("%q is not a method", m), "")
		case upper == "CONNECT" || upper == "TRACE" || upper == "TRACK":
			add("methods", i, fmt.Sprintf("%q: browsers send it for no page", m), "")
		case m != upper:
			add("methods", i, fmt.Sprintf("%q: methods are case-sensitive", m), fmt.Sprintf("write %q", upper))
		case m == "*" && c.Credentials:
			add("methods", i, `"*" with credentials is no wildcard for browsers`, "list the methods")
		}
	}
	for key, names := range map[string][]string{"headers": c.Headers, "expose": c.Expose} {
		for i, name := range names {
			switch {
			case !message.ValidName(name):
				add(key, i, fmt.Sprintf("%q is not the name of a field", name), "")
			case name == "*" && c.Credentials:
				add(key, i, `"*" with credentials is no wildcard for browsers`, "list the fields")
			}
		}
	}
	return list
}
