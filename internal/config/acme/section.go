package acme

import (
	"embed"
	"encoding/base64"
	"net/url"

	"github.com/edge-proxy/edge/internal/config"
	"github.com/edge-proxy/edge/internal/config/plugins"
	"github.com/edge-proxy/edge/internal/config/schema"
	"github.com/edge-proxy/edge/internal/config/value"
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

var typeAsk = schema.Type{Name: "URL", Parse: schema.TextOf("a URL", askOf)}

// askOf does not repeat the text, which may have a key.
func askOf(text string) (ask, wrong, hint string) {
	if u, err := url.Parse(text); err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return text, "this is no URL of http or https", `write one such as "http://127.0.0.1:9000/may"`
	}
	return text, "", ""
}

var typeKey = schema.Type{Name: "string", Parse: schema.TextOf("a key in base64url", keyOf)}

// keyOf does not repeat the text, which is a secret.
func keyOf(text string) (key, wrong, hint string) {
	if _, err := base64.RawURLEncoding.DecodeString(text); err != nil {
		return text, "this is no key in base64url", `it has letters, digits, "-" and "_" alone`
	}
	return text, "", ""
}
