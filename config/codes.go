package config

import "github.com/edge-proxy/edge/config/schema"

// The codes of warnings and notes. They are stable: files name them in allow.
const (
	codeNoListener     = "no-listener"
	codeNoRoute        = "no-route"
	codeShadowedRoute  = "shadowed-route"
	codeUnusedUpstream = "unused-upstream"
	codeTLSAuto        = "tls-auto"
	codeWeakTLS        = "weak-tls"
	codeCertExpired    = "certificate-expired"
	codeCertExpires    = "certificate-expires"
	codeCertEarly      = "certificate-not-yet-valid"
	codeNoStaple       = "no-staple"
	codeUnguardedRoute = "unguarded-route"
)

// codes lists all codes with what they mean, for the reference page and for allow.
var codes = []schema.Code{
	{Name: codeNoListener,
		Doc: "The file names no address to listen on, so edge listens on `:8080`. With no route either, it " +
			"answers with the hello page."},
	{Name: codeNoRoute,
		Doc: "There is a listener, but neither a route nor an upstream named `default`: every answer is 404."},
	{Name: codeShadowedRoute,
		Doc: "Two routes have the same pattern and conditions, and not both a weight: the first one wins, " +
			"the other can never match."},
	{Name: codeUnusedUpstream,
		Doc: "No route goes to an upstream that has a table of its own, and it is not `default`."},
	{Name: schema.CodeIgnoredKey,
		Doc: "The key means something to another server and nothing to this one, or nothing yet. It is a " +
			"note, not a warning."},
	{Name: schema.CodeNoEffect,
		Doc: "The key will have a meaning and has none yet, or it has none where it stands: what it asks for " +
			"does not happen."},
	{Name: codeTLSAuto,
		Doc: "`[network]` with a certificate takes TLS and plain HTTP on one port. `tls = true` takes TLS " +
			"alone, `tls = \"auto\"` says that it is meant. Or: plain requests there are answered 421 or redirected, " +
			"because of another key. It is a note, not a warning."},
	{Name: codeWeakTLS,
		Doc: "A version or cipher suite is known to be weak, or a backend's certificate is not verified."},
	{Name: codeCertExpired,
		Doc: "The certificate has expired: clients refuse it."},
	{Name: codeCertExpires,
		Doc: "The certificate expires within 14 days, and more than three quarters of its life are over."},
	{Name: codeCertEarly,
		Doc: "The certificate is not valid yet: clients refuse it."},
	{Name: codeNoStaple,
		Doc: "The OCSP response is not stapled: it is too old, or about another certificate."},
	{Name: codeUnguardedRoute,
		Doc: "A route, or the upstream `default`, is reached by a listener that demands certificates of " +
			"clients and by another one that does not. `client_cert` and `listener` of a route say which is meant."},
	{Name: schema.CodeEmptyInclude,
		Doc: "No file matches a pattern of `include`. It is a note, not a warning."},
}

func codeNames() []string {
	var names []string
	for _, c := range codes {
		names = append(names, c.Name)
	}
	return names
}
