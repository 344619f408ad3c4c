package haproxy

import (
	"net/netip"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/edge-proxy/edge/cmd/edge-import/internal/importer/plan"
	"github.com/edge-proxy/edge/internal/route"
)

const valuesMax = 500

// rawPath is the path as the client sent it, as HAProxy compares it. Conditions compare it in normal form, where more
// spellings are the same, but where that would let more requests through.
const rawPath = `split(target, "?")[0]`

// askedHost is the host as the client sent it, with its port.
const askedHost = "header.host ?? host"

// fetches are parts of requests: what HAProxy calls them, the language, with $ for the argument, and their kind.
const fetches = `
path: path
url pathq capture.req.uri: target
query: query
method capture.req.method: method
src: client.ip address
dst: server.ip address
src_port: client.port number
dst_port: server.port number
hdr: header.$ list
fhdr: header.$
hdr_val: int(header.$) number
url_param urlp: query.$ parameter
cook cookie: cookie.$
ssl_fc: has(tls.version) flag
ssl_fc_sni req_ssl_sni ssl_sni: tls.sni
req_ssl_alpn ssl_alpn: tls.alpn offered
req_ssl_hello_type ssl_hello_type: has(tls.sni) hello
ssl_fc_alpn: tls.alpn
ssl_c_used: has(cert.sha256) flag
always_true: true flag
always_false: false flag
ssl_fc_protocol: tls.version template
ssl_fc_cipher: tls.cipher template
unique-id uuid: request.id template`

// operators compare texts, as -m and the ends of the names of fetches say.
const operators = `
str: ==
beg: starts_with
end: ends_with
sub: contains
reg dir dom: ~
found: has`

// numberOperators compare numbers.
const numberOperators = "eq: ==\nge: >=\ngt: >\nle: <=\nlt: <"

// sample is a part of a request.
type sample struct {
	holds string // in the language
	sure  string // where a condition has to hold in no more cases than there; "": as holds
	kind  string // "": a text; "list": also separated by commas; "template": conditions do not ask for it; …
	fold  bool   // it is in lower case already
}

var (
	calls          = plan.Expr(`([a-z0-9_.-]+)(?:\(([^()]*)\))?(?:,|$)`)
	plainName      = plan.Expr(`^[A-Za-z][A-Za-z0-9_-]*$`)
	fieldConverter = plan.Expr(`^[1-9],[^"\\` + "`" + `]$`)
)

// sample reads a fetch with its converters, as in "hdr(x),lower"; match is what its name ends with.
func (f *front) sample(text string) (s sample, match string, ok bool) {
	length := 0
	for i, m := range calls().FindAllStringSubmatch(text, -1) {
		length += len(m[0])
		if i > 0 {
			if s, ok = s.convert(m[1], m[2]); !ok {
				return s, "", false
			}
			continue
		}
		name := strings.TrimPrefix(m[1], "req.")
		if at := strings.LastIndexByte(name, '_'); at > 0 && lookup(operators, name[at+1:]) != "" {
			name, match = name[:at], name[at+1:]
		}
		if s, ok = f.fetch(name, m[2]); !ok {
			return s, "", false
		}
	}
	return s, match, length == len(text) && length > 0
}

// fetch returns a part of a request by its name.
func (f *front) fetch(name, argument string) (s sample, ok bool) {
	form, kind, _ := strings.Cut(lookup(fetches, name), " ")
	if strings.Contains(form, "header.") {
		argument = strings.ToLower(argument)
	}
	if form == "" || strings.Contains(form, "$") != plainName().MatchString(argument) ||
		slices.Contains(f.changed, name) || slices.Contains(f.changed, strings.ToLower(argument)) {
		return s, false
	}
	s = sample{holds: strings.Replace(form, "$", argument, 1), kind: kind, fold: form == "tls.sni"}
	switch {
	case name == "src" && f.early:
		s.holds = "socket.ip"
	case s.holds == "path" && slices.Contains(f.changed, "target"):
		s.kind, f.loose = "loose", true // more is the same here than there
	case s.holds == "path":
		s.sure = rawPath
	case s.holds == "header.host":
		s = sample{holds: "host", sure: askedHost}
	}
	return s, true
}

func (s sample) convert(name, argument string) (sample, bool) {
	form, host := "lower($)", s.holds == "host"
	switch {
	case host && (name == "host_only" || name == "field" && argument == "1,:"):
		return sample{holds: "host", sure: "split(" + s.sure + `, ":")[0]`}, true
	case name == "lower" && s.holds == "tls.sni":
		return s, true
	case name == "lower" && (s.kind == "" || s.kind == "list"):
		s.fold = true
	case name == "field" && !host && s.kind == "" && fieldConverter().MatchString(argument):
		form = `split($, "` + argument[2:] + `")[` + string(argument[0]-1) + `]`
	default:
		return s, false
	}
	if !host {
		s.holds = strings.Replace(form, "$", s.holds, 1)
	}
	if s.sure != "" {
		s.sure = strings.Replace(form, "$", s.sure, 1)
	}
	return s, true
}

// leaf reads a fetch, flags and values: "path_beg -i /api /v1".
func (f *front) leaf(words []string) *plan.Cond {
	if len(words) == 0 {
		return plan.Unknown
	}
	if f.apart != nil {
		if c := f.apart(strings.Join(words, " ")); c != nil {
			return c
		}
	}
	s, match, ok := f.sample(words[0])
	values, fold := words[1:], false
	var files []string
	for ok && len(values) > 0 && len(values[0]) > 1 && values[0][0] == '-' {
		flag := values[0]
		if values = values[1:]; flag == "--" {
			break
		}
		switch {
		case flag == "-i":
			fold = true
		case flag == "-m" && len(values) > 0:
			match, values = values[0], values[1:]
		case flag == "-f" && len(values) > 0:
			files, values = append(files, values[0]), values[1:]
		default:
			ok = flag == "-n"
		}
	}
	alone := len(files) == 1 && len(values) == 0 && s.kind == "address"
	for _, file := range files {
		list, found := f.im.entries(file)
		values, ok = slices.Concat(values, list), ok && found
	}
	odd := func(v string) bool { _, known := prefix(v); return !known }
	switch {
	case !ok:
		return plan.Unknown
	case alone && len(values) > valuesMax && !slices.ContainsFunc(values, odd):
		file := plan.Setting{Name: "file", Value: plan.String(f.im.path(files[0]))}
		name := "from-" + plan.Name(filepath.Base(files[0]))
		return plan.Test(s.holds + " in list." + f.im.Named("lists", name, []plan.Setting{file}, f.from...))
	}
	f.nameless = f.nameless || s.kind == "hello"
	return s.compare(values, match, fold)
}

// compare returns the condition that s is one of some values, or like one.
func (s sample) compare(values []string, match string, fold bool) *plan.Cond {
	found := match == "found" && len(values) == 0
	switch {
	case s.kind == "flag" && len(values) == 0 && match == "", s.kind == "hello" && slices.Equal(values, []string{"1"}):
		return plan.Test(s.holds)
	case found && (s.kind == "" || s.kind == "list" || s.kind == "parameter") && s.holds != "host":
		values = []string{"any"}
	case len(values) == 0 || match == "found" || s.kind == "flag" || s.kind == "hello" || s.kind == "template":
		return plan.Unknown
	case match == "" || match == "ip" && s.kind == "address":
		match = "str"
	}
	if s.kind == "offered" && match != "sub" && (match != "str" || !slices.Equal(values, []string{"acme-tls/1"})) {
		return plan.Unknown // HAProxy compares all that a client offers as one text
	}
	if s.holds == "host" && match != "beg" && match != "reg" && slices.ContainsFunc(values, func(v string) bool {
		return strings.Contains(v, ":") || strings.Trim(v, "0123456789") == ""
	}) {
		return plan.Unknown // HAProxy looks at the port too
	}
	groups := [][]string{values}
	if match != "str" || s.holds == "path" {
		groups = slices.Collect(slices.Chunk(values, 1))
	}
	var conds []*plan.Cond
	var exact []string
	for _, group := range groups {
		near, same := s.asks(s.holds, match, fold, group), ""
		if s.sure != "" {
			same = s.asks(s.sure, match, fold, group)
			exact = append(exact, same)
		}
		c := plan.Unknown
		switch {
		case near == "":
			return plan.Unknown
		case s.kind == "loose":
			c = plan.Roughly(near)
		case s.kind == "parameter":
			// HAProxy looks at each of that name, as it came; ; and ? separate parameters, too. The first one is sure.
			named := `query ~ "(?:^|[?&;])` + strings.TrimPrefix(s.holds, "query.") + `=([^?&;]*)" and `
			c = plan.Between(near, named+s.asks("match.1", match, fold, group))
		case s.sure == "":
			c = plan.Test(near)
		default:
			c = plan.Beside(near, same)
		}
		if s.holds == "path" && s.kind == "" && !fold && (match == "str" || match == "beg") &&
			strings.HasPrefix(group[0], "/") && !strings.HasSuffix(group[0], "*") {
			c = pathOf(group[0], match, near, same)
		}
		conds = append(conds, c)
	}
	if names := s.hosts(values, match); names != nil {
		return plan.HostNearly(strings.Join(exact, " or "), names...)
	}
	return plan.Any(conds...)
}

// pathOf returns a comparison of the path as routes make it.
func pathOf(value, match, near, same string) *plan.Cond {
	p := plan.Path{Pattern: value, Text: near, Same: same}
	switch above := strings.TrimRight(value, "/"); {
	case match == "beg" && above == "":
		return plan.Always
	case match == "beg" && above == value:
		p.Pattern, p.Loss = value+"/*", "paths such as "+value+"x"
	case match == "beg":
		p.Pattern, p.Below = above+"/*", true
	}
	return p.Cond()
}

// hosts returns the names of hosts that values ask for, as routes know them; nil: routes do not ask so.
func (s sample) hosts(values []string, match string) (names []string) {
	for _, v := range values {
		if match == "end" && strings.HasPrefix(v, ".") {
			v = "*" + v
		} else if match != "str" {
			return nil
		}
		name, err := route.ParseHost(strings.ToLower(v))
		if err != nil || s.holds != "host" {
			return nil
		}
		names = append(names, name)
	}
	return names
}

// prefix returns an address or a prefix as the language has it.
func prefix(v string) (text string, ok bool) {
	if a, err := netip.ParseAddr(v); err == nil {
		return a.String(), true
	}
	p, err := netip.ParsePrefix(v)
	return p.Masked().String(), err == nil
}

// asks returns the condition that a text is, or is like, one of some values; "": the language has none.
func (s sample) asks(subject, match string, fold bool, values []string) string {
	if match == "found" {
		return "has(" + subject + ")"
	}
	operator, host, quote := lookup(operators, match), subject == "host", plan.Quote
	if o := lookup(numberOperators, values[0]); s.kind == "number" {
		if quote = plan.Number.Value; o != "" && len(values) == 2 {
			operator, values = o, values[1:]
		}
	} else if s.kind == "address" {
		quote = prefix
	}
	var quoted []string
	for _, v := range values {
		if v == "" {
			return ""
		}
		if (fold || host) && match != "reg" {
			v = strings.ToLower(v)
		}
		switch {
		case match == "dir":
			v = `(^|/)` + regexp.QuoteMeta(strings.Trim(v, "/")) + `(/|$)`
		case match == "dom":
			v = `(^|[/?.:])` + regexp.QuoteMeta(strings.Trim(v, "/?.:")) + `([/?.:]|$)`
		case match == "reg" && (fold || host):
			v = "(?i)" + v
		}
		q, ok := quote(v)
		if _, err := regexp.Compile(v); !ok || operator == "" || operator == "~" && err != nil {
			return ""
		}
		quoted = append(quoted, q)
	}
	if fold && !s.fold && !host && match != "reg" {
		subject = "lower(" + subject + ")"
	}
	if s.kind == "list" && (match != "sub" || strings.Contains(quoted[0], ",")) {
		subject = "split(" + subject + `, ",").trim()`
	}
	if len(quoted) > 1 || s.kind == "address" && operator == "==" {
		return subject + " in {" + strings.Join(quoted, " ") + "}"
	}
	return subject + " " + operator + " " + quoted[0]
}
