package value

import (
	"cmp"
	"errors"
	"slices"
	"strings"
	"sync"

	"github.com/edge-proxy/edge/internal/config/syntax"
	"github.com/edge-proxy/edge/lang"
)

// CodeForeignVariable is the code of the warnings about variables of other programs.
const CodeForeignVariable = "foreign-variable"

// Variables are those that a value may have.
type Variables struct {
	names []string
	list  string // the hint that tells of all of them
}

// headerVariables are the variables of this version: facts of the request and of the client's connection.
var headerVariables = Variables{[]string{
	"request_id", "trace_id", "client_ip",
	"tls_version", "tls_cipher", "tls_group", "sni", "alpn", "client_cert_subject", "client_cert_issuer",
	"client_cert_serial", "client_cert_sans", "client_cert_sha256", "client_cert_verified",
}, `docs/configuration.md lists them: "Variables of fields"`}

// TemplateVariables returns the variables of redirects and rewrites.
func TemplateVariables() Variables {
	names := []string{"path", "rest", "query", "host", "scheme", "method"}
	return Variables{names, "there are {" + strings.Join(names, "}, {") + "}"}
}

// Names returns their names.
func (v Variables) Names() []string { return v.names }

// foreignVariable is a variable as nginx, HAProxy, Apache, Caddy or Envoy write it.
var foreignVariable = syntax.Expr(`\$([A-Za-z_]\w*|[0-9]\b)|%\[([^\]]*)\]|%\{([^}]*)\}[a-z]?|` +
	`\{((?:http|re|env|system|vars|file|time)\.[^}]*)\}|%([A-Z][A-Z_]{2,}(?:\([^)]*\))?)%`)

// sameVariables are variables of other programs, in lower case, by those that stand for the same here.
var sameVariables = []struct{ here, words string }{
	{"path", "request_uri uri document_uri path http.request.uri http.request.uri.path req(:path)"},
	{"rest", "1"},
	{"query", "args query_string http.request.uri.query query"},
	{"host",
		"host http_host server_name hdr(host) req.hdr(host) http.request.host http.request.hostport req(:authority)"},
	{"scheme", "scheme request_scheme http.request.scheme req(:scheme)"},
	{"method", "request_method method http.request.method req(:method)"},
	{"request_id", "request_id unique_id unique-id http.request.uuid req(x-request-id) stream_id"},
	{"client_ip", "remote_addr remote_host remote_ip src http.request.remote.host downstream_remote_address " +
		"downstream_remote_address_without_port realip_remote_addr binary_remote_addr"},
	{"tls_version", "ssl_protocol ssl_fc_protocol http.request.tls.version downstream_tls_version"},
	{"tls_cipher", "ssl_cipher ssl_fc_cipher http.request.tls.cipher_suite downstream_tls_cipher"},
	{"tls_group", "ssl_curve"},
	{"sni", "ssl_server_name ssl_fc_sni http.request.tls.server_name requested_server_name ssl_tls_sni"},
	{"alpn", "ssl_alpn_protocol ssl_fc_alpn http.request.tls.proto"},
	{"client_cert_subject", "ssl_client_s_dn ssl_c_s_dn http.request.tls.client.subject downstream_peer_subject"},
	{"client_cert_issuer", "ssl_client_i_dn ssl_c_i_dn http.request.tls.client.issuer downstream_peer_issuer"},
	{"client_cert_serial", "ssl_client_serial ssl_c_serial http.request.tls.client.serial downstream_peer_serial"},
	{"client_cert_sha256", "ssl_client_fingerprint ssl_c_sha1 http.request.tls.client.fingerprint " +
		"downstream_peer_fingerprint_256"},
	{"client_cert_verified", "ssl_client_verify ssl_c_verify"},
}

// variableHint says what is written for a variable of another program where ours are known.
func variableHint(name string, ours Variables) string {
	name = strings.ToLower(name)
	for _, row := range sameVariables {
		if !slices.Contains(strings.Fields(row.words), name) {
			continue
		}
		switch {
		case slices.Contains(ours.names, row.here):
			return "write {" + row.here + "}"
		case row.here == "client_ip":
			return "leave it out: X-Forwarded-For tells backends the address of the client"
		case row.here == "host" || row.here == "scheme":
			return "leave it out: Host and the X-Forwarded-* fields tell backends what the client asked for"
		}
	}
	switch {
	case name == "proxy_add_x_forwarded_for":
		return "leave it out: X-Forwarded-For tells backends the address of the client"
	case strings.Contains(name, "upgrade"):
		return "leave it out: WebSockets need no fields"
	case name != "" && strings.Trim(name, "0123456789") == "" || strings.HasPrefix(name, "re."):
		return "patterns have no groups; {path} is the path, and strip_prefix and add_prefix change its beginning"
	}
	return ours.list
}

// foreignMax bounds the warnings about one text: each looks for its place.
const foreignMax = 20

// plain is the language without the names of a program.
var plain = sync.OnceValue(func() *lang.Scope {
	s, err := lang.NewScope(lang.Names{})
	if err != nil {
		panic(err)
	}
	return s
})

// languageHint says what the language has for a variable of another program, or "".
func languageHint(text string) string {
	_, err := plain().Template("{"+text+"}", lang.Always)
	wrong := (*lang.Error)(nil)
	if !errors.As(err, &wrong) {
		return ""
	}
	here, found := strings.CutPrefix(wrong.Hint, "here it is called ")
	switch {
	case !found:
		return ""
	case strings.Contains(here, " "):
		return wrong.Hint
	}
	return "write {" + here + "}"
}

// WarnForeignVariables warns of variables of other programs in the string n, which is sent as it stands. What ${…}
// stands for is left alone: it may be a password with a dollar.
func WarnForeignVariables(rep *syntax.Report, n *syntax.Node, ours Variables) {
	if n == nil || n.Expanded {
		return
	}
	for _, at := range foreignVariable().FindAllStringSubmatchIndex(n.Text, foreignMax) {
		name, isEnv := "", at[2] >= 0
		if isEnv && strings.Contains(n.Text[:at[0]], "re_replace(") {
			continue // a group of what it matches
		}
		for i := 2; i < len(at); i += 2 {
			if at[i] >= 0 {
				name += n.Text[at[i]:at[i+1]]
			}
		}
		hint := variableHint(name, ours)
		if hint == ours.list {
			hint = cmp.Or(languageHint(n.Text[at[0]:at[1]]), hint)
		}
		if isEnv && name == strings.ToUpper(name) && strings.Trim(name, "0123456789") != "" {
			hint = "the environment variable is written ${" + name + "}"
		}
		rep.Warnf(CodeForeignVariable, n.Part(at[0], at[1]), hint, "%s is no variable here: it is sent as it stands",
			n.Text[at[0]:at[1]])
	}
}

// patternVariable is a part of a path as Express and others write parameters.
var patternVariable = syntax.Expr(`^(.*)/(:[A-Za-z_]\w*)`)

// WarnPatternVariables warns of parameters in a path that is compared as it stands.
func WarnPatternVariables(rep *syntax.Report, path string, at syntax.Span) {
	if m := patternVariable().FindStringSubmatch(path); m != nil {
		rep.Warnf(CodeForeignVariable, at, openEnd(m[1]), "%q stands for itself: a pattern has no parameters", m[2])
	}
}
