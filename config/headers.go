package config

import (
	"regexp"
	"slices"
	"strings"

	"github.com/edge-proxy/edge/config/schema"
	"github.com/edge-proxy/edge/config/syntax"
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
func parseHeadersValue(d *schema.Decoder, _ *schema.Key, n *syntax.Node) (any, bool) {
	if n.Kind != syntax.KindTable {
		d.WrongKind(n, "a table")
		return nil, false
	}
	var all []Header
	right := true
	seen := make(map[string]*syntax.Node)
	for _, c := range n.Children {
		lower := strings.ToLower(c.Key)
		if old := seen[lower]; old != nil {
			d.Report.Conflictf(c.Head, old.Head, "first at "+old.Head.RelativeTo(c.Head),
				"header %q is set twice", c.Key)
			right = false
			continue
		}
		seen[lower] = c
		if !header(d, c, lower) {
			right = false
			continue
		}
		all = append(all, Header{Name: c.Key, Value: c.Text, Pos: c.Head.Pos()})
	}
	return all, right
}

func header(d *schema.Decoder, n *syntax.Node, lower string) bool {
	if !headerName(n.Key) {
		d.Report.Errorf(n.Name, "", "%s is not the name of a header", syntax.Quote(n.Key))
		return false
	}
	for _, f := range framingHeaders {
		if lower == f {
			d.Report.Errorf(n.Name, "", "header %q is written by the proxy itself", n.Key)
			return false
		}
	}
	if n.Kind == syntax.KindString && n.Text == "" {
		return true
	}
	if _, ok := d.String(n, "a string"); !ok {
		return false
	}
	if lower == "host" && !variable.MatchString(n.Text) {
		_, right := parseHostValue(d, nil, n)
		return right
	}
	for _, v := range variable.FindAllString(n.Text, -1) {
		if name := strings.Trim(v, "{}"); !slices.Contains(headerVariables, name) {
			d.Report.Errorf(n.Value, syntax.DidYouMean(name, headerVariables),
				"the variable %q is not supported by this version", v)
			return false
		}
	}
	if strings.TrimSpace(n.Text) != n.Text {
		d.Report.Errorf(n.Value, "", "the value of a header neither begins nor ends with a blank")
		return false
	}
	return true
}

// headerName tells whether s is a token of RFC 9110 §5.6.2.
func headerName(s string) bool {
	for _, c := range []byte(s) {
		if !syntax.IsLetterOrDigit(c) && strings.IndexByte("!#$%&'*+-.^_`|~", c) < 0 {
			return false
		}
	}
	return s != ""
}
