package haproxy

import (
	"net/netip"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/edge-proxy/edge/config/import/plan"
)

// rawPath is the path as the client sent it, as HAProxy compares it. Conditions compare it in normal form, where more
// spellings are the same, but where that would let more requests through.
const rawPath = `split(target, "?")[0]`

// askedHost is the host as the client sent it, with its port.
const askedHost = "(header.host ?? host)"

// sample is a part of a request.
type sample struct {
	holds  string // in the language
	sure   string // where a condition has to hold in no more cases than there; "": as holds
	number bool
	flag   bool   // it is true or false by itself
	list   bool   // its values are also separated by commas
	fold   bool   // it is in lower case already
	loose  bool   // more is the same here than there
	param  string // the parameter that it is
}

var fetchName = plan.Expr(`^([a-z0-9_.]+)(?:\(([^()]*)\))?$`)

// matchSuffixes are what names of fetches end with, by which values are compared.
var matchSuffixes = []string{"_beg", "_end", "_dom", "_reg", "_sub", "_dir"}

// sampleOf reads a fetch with its converters; match is what its name ends with.
func (f *front) sampleOf(text string) (s sample, match string, ok bool) {
	parts := splitCalls(text)
	m := fetchName().FindStringSubmatch(parts[0])
	if m == nil {
		return s, "", false
	}
	name, argument := strings.TrimPrefix(m[1], "req."), m[2]
	for _, suffix := range matchSuffixes {
		if head, found := strings.CutSuffix(name, suffix); found {
			name, match = head, suffix[1:]
		}
	}
	if s, ok = f.fetch(name, argument); !ok {
		return s, "", false
	}
	for _, converter := range parts[1:] {
		if s, ok = s.convert(converter); !ok {
			return s, "", false
		}
	}
	return s, match, true
}

// splitCalls cuts "hdr(x),field(1,:)" at the commas outside of parentheses.
func splitCalls(text string) (parts []string) {
	depth, from := 0, 0
	for i, c := range text {
		switch {
		case c == '(':
			depth++
		case c == ')':
			depth--
		case c == ',' && depth == 0:
			parts = append(parts, text[from:i])
			from = i + 1
		}
	}
	return append(parts, text[from:])
}

var plainName = plan.Expr(`^[A-Za-z][A-Za-z0-9_-]*$`)

// fetch returns a part of a request by its name.
func (f *front) fetch(name, argument string) (s sample, ok bool) {
	if slices.Contains(f.changed, name) || argument != "" && slices.Contains(f.changed, strings.ToLower(argument)) {
		return s, false
	}
	named := plainName().MatchString(argument)
	lower := strings.ToLower(argument)
	switch name {
	case "path":
		if slices.Contains(f.changed, "target") {
			return sample{holds: "path", loose: true}, argument == ""
		}
		return sample{holds: "path", sure: rawPath}, argument == ""
	case "url", "pathq", "capture.req.uri":
		return sample{holds: "target"}, true
	case "query":
		return sample{holds: "query"}, true
	case "method", "capture.req.method":
		return sample{holds: "method"}, true
	case "src":
		return sample{holds: "client.ip"}, true
	case "dst":
		return sample{holds: "server.ip"}, true
	case "src_port":
		return sample{holds: "client.port", number: true}, true
	case "dst_port":
		return sample{holds: "server.port", number: true}, true
	case "hdr", "fhdr":
		if lower == "host" {
			return sample{holds: "host", sure: askedHost}, true
		}
		return sample{holds: "header." + lower, list: name == "hdr"}, named
	case "hdr_val":
		return sample{holds: "int(header." + lower + ")", number: true}, named
	case "url_param", "urlp":
		return sample{holds: "query." + argument, param: argument}, named
	case "cook", "cookie":
		return sample{holds: "cookie." + argument}, named
	case "ssl_fc":
		return sample{holds: "has(tls.version)", flag: true}, true
	case "ssl_fc_sni":
		return sample{holds: "tls.sni", fold: true}, true
	case "ssl_fc_alpn":
		return sample{holds: "tls.alpn"}, true
	case "ssl_c_used":
		return sample{holds: "has(cert.sha256)", flag: true}, true
	case "always_true":
		return sample{holds: yes, flag: true}, true
	case "always_false":
		return sample{holds: no, flag: true}, true
	}
	return s, false
}

var fieldConverter = plan.Expr(`^(?:field|word)\(([1-9]),([^"\\)` + "`" + `])\)$`)

// convert returns what a converter makes of s.
func (s sample) convert(text string) (sample, bool) {
	wrap := func(name, rest string) sample {
		s.holds = name + "(" + s.holds + rest + ")"
		if s.sure != "" {
			s.sure = name + "(" + s.sure + rest + ")"
		}
		return s
	}
	if s.number || s.flag || s.holds == "client.ip" || s.holds == "server.ip" {
		return s, false
	}
	m := fieldConverter().FindStringSubmatch(text)
	switch {
	case text == "lower" && s.holds == "host":
		if s.sure != "" {
			s.sure = "lower" + askedHost
		}
		s.fold = true
		return s, true
	case text == "field(1,:)" && s.holds == "host", text == "host_only" && s.holds == "host":
		return sample{holds: "host", fold: true}, true
	case text == "lower":
		s = wrap("lower", "")
		s.fold = true
		return s, true
	case text == "upper" || text == "url_dec" && s.holds != "path":
		return wrap(map[string]string{"upper": "upper", "url_dec": "url_decode"}[text], ""), !s.list
	case m != nil && !s.list && strings.HasPrefix(text, "field"):
		n, _ := strconv.Atoi(m[1])
		s = wrap("split", `, "`+m[2]+`"`)
		s.holds += "[" + strconv.Itoa(n-1) + "]"
		if s.sure != "" {
			s.sure += "[" + strconv.Itoa(n-1) + "]"
		}
		return s, true
	}
	return s, false
}

// counterName matches fetches that tell what was counted in stick-tables, and at the process.
var counterName = plan.Expr(`^(?:sc[0-9]*_|src_(?:conn|http|bytes|sess|gpc|kbytes|inc|clr|updt)|fe_|be_|table_)`)

// leafOf reads a fetch, flags and values: "path_beg -i /api /v1".
func (f *front) leafOf(words []string) *condition {
	none := &condition{kind: unknown}
	if len(words) == 0 {
		return none
	}
	if m := fetchName().FindStringSubmatch(words[0]); m != nil && m[1] == "http_auth" {
		none.users = m[2]
		return none
	}
	if counterName().MatchString(words[0]) {
		none.counter = words
		return none
	}
	s, match, ok := f.sampleOf(words[0])
	if !ok {
		return none
	}
	values, fold := words[1:], false
	var files []string
flags:
	for len(values) > 0 {
		switch {
		case values[0] == "-i":
			fold = true
		case values[0] == "-n":
		case values[0] == "-m" && len(values) > 1:
			match, values = values[1], values[1:]
		case values[0] == "-f" && len(values) > 1:
			files, values = append(files, values[1]), values[1:]
		case values[0] == "--":
			values = values[1:]
			break flags
		case strings.HasPrefix(values[0], "-") && len(values[0]) > 1:
			return none
		default:
			break flags
		}
		values = values[1:]
	}
	for _, file := range files {
		more, ok := f.patterns(file)
		if !ok {
			return none
		}
		values = append(slices.Clone(values), more...)
	}
	if s.param == "" {
		return s.compare(values, match, fold)
	}
	// HAProxy looks at each of that name, as it came; a ; separates parameters, too. The first one is sure to be so.
	c := s.compare(values, match, fold)
	s.holds = strings.Replace(s.holds, "query."+s.param, "match.1", 1)
	first := s.compare(values, match, fold)
	firsts := append(first.kids, first)
	for i, k := range append(c.kids, c) {
		if k.kind == leaf {
			k.sure = `query ~ "(?:^|[&;])` + s.param + `=([^&;]*)" and ` + firsts[i].holds
			k.either = true
		}
	}
	return c
}

// compare returns the condition that s is one of values, or like one.
func (s sample) compare(values []string, match string, fold bool) *condition {
	none := &condition{kind: unknown}
	switch {
	case len(values) > valuesMax:
		return none
	case match == "found" && len(values) == 0 && s.holds != "host" && !s.number && !s.flag:
		return &condition{holds: "has(" + s.holds + ")"}
	case s.flag:
		return &condition{holds: s.holds, kind: map[bool]conditionKind{true: leaf, false: unknown}[len(values) == 0]}
	case len(values) == 0:
		return none
	case s.loose:
		c := s.compareText(values, match, fold)
		for _, k := range append(c.kids, c) {
			k.loose = k.kind == leaf
		}
		return c
	case s.number:
		return s.compareNumber(values)
	case s.holds == "client.ip" || s.holds == "server.ip":
		return s.compareAddress(values, match)
	}
	return s.compareText(values, match, fold)
}

// valuesMax is how many values one condition has.
const valuesMax = 500

// patterns reads the values in a file: one in each line, without those that begin with "#".
func (f *front) patterns(file string) (list []string, ok bool) {
	if !filepath.IsAbs(file) {
		file = filepath.Join(f.im.dir, file)
	}
	text, err := f.im.read.Read(file)
	if err != nil {
		return nil, false
	}
	for line := range strings.Lines(string(text)) {
		if line = strings.Trim(line, " \t\r\n"); line != "" && line[0] != '#' {
			list = append(list, line)
		}
	}
	return list, true
}

// compareNumber reads values such as "8080", "gt 3", "1:10".
func (s sample) compareNumber(values []string) *condition {
	c := &condition{kind: or}
	operator := "=="
	for _, v := range values {
		if o := map[string]string{"eq": "==", "ge": ">=", "gt": ">", "le": "<=", "lt": "<"}[v]; o != "" {
			operator = o
			continue
		}
		from, to, span := strings.Cut(v, ":")
		if _, err := strconv.ParseInt(from, 10, 32); err != nil || span {
			return &condition{kind: unknown}
		}
		_ = to
		c.kids = append(c.kids, &condition{holds: s.holds + " " + operator + " " + from})
	}
	return c
}

// compareAddress reads addresses and prefixes.
func (s sample) compareAddress(values []string, match string) *condition {
	var list []string
	for _, v := range values {
		if a, err := netip.ParseAddr(v); err == nil {
			list = append(list, a.String())
			continue
		}
		p, err := netip.ParsePrefix(v)
		if err != nil || match != "" && match != "ip" {
			return &condition{kind: unknown}
		}
		list = append(list, p.Masked().String())
	}
	return &condition{holds: s.holds + " in {" + strings.Join(list, " ") + "}"}
}

// compareText reads texts.
func (s sample) compareText(values []string, match string, fold bool) *condition {
	c := &condition{kind: or}
	if match == "" || match == "str" {
		if one := s.oneOf(values, fold); one != nil {
			return one
		}
	}
	for _, v := range values {
		one := s.like(v, match, fold)
		if one == nil {
			return &condition{kind: unknown}
		}
		c.kids = append(c.kids, one)
	}
	return c
}

// oneOf returns the condition that s is one of several texts.
func (s sample) oneOf(values []string, fold bool) *condition {
	var quoted []string
	for _, v := range values {
		if fold || s.holds == "host" {
			v = strings.ToLower(v)
		}
		q, ok := quote(v)
		if !ok || v == "" || s.holds == "host" && strings.Contains(v, ":") {
			return nil
		}
		quoted = append(quoted, q)
	}
	list := func(subject string) string {
		if fold && !s.fold && subject != "host" {
			subject = lowered(subject)
		}
		if s.list {
			subject = "split(" + subject + `, ",").trim()`
		}
		if len(quoted) == 1 {
			return subject + " == " + quoted[0]
		}
		return subject + " in {" + strings.Join(quoted, " ") + "}"
	}
	c := &condition{holds: list(s.holds)}
	if s.sure != "" {
		if s.sure == askedHost && !fold {
			return c.caseOfHost(values)
		}
		c.sure = list(s.sure)
		c.either = s.holds != "path" && s.holds != "host" // a segment, or the like
	}
	return c
}

// caseOfHost has a condition about hosts hold for sure where upper and lower case are as in the file alone.
func (c *condition) caseOfHost(values []string) *condition {
	var quoted []string
	for _, v := range values {
		q, _ := quote(v)
		quoted = append(quoted, q)
	}
	c.sure = askedHost + " in {" + strings.Join(quoted, " ") + "}"
	return c
}

// like returns the condition that s is like a value; nil: edge does not know it.
func (s sample) like(value, match string, fold bool) *condition {
	write := func(subject, v string) string {
		folded := fold
		if subject == "host" {
			v, folded = lowerUnless(v, match == "reg"), match == "reg"
		}
		quoteFold := folded && !s.fold && match != "reg"
		if quoteFold {
			subject, v = lowered(subject), strings.ToLower(v)
		} else if folded && match != "reg" {
			v = strings.ToLower(v)
		}
		if s.list && (match != "sub" || strings.Contains(v, ",")) {
			subject = "split(" + subject + `, ",").trim()`
		}
		word, text := map[string]string{"beg": "starts_with", "end": "ends_with", "sub": "contains", "reg": "~",
			"dir": "~", "dom": "~"}[match], v
		switch match {
		case "dir":
			text = `(^|/)` + regexp.QuoteMeta(strings.Trim(v, "/")) + `(/|$)`
		case "dom":
			text = `(^|[/?.:])` + regexp.QuoteMeta(strings.Trim(v, "/?.:")) + `([/?.:]|$)`
		case "reg":
			if folded {
				text = "(?i)" + v
			}
		}
		if _, err := regexp.Compile(text); word == "~" && err != nil {
			return ""
		}
		q, ok := quote(text)
		if !ok || word == "" || v == "" {
			return ""
		}
		return subject + " " + word + " " + q
	}
	c := &condition{holds: write(s.holds, value)}
	if c.holds == "" {
		return nil
	}
	if s.sure != "" {
		c.sure = write(s.sure, value)
		c.either = s.holds != "host" && c.sure != "" && match != "str" && match != ""
	}
	if s.holds == "host" && match != "beg" { // HAProxy looks at the port too
		switch {
		case match == "reg":
			return &condition{kind: or, kids: []*condition{{holds: c.holds, sure: c.sure}, {holds: c.sure}}}
		case strings.Contains(value, ":") || strings.Trim(value, "0123456789") == "":
			return nil
		}
	}
	return c
}

// lowered returns a text of the language in lower case.
func lowered(subject string) string {
	if strings.HasPrefix(subject, "(") {
		return "lower" + subject
	}
	return "lower(" + subject + ")"
}

func lowerUnless(v string, as bool) string {
	if as {
		return v
	}
	return strings.ToLower(v)
}

// quote returns a text of the language that stands for s; ok is false where there is none.
func quote(s string) (string, bool) {
	odd := func(r rune) bool { return r < ' ' || r == 0x7f }
	switch {
	case strings.ContainsFunc(s, odd):
		return "", false
	case !strings.Contains(s, `"`) && !strings.HasSuffix(s, `\`):
		return `"` + s + `"`, true
	case !strings.Contains(s, "`"):
		return "`" + s + "`", true
	}
	return "", false
}
