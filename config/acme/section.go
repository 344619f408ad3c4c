package acme

import (
	"embed"
	"encoding/base64"
	"net/url"

	"github.com/edge-proxy/edge/config"
	"github.com/edge-proxy/edge/config/plugins"
	"github.com/edge-proxy/edge/config/schema"
	"github.com/edge-proxy/edge/config/syntax"
	"github.com/edge-proxy/edge/config/value"
)

//go:embed acme.go
var source embed.FS

func keyTypes() *schema.Tags {
	return &schema.Tags{Comments: schema.Comments(source), Kinds: map[string]schema.FieldType{
		"eab_key": {Type: typeKey, Plain: true}, "resolver": {Type: value.TypeResolver, Plain: true},
		"rate": {Type: plugins.TypeRate, Plain: true}, "ask": {Type: typeAsk, Plain: true},
	}}
}

func init() {
	config.Register[entry](keyTypes, schema.Section{
		Path: "acme", Resolve: resolve,
		Doc: "[Certificates by ACME](acme.md), from Let's Encrypt and others: ordered when the process starts and " +
			"renewed in time. Without the section, and without `cert = \"acme\"`, none are.",
		Codes: []schema.Code{
			{Name: codeNoPort, Doc: "No listener is at the port that an authority asks for a proof: certificates of " +
				"`[acme]` will not come, unless another server leads there."},
			{Name: codeNoHost, Doc: "No certificate is ordered, since no host is known for one."},
		},
	})
	config.RegisterCheck(check)
}

var typeAsk = schema.Type{Name: "URL", Parse: parseAsk}

// parseAsk does not repeat the text, which may have a key.
func parseAsk(d *schema.Decoder, _ *schema.Key, n *syntax.Node) (any, bool) {
	text, right := d.String(n, "a URL")
	u, err := url.Parse(text)
	if right && (err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "") {
		d.Report.Errorf(n.Value, `write one such as "http://127.0.0.1:9000/may"`, "this is no URL of http or https")
		return nil, false
	}
	return text, right
}

var typeKey = schema.Type{Name: "string", Parse: parseKey}

// parseKey does not repeat the text, which is a secret.
func parseKey(d *schema.Decoder, _ *schema.Key, n *syntax.Node) (any, bool) {
	text, right := d.String(n, "a key in base64url")
	if !right {
		return nil, false
	}
	if _, err := base64.RawURLEncoding.DecodeString(text); err != nil {
		d.Report.Errorf(n.Value, `it has letters, digits, "-" and "_" alone`, "this is no key in base64url")
		return nil, false
	}
	return text, true
}
