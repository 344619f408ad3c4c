package caddy

import (
	"net/netip"
	"net/url"
	slashpath "path"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/edge-proxy/edge/cmd/edge-import/internal/importer/plan"
)

func (f *flow) cond(m *matcher) *plan.Cond {
	if m == nil {
		return plan.Always
	}
	return f.set(m.lines)
}

// set returns the condition that all of some lines hold; values of several lines for one name are one list.
func (f *flow) set(lines []*directive) *plan.Cond {
	var all []*plan.Cond
	at := map[string]int{} // in all
	put := func(name string, c *plan.Cond) {
		i, found := at[name]
		if !found {
			at[name], all = len(all), append(all, c)
			return
		}
		all[i] = plan.Any(all[i], c)
	}
	for i, d := range lines {
		switch d.used = true; d.name {
		case "path", "host", "method", "protocol", "remote_ip", "client_ip":
			put(d.name, f.matches(d))
		case "header":
			put("header "+strings.ToLower(d.arg(0)), f.matches(d))
		case "query":
			for _, arg := range d.args {
				name, value, _ := strings.Cut(arg, "=")
				put("query "+name, f.parameter(d, name, value))
			}
		default:
			put(strconv.Itoa(i), f.matches(d))
		}
	}
	return plan.All(all...)
}

// unknown is the condition for a line that edge cannot ask.
func (f *flow) unknown(d *directive, why string) *plan.Cond {
	f.lose(d, why)
	return plan.Unknown
}

// noForm is why a line is not carried that has too few words, or others.
const noForm = "edge does not know this form"

// matches reads one line of a matcher.
func (f *flow) matches(d *directive) *plan.Cond {
	each := func(cond func(string) *plan.Cond) *plan.Cond {
		var list []*plan.Cond
		for _, s := range d.args {
			if strings.ContainsAny(s, `{%[\`) {
				return f.unknown(d, "conditions have no variables, and compare decoded paths")
			}
			list = append(list, cond(s))
		}
		return plan.Any(list...)
	}
	if slices.ContainsFunc(append(slices.Clip(d.args), d.name), func(s string) bool {
		return strings.Contains(f.changed, " "+strings.ToLower(strings.TrimPrefix(s, "!"))+" ")
	}) {
		return f.unknown(d, "a directive before it has changed what it asks for")
	}
	switch d.name {
	case "path":
		return each(func(s string) *plan.Cond { return f.pathIs(s, d) })
	case "host":
		if !strings.ContainsAny(d.text, "*{%") {
			return plan.HostIs(strings.Fields(strings.ToLower(strings.Join(d.args, " ")))...)
		}
		return each(hostIs)
	case "method":
		return each(func(s string) *plan.Cond { return plan.Compare("method", "==", strings.ToUpper(s)) })
	case "header":
		return f.field(d)
	case "header_regexp", "path_regexp":
		return f.expression(d)
	case "protocol":
		switch d.arg(0) {
		case "https":
			return f.secure
		case "http":
			return plan.Not(f.secure)
		}
	case "not":
		if len(d.args) > 0 {
			return plan.Not(f.set([]*directive{d.as(d.args)}))
		}
		return plan.Not(f.set(d.block))
	case "remote_ip":
		return f.addresses(d, "peer.ip")
	case "client_ip":
		return f.addresses(d, "client.ip")
	}
	return f.unknown(d, "edge has no such condition")
}

// hostIs is the condition on a host, of which a star stands for one label in Caddy.
func hostIs(name string) *plan.Cond {
	labels := strings.Split(regexp.QuoteMeta(strings.ToLower(name)), `\.`)
	for i, label := range labels {
		if label == `\*` {
			labels[i] = `[^.]+`
		}
	}
	expr := "^" + strings.Join(labels, `\.`) + "$"
	switch {
	case !strings.Contains(name, "*"):
		return plan.HostIs(strings.ToLower(name))
	case strings.HasPrefix(name, "*.") && strings.Count(name, "*") == 1:
		return plan.HostNearly("host ~ `"+expr+"`", strings.ToLower(name))
	}
	return plan.Compare("host", "~", expr)
}

var plainName = plan.Expr(`^[A-Za-z][A-Za-z0-9_-]*$`)

// field reads header: a field, !field, or a field with a value that may have stars at its ends.
func (f *flow) field(d *directive) *plan.Cond {
	name, absent := strings.CutPrefix(strings.ToLower(d.arg(0)), "!")
	there := plan.Test("has(header." + name + ")")
	operator, text := starred(d.arg(1))
	switch {
	case !plainName().MatchString(name) || name == "host" || len(d.args) > 2 || strings.Contains(text, "{"):
		return f.unknown(d, noForm)
	case absent:
		return plan.Not(there)
	case text == "":
		return there
	}
	return plan.Compare("header."+name, operator, text)
}

// starred returns the operator for a pattern that may have stars at its ends, and its text.
func starred(pattern string) (operator, text string) {
	inner, end := strings.CutSuffix(pattern, "*")
	text, begin := strings.CutPrefix(inner, "*")
	return map[[2]bool]string{{true, true}: "contains", {false, true}: "starts_with", {true, false}: "ends_with",
		{false, false}: "=="}[[2]bool{begin, end}], text
}

// parameter reads name=value of query. What rewrite has written is known from the file.
func (f *flow) parameter(d *directive, name, value string) *plan.Cond {
	switch {
	case !plainName().MatchString(name) || strings.Contains(value+f.query, "{"):
		return f.unknown(d, noForm)
	case f.query != "":
		values, err := url.ParseQuery(f.query[1:])
		if err == nil && (value == "*" && values.Has(name) || slices.Contains(values[name], value)) {
			return plan.Always
		}
		return plan.Never
	case value == "*":
		return plan.Test("has(query." + name + ")")
	}
	return plan.Compare("query."+name, "==", value)
}

// addresses reads remote_ip and client_ip.
func (f *flow) addresses(d *directive, subject string) *plan.Cond {
	list := networks(d.args)
	for i, text := range list {
		if p, err := netip.ParsePrefix(text); err == nil {
			list[i] = p.Masked().String()
		} else if _, err := netip.ParseAddr(text); err != nil {
			return f.unknown(d, "edge does not know these addresses")
		}
	}
	if len(list) == 0 {
		return f.unknown(d, noForm)
	}
	return plan.Test(subject + " in {" + strings.Join(list, " ") + "}")
}

// decoded is the path as Caddy compares it: decoded, with one slash in place of several.
const decoded = `url_decode(path).re_replace("/+", "/")`

// comparePath compares the path with a text. There is one spelling of the path for most requests.
func (f *flow) comparePath(operator, text string, lower bool) *plan.Cond {
	near := f.path
	same := strings.Replace(decoded, "path", near, 1)
	if strings.Contains(text, "//") {
		same = "url_decode(" + near + ")"
	}
	if lower {
		near, same, text = "lower("+near+")", "lower("+same+")", strings.ToLower(text)
	}
	quoted, ok := plan.Quote(text)
	if !ok || f.path == "" {
		return plan.Unknown
	}
	rest := " " + operator + " " + quoted
	return plan.Beside(near+rest, same+rest)
}

// pathIs is the condition that the path is like a pattern, in any case.
func (f *flow) pathIs(pattern string, d *directive) *plan.Cond {
	operator, text := starred(pattern)
	switch {
	case pattern == "*" || pattern == "/*":
		return plan.Always
	case strings.ContainsAny(text, `*?`): // a star is a part of one segment
		expr := regexp.QuoteMeta(strings.ToLower(pattern))
		expr = "^" + strings.NewReplacer(`\*`, `[^/]*`, `\?`, `[^/]`).Replace(expr) + "$"
		return f.comparePath("~", expr, true)
	}
	c := f.comparePath(operator, text, true)
	if f.path != "path" || c == plan.Unknown || !strings.HasPrefix(pattern, "/") {
		return c
	}
	if !f.cased && strings.ToLower(pattern) != strings.ToUpper(pattern) {
		f.cased = true
		f.Note(d.at, d.text, "Caddy compares paths in any case, edge as they stand: /API is not /api; "+
			"where requests are refused, rules compare in any case")
	}
	quoted, _ := plan.Quote(strings.ToLower(text))
	encoded, _ := plan.Quote(strings.ToLower(sent(text)))
	prefix, operator := operator != "==", " "+operator+" "
	p := plan.Path{Pattern: sent(text), Within: true, Text: "lower(path)" + operator + encoded,
		Same: "lower(" + decoded + ")" + operator + quoted}
	if above, slash := strings.CutSuffix(p.Pattern, "/"); prefix && slash {
		p.Pattern, p.Below = above+"/*", true
	} else if prefix { // routes ask for whole segments
		p.Pattern, p.Loss = p.Pattern+"/*", "paths such as "+p.Pattern+"x"
	}
	if at := strings.TrimSuffix(p.Pattern, "/"); at != "" && slashpath.Clean(at) != at { // routes have no dot segments
		return c
	}
	return p.Cond()
}

// expression reads path_regexp and header_regexp, which may have a name before the rest.
func (f *flow) expression(d *directive) *plan.Cond {
	args, field := d.args, d.name == "header_regexp"
	if len(args) > 1 && (len(args) == 3 || !field) {
		args = args[1:]
	}
	if len(args) == 0 || field != (len(args) == 2) {
		return f.unknown(d, noForm)
	}
	expr := args[len(args)-1]
	if _, err := regexp.Compile(expr); err != nil || field && !plainName().MatchString(args[0]) {
		return f.unknown(d, noForm)
	} else if field {
		return plan.Compare("header."+strings.ToLower(args[0]), "~", expr)
	}
	return f.comparePath("~", expr, false)
}

// sent returns a path of the file in the encoded form of requests: Caddy compares decoded paths.
func sent(path string) string {
	if plain, err := url.PathUnescape(path); err == nil {
		return strings.ReplaceAll((&url.URL{Path: plain}).EscapedPath(), "%2A", "*")
	}
	return path
}
