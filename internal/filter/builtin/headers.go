package builtin

import (
	"slices"
	"strings"

	"github.com/edge-proxy/edge/internal/plugin"
	"github.com/edge-proxy/edge/message"
	"github.com/edge-proxy/edge/proxy"
)

// SecurityHeaders is the table of a filter of the type "security_headers". "off" for a field: it is not sent.
//
// A preset has the fields, a key changes one of them, and "off" leaves it out:
//
//	field                          basic                            strict
//	Strict-Transport-Security      max-age=31536000                 max-age=63072000; includeSubDomains
//	X-Content-Type-Options         nosniff                          nosniff
//	Referrer-Policy                strict-origin-when-cross-origin  no-referrer
//	X-Frame-Options                SAMEORIGIN                       DENY
//	Content-Security-Policy        none                             default-src 'self'; …; frame-ancestors 'none'
//	Permissions-Policy             none                             no camera, microphone, location, payment, USB, …
//	Cross-Origin-Opener-Policy     none                             same-origin
//	Cross-Origin-Embedder-Policy   none                             require-corp
//	Cross-Origin-Resource-Policy   none                             same-origin
//
// basic breaks next to no site. strict is for a site that was made for it: it has no inline scripts and nothing from
// other sites. No preset asks browsers to preload the domain, which cannot be taken back for months.
//
// What the backend says stands, unless override is set. The answers of the proxy itself get the fields too.
// Strict-Transport-Security is sent on secured connections only, as RFC 6797 §7.2 demands: those to the proxy, or to a
// trusted proxy in front of it.
//
// It is not a filter for fields in general: the key headers of a route and of [defaults] is.
//
// The filter is immutable and runs on the reactor. An answer costs one walk over its fields, and no allocation.
type SecurityHeaders struct {
	Preset   string `edge:"preset" doc:"Set of fields that other keys change." default:"basic" enum:"basic strict none"`
	Override bool   `edge:"override" doc:"Replace fields that the backend sends, instead of keeping them."`
	HSTS     string `edge:"hsts" doc:"Value of Strict-Transport-Security on secured connections." example:"max-age=600"`
	CSP      string `edge:"csp" doc:"Value of the field Content-Security-Policy." example:"frame-ancestors 'none'"`

	CSPReportOnly string `edge:"csp_report_only" doc:"Value of Content-Security-Policy-Report-Only, to try a policy."`

	ContentType string `edge:"content_type_options" doc:"Value of the field X-Content-Type-Options." example:"nosniff"`
	Referrer    string `edge:"referrer_policy" doc:"Value of the field Referrer-Policy." example:"same-origin"`
	Frame       string `edge:"frame_options" doc:"Value of the field X-Frame-Options." example:"DENY"`
	Permissions string `edge:"permissions_policy" doc:"Value of the field Permissions-Policy." example:"camera=()"`
	Opener      string `edge:"opener_policy" doc:"Value of the field Cross-Origin-Opener-Policy." example:"same-origin"`

	Embedder string `edge:"embedder_policy" doc:"Value of field Cross-Origin-Embedder-Policy." example:"credentialless"`

	Resource string `edge:"resource_policy" doc:"Value of the field Cross-Origin-Resource-Policy." example:"same-site"`
}

func init() {
	plugin.Register(plugin.Filters, "security_headers",
		"Sets the fields of an answer that make browsers careful.", NewSecurityHeaders)
}

// The names of the fields, in the order of a row.
var headerNames = [...]string{
	"Strict-Transport-Security", "Content-Security-Policy", "Content-Security-Policy-Report-Only",
	"X-Content-Type-Options", "Referrer-Policy", "X-Frame-Options", "Permissions-Policy",
	"Cross-Origin-Opener-Policy", "Cross-Origin-Embedder-Policy", "Cross-Origin-Resource-Policy",
}

// headerRow is a value for each of names, "" for a field that is not sent.
type headerRow [len(headerNames)]string

var headerPresets = map[string]headerRow{
	"none": {},
	"basic": {
		"max-age=31536000", "", "", "nosniff", "strict-origin-when-cross-origin", "SAMEORIGIN",
	},
	"strict": {
		"max-age=63072000; includeSubDomains",
		"default-src 'self'; base-uri 'self'; form-action 'self'; frame-ancestors 'none'; object-src 'none'",
		"", "nosniff", "no-referrer", "DENY",
		"accelerometer=(), camera=(), display-capture=(), geolocation=(), gyroscope=(), magnetometer=(), " +
			"microphone=(), midi=(), payment=(), usb=()",
		"same-origin", "require-corp", "same-origin",
	},
}

// headerKeys are the keys of the fields.
var headerKeys = headerRow{
	"hsts", "csp", "csp_report_only", "content_type_options", "referrer_policy", "frame_options", "permissions_policy",
	"opener_policy", "embedder_policy", "resource_policy",
}

func (c *SecurityHeaders) values() headerRow {
	return headerRow{
		c.HSTS, c.CSP, c.CSPReportOnly, c.ContentType, c.Referrer, c.Frame, c.Permissions, c.Opener, c.Embedder,
		c.Resource,
	}
}

// headerOff is what a key says for a field that is not to be sent.
const headerOff = "off"

// headerWords are the values that browsers know of a field; others they pass over.
var headerWords = map[string][]string{
	"content_type_options": {"nosniff"},
	"frame_options":        {"DENY", "SAMEORIGIN"},
	"resource_policy":      {"same-origin", "same-site", "cross-origin"},
}

// Check finds values that browsers would pass over.
func (c *SecurityHeaders) Check(r *plugin.Report) {
	for i, value := range c.values() {
		at, known := r.At(headerKeys[i]), headerWords[headerKeys[i]]
		same := func(word string) bool { return strings.EqualFold(word, value) }
		switch {
		case value == "" || value == headerOff:
		case !message.ValidValue(value):
			at.Errorf("", "%q is not a value of a field", value)
		case known != nil && !slices.ContainsFunc(known, same):
			at.Errorf("", "%q is none of %s, so that browsers pass it over", value, strings.Join(known, ", "))
		case headerKeys[i] == "hsts" && !strings.Contains(strings.ToLower(value), "max-age="):
			at.Errorf("", "%q has no max-age, so that browsers pass it over", value)
		}
	}
}

// headerPolicy is the fields of a SecurityHeaders. Immutable.
type headerPolicy struct {
	fields   []headerField
	bits     [message.NameCount]uint16 // of the fields that have a number: their bit among fields
	override bool
	set      *plugin.Counter
}

// headerField is a field that is set.
type headerField struct {
	name, value string
	id          message.Name
	secured     bool // only on secured connections
}

// NewSecurityHeaders makes the filter.
func NewSecurityHeaders(c *SecurityHeaders, b *plugin.Build) (*proxy.Filter, error) {
	p := &headerPolicy{override: c.Override, set: b.Counter("set")}
	values := headerPresets[c.Preset]
	for i, value := range c.values() {
		if value != "" {
			values[i] = value
		}
		if values[i] == "" || values[i] == headerOff {
			continue
		}
		f := headerField{headerNames[i], values[i], message.Lookup(headerNames[i]), i == 0}
		if f.id != message.Other {
			p.bits[f.id] = 1 << len(p.fields)
		}
		p.fields = append(p.fields, f)
	}
	return &proxy.Filter{Name: "security_headers", Response: p.response}, nil
}

func (p *headerPolicy) response(x *proxy.Exchange) proxy.Verdict {
	h := &x.Response
	var has uint16
	if !p.override {
		has = p.present(h)
	}
	added := false
	for i := range p.fields {
		f := &p.fields[i]
		switch {
		case has&(1<<i) != 0 || f.secured && !x.Request.HTTPS:
			continue
		case p.override && f.id != message.Other:
			h.DelID(f.id)
		case p.override:
			h.Del(f.name)
		}
		h.AddID(f.id, f.name, f.value)
		added = true
	}
	if added {
		p.set.Add(x)
	}
	return proxy.Next
}

// present returns the bits of the fields that h has.
func (p *headerPolicy) present(h *message.Head) (has uint16) {
	for i := range h.Fields {
		if f := &h.Fields[i]; !f.Dropped() {
			has |= p.bits[f.ID]
		}
	}
	for i := range p.fields {
		if f := &p.fields[i]; f.id == message.Other && h.Find(f.name) >= 0 {
			has |= 1 << i
		}
	}
	return has
}
