package acme

import (
	"embed"
	"encoding/base64"

	"github.com/edge-proxy/edge/config"
	"github.com/edge-proxy/edge/config/schema"
	"github.com/edge-proxy/edge/config/syntax"
	"github.com/edge-proxy/edge/config/value"
)

//go:embed acme.go
var source embed.FS

func keyTypes() *schema.Tags {
	return &schema.Tags{Comments: schema.Comments(source), Kinds: map[string]schema.FieldType{
		"eab_key": {Type: typeKey, Plain: true}, "resolver": {Type: value.TypeResolver, Plain: true},
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
