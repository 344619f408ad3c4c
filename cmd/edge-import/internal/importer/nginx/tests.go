package nginx

import (
	"regexp"
	"slices"
	"strings"

	"github.com/edge-proxy/edge/cmd/edge-import/internal/importer/plan"
	"github.com/edge-proxy/edge/internal/config/value"
)

// subjects are variables of nginx, as the language has them.
const subjects = `remote_addr=client.ip; binary_remote_addr=client.ip; realip_remote_addr=socket.ip;
	proxy_protocol_addr=peer.ip; proxy_protocol_port=client.port; proxy_protocol_server_addr=server.ip;
	proxy_protocol_server_port=server.port;
	remote_port=client.port; request_method=method; host=host; http_host=(header.host ?? host); request_uri=target;
	args=query; query_string=query; content_type=header.content-type; content_length=length; scheme=scheme;
	server_port=server.port; server_addr=server.ip; server_protocol=proto; request_id=request.id;
	ssl_server_name=tls.sni; ssl_preread_server_name=tls.sni;
	ssl_protocol=tls.version.replace(" ", "v"); ssl_cipher=tls.cipher;
	ssl_client_s_dn=cert.subject; ssl_client_i_dn=cert.issuer; ssl_client_serial=cert.serial;
	uri=` + comparedPath + `; document_uri=` + comparedPath

// texts are variables that conditions compare as nginx does.
const texts = ` request_method host http_host request_uri args query_string content_type ssl_client_s_dn
	ssl_server_name ssl_preread_server_name request_id uri document_uri `

// sentName matches variables for parts of a request that have a name.
var sentName = plan.Expr(`^(http|arg|cookie)_([a-z0-9_]+)$`)

// partOf returns which part of a request a variable is for, "header", "query" or "cookie", and its name there.
func partOf(name string) (part, key string) {
	m := sentName().FindStringSubmatch(name)
	if m == nil || name == "http_host" {
		return "", ""
	}
	if m[1] == "http" {
		return "header", strings.ReplaceAll(m[2], "_", "-")
	}
	return lookup("arg=query; cookie=cookie", m[1]), m[2]
}

// subject returns a variable as the language has it; "": there is none.
func (im *importer) subject(name string) string {
	switch part, key := partOf(name); {
	case im.lost[name]:
		return ""
	case im.locals[name]:
		return "local." + localName(name)
	case im.maps[name] != nil:
		return im.maps[name].subject(im)
	case part == "header":
		return "join(header." + key + `, ", ")`
	}
	return lookup(subjects, name)
}

var askedName = plan.Expr(`^\$([A-Za-z0-9_]+)(?: (=|!=|~|~\*|!~|!~\*)(?: (.*))?)?$`)

func (im *importer) testOf(c context, text string) *plan.Cond {
	m := askedName().FindStringSubmatch(text)
	if m == nil {
		return plan.Unknown
	}
	name, v := m[1], m[3]
	operator, negative := strings.CutPrefix(m[2], "!")
	if !strings.Contains(operator, "~") {
		v = expand(v, c.at.constants)
	}
	when := plan.Unknown
	if operator != "=" || !hasVariables(v) {
		when = im.asks(c, name, operator, v)
	}
	if negative {
		return plan.Not(when)
	}
	return when
}

// always is the condition that is known without a request.
var always = map[bool]*plan.Cond{true: plan.Always, false: plan.Never}

// oneProtocol matches expressions for a protocol of ALPN that do not reach over two of a list.
var oneProtocol = plan.Expr(`^(?:\\b)?[A-Za-z0-9/-]+(?:\\b)?$`)

// asks returns the condition that a variable compares with a text: "=", "~", in any case "=*", "~*", by its end "*";
// "": it is neither empty nor 0.
func (im *importer) asks(c context, name, operator, v string) *plan.Cond {
	if strings.Contains(" scheme https server_port ", " "+name+" ") {
		var names []string
		for _, l := range c.listens {
			secure := map[bool]string{true: "on"}[l.tls]
			of := map[string]string{"scheme": l.scheme(), "https": secure, "server_port": l.port}
			if holds(of[name], operator, v) {
				names = append(names, l.name)
			}
		}
		if len(names) == 0 || len(names) == len(c.listens) {
			return always[len(names) > 0]
		}
		return plan.CameBy(names...)
	}
	if value, found := c.at.constants[name]; found && !hasVariables(value) {
		return always[holds(value, operator, v)]
	}
	part, key := partOf(name)
	switch {
	case im.lost[name]:
		return plan.Unknown
	case im.locals[name]:
		return compared("local."+localName(name), operator, v)
	case im.maps[name] != nil:
		return im.maps[name].asks(im, c, func(value string) bool { return holds(value, operator, v) })
	case part == "query" || part == "cookie":
		return asksPart(part, key, operator, v)
	case strings.HasSuffix(name, "remote_addr") && otherAddresses(c.server, c.at) != "":
		return plan.Unknown
	case name == "remote_addr":
		return compared("text(client.ip)", operator, v)
	case name == "ssl_preread_alpn_protocols" && strings.Contains(operator, "~") && oneProtocol().MatchString(v):
		return compared("tls.alpn", operator, v)
	case name == "ssl_client_verify" && operator == "=" && v == "SUCCESS":
		return plan.Test("cert.verified")
	case name == "host" && operator == "=":
		if host, wrong, _ := value.ParseHost(v, ""); wrong == "" && host == v && !strings.Contains(host, "*") {
			return plan.HostIs(host)
		}
	case lookup("uri=y; document_uri=y", name) != "" && operator != "" && operator != "=":
		return pathMatches(v, operator == "~*")
	}
	if part == "" && !slices.Contains(strings.Fields(texts), name) {
		return plan.Unknown
	}
	return compared(im.subject(name), operator, v)
}

// among is the condition that a value is one of some texts.
func among(subject string, list []string) *plan.Cond {
	if len(list) == 1 {
		return plan.Test(subject + ` == "` + list[0] + `"`)
	}
	return plan.Test(subject + ` in {"` + strings.Join(list, `" "`) + `"}`)
}

// compared is the condition that a value of the language compares with a text.
func compared(subject, operator, v string) *plan.Cond {
	switch operator {
	case "":
		return plan.Test(subject + ` not in {"" "0"}`)
	case "=":
		return plan.Compare(subject, "==", v)
	case "=*", "*": // in any case, of letters of ASCII
		if v == "" && subject == "tls.sni" {
			return plan.Not(plan.Test("has(tls.sni)"))
		} else if subject != "tls.sni" { // that is in lower case
			subject = "lower(" + subject + ")"
		}
		return plan.Compare(subject, map[string]string{"=*": "==", "*": "ends_with"}[operator], strings.ToLower(v))
	case "~*":
		v = "(?i)" + v
	}
	if _, err := regexp.Compile(v); err != nil {
		return plan.Unknown
	}
	return plan.Compare(subject, "~", v)
}

// holds reports whether a test of a value that the file says holds.
func holds(value, operator, v string) bool {
	switch operator {
	case "":
		return value != "" && value != "0"
	case "=", "=*":
		return value == v || operator == "=*" && strings.EqualFold(value, v)
	case "*":
		return strings.HasSuffix(strings.ToLower(value), strings.ToLower(v))
	case "~*":
		v = "(?i)" + v
	}
	re, err := regexp.Compile(v)
	return err == nil && re.MatchString(value)
}

// asksPart is asks for an argument or a cookie: the first one of that name in any case, as it came, which is match.1.
func asksPart(part, name, operator, v string) *plan.Cond {
	of := `join(header.cookie, ";") ~ "(?i)(?:^|;) *` + name + ` *= *([^;]*)"`
	if part == "query" {
		of = `query ~ "(?i)(?:^|&)` + name + `=([^&]*)"`
	}
	if operator != "" && v == "" { // or it is missing
		return plan.Not(plan.Test(of + ` and match.1 != ""`))
	}
	if strings.Contains(operator, "~") && holds("", operator, v) {
		return plan.Unknown
	}
	last := compared("match.1", operator, v)
	if last == plan.Unknown {
		return last
	}
	return plan.Test(of + " and " + last.String())
}

// findLocals finds the variables that are no constants: set makes them of a request, inside of if, or twice.
func (im *importer) findLocals(block *directive, conditional bool) {
	var names []string
	for _, d := range block.block {
		if d.name == "set" && len(d.args) == 2 {
			name := nameOf(d.args[0])
			if conditional || slices.Contains(names, name) {
				im.locals[name] = true
			}
			names = append(names, name)
		}
		im.findLocals(d, conditional || d.name == "if")
	}
}
