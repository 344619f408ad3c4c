package config

import (
	"regexp"
	"slices"
	"strings"
)

// framingHeaders are written by the proxy itself: whoever could set them could smuggle requests.
var framingHeaders = []string{
	"connection", "content-length", "keep-alive", "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade",
}

// variable is what is expanded in a header's value, or will be by a later version.
var variable = regexp.MustCompile(`\{[a-z][a-z0-9_]*\}`)

// headerVariables are those that have a meaning: facts of the client's connection.
var headerVariables = []string{
	"tls_version", "tls_cipher", "tls_group", "sni", "alpn", "client_cert_subject", "client_cert_issuer",
	"client_cert_serial", "client_cert_sans", "client_cert_sha256", "client_cert_verified",
}

// parseHeadersValue reads { Name = "value" }; an empty value removes the field.
func parseHeadersValue(d *decoder, _ *key, n *node) (any, bool) {
	if n.kind != kindTable {
		d.wrongKind(n, "a table")
		return nil, false
	}
	var all []Header
	right := true
	seen := make(map[string]*node)
	for _, c := range n.children {
		lower := strings.ToLower(c.key)
		if old := seen[lower]; old != nil {
			d.rep.conflict(c.head, old.head, "first at "+old.head.seenFrom(c.head), "header %q is set twice", c.key)
			right = false
			continue
		}
		seen[lower] = c
		if !d.header(c, lower) {
			right = false
			continue
		}
		all = append(all, Header{Name: c.key, Value: c.text, Pos: c.head.pos()})
	}
	return all, right
}

func (d *decoder) header(n *node, lower string) bool {
	if !headerName(n.key) {
		d.rep.error(n.name, "", "%s is not the name of a header", quote(n.key))
		return false
	}
	for _, f := range framingHeaders {
		if lower == f {
			d.rep.error(n.name, "", "header %q is written by the proxy itself", n.key)
			return false
		}
	}
	if n.kind == kindString && n.text == "" {
		return true
	}
	if _, ok := stringOf(d, n, "a string"); !ok {
		return false
	}
	if lower == "host" && !variable.MatchString(n.text) {
		_, right := parseHostValue(d, nil, n)
		return right
	}
	for _, v := range variable.FindAllString(n.text, -1) {
		if name := strings.Trim(v, "{}"); !slices.Contains(headerVariables, name) {
			d.rep.error(n.value, didYouMean(name, headerVariables),
				"the variable %q is not supported by this version", v)
			return false
		}
	}
	if strings.TrimSpace(n.text) != n.text {
		d.rep.error(n.value, "", "the value of a header neither begins nor ends with a blank")
		return false
	}
	return true
}

// headerName tells whether s is a token of RFC 9110 §5.6.2.
func headerName(s string) bool {
	for _, c := range []byte(s) {
		if !letterOrDigit(c) && strings.IndexByte("!#$%&'*+-.^_`|~", c) < 0 {
			return false
		}
	}
	return s != ""
}
