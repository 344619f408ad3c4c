package config

import (
	"crypto/tls"
	"time"

	"github.com/edge-proxy/edge/config/schema"
)

func certificatesSection() *schema.Section {
	return &schema.Section{
		Path: "certificates", Shape: schema.List,
		Doc: "Certificates for all listeners with TLS, found by the name that a client asks for: the exact name, " +
			"then `*.parent`. A listener's own certificate comes before them; a client that asks for an unknown " +
			"name gets the listener's own, else the first of these. Of several for one name, the first that the " +
			"client can verify. The files are watched: a pair that changed is used for new connections within " +
			"seconds, and one that is wrong changes nothing. A path that is not found from the working directory " +
			"is looked for beside the file that names it.",
		New: schema.Make[certificateEntry],
		Keys: append([]*schema.Key{
			{Path: "hosts", Type: schema.Strings, Example: `["example.org", "*.example.org"]`,
				Into: schema.Into(func(e *certificateEntry) *[]string { return &e.Hosts }),
				Doc:  "Names it is for. Without them those that the certificate says itself."},
		}, pairKeys()...),
	}
}

// pairKeys name the files of a certificate, of its own table or of a listener.
func pairKeys() []*schema.Key {
	return []*schema.Key{
		{Path: "cert", Type: schema.String, Example: `"/etc/edge/tls/example.pem"`,
			Aliases: []string{".ssl_certificate"},
			Into:    schema.Into(func(e paired) *string { return &e.pair().Cert }),
			Doc: "The certificate in PEM, followed by those of its authorities. `internal`: one of an authority that " +
				"this machine makes for itself, for development."},
		{Path: "key", Type: schema.String, Example: `"/etc/edge/tls/example.key"`,
			Aliases: []string{".ssl_certificate_key"},
			Into:    schema.Into(func(e paired) *string { return &e.pair().Key }),
			Doc: "Its private key in PEM, without a password. Without it, the key is " +
				"in the file of the certificate."},
		{Path: "ocsp", Type: schema.String, Example: `"/etc/edge/tls/example.ocsp"`,
			Into: schema.Into(func(e paired) *string { return &e.pair().OCSP }),
			Doc: "A response of its authority in DER, which is stapled as long as it is good and in time. Whoever " +
				"fetches it writes it here again."},
	}
}

func tlsSection() *schema.Section {
	return &schema.Section{
		Path: "tls",
		Doc:  "TLS of all listeners. Most of these keys may stand in a listener too, and hold for that one then.",
		New:  schema.Make[tlsEntry],
		Keys: append(tlsKeys(),
			&schema.Key{Path: "ticket_rotation", Type: schema.Duration, Default: `"12h"`, Min: "1m",
				Max: "168h", Example: `"1h"`,
				Into: schema.Into(func(e *tlsEntry) *time.Duration { return &e.TLS.TicketRotation }),
				Doc: "How often the keys of session tickets change. The last three are known, so a session can be " +
					"resumed for two to three times that long. A reload keeps them."},
			&schema.Key{Path: "handshake_timeout", Type: schema.Duration, Default: `"10s"`, Min: "100ms",
				Max: "10m", Example: `"5s"`,
				Restart: true, Into: schema.Into(func(e *tlsEntry) *time.Duration { return &e.TLS.HandshakeTimeout }),
				Doc: "How long a handshake may take."},
			&schema.Key{Path: "handshakes", Type: schema.Int, Default: `"auto"`, Min: "1", Max: "1000000",
				Words:   []string{"auto"},
				Example: "1000", Restart: true, Into: schema.Into(func(e *tlsEntry) *int { return &e.TLS.Handshakes }),
				Doc: "Handshakes in progress at once; with one more, the one that has stood still for longest gives " +
					"way. `auto`: 10000, or one for each 128 KiB of `memory_limit` where that is less."},
		),
	}
}

// secured is what has TLS options: [tls], whose values stand for all listeners, and a listener.
type secured interface {
	schema.Target
	options() *TLSOptions
}

// tlsKeys are the keys that a listener and [tls] share.
func tlsKeys() []*schema.Key {
	return []*schema.Key{
		{Path: "min_version", Type: typeVersion, Default: `"1.2"`, Enum: versionNames(), Synonyms: versionSynonyms,
			Example: `"1.3"`, Into: schema.Into(func(e secured) *uint16 { return &e.options().MinVersion }),
			Doc: "The oldest version of TLS that is spoken."},
		{Path: "curves", Type: typeCurves, Default: `["X25519MLKEM768", "X25519", "P-256", "P-384", "P-521"]`,
			Enum: curveNames(), Example: `["X25519MLKEM768", "P-256"]`,
			Into: schema.Into(func(e secured) *[]tls.CurveID { return &e.options().Curves }),
			Doc: "The key exchanges that are offered. The hybrid with ML-KEM withstands quantum computers. Which of " +
				"those that both sides know is used is not for their order here to say: the best one."},
		{Path: "ciphers", Type: typeCiphers, Example: `["TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256"]`,
			Into: schema.Into(func(e secured) *[]uint16 { return &e.options().Ciphers }),
			Doc: "The cipher suites of TLS 1.2, by the names of IANA or OpenSSL; none: a safe choice. Those of TLS " +
				"1.3 cannot be chosen. Which one is used does not depend on their order."},
		{Path: "client_auth", Type: schema.Choice, Enum: []string{"none", "request", "require"}, Example: `"request"`,
			Into: schema.Into(func(e secured) *string { return (*string)(&e.options().ClientAuth) }),
			Doc: "Whether clients show a certificate. `request`: they are asked, and one that comes is verified when " +
				"there is a `client_ca`. `require`: the handshake fails without, and a request on a connection that " +
				"was made otherwise is answered 421. With a `client_ca` it is `require`, otherwise `none`."},
		{Path: "client_ca", Type: schema.Optional, Example: `"/etc/edge/tls/clients.pem"`,
			Into: schema.Into(func(e secured) *string { return &e.options().ClientCA }),
			Doc: "The authorities of client certificates in PEM. Empty: none. The file is watched, and so are those " +
				"of `ca`, `cert` and `key` of upstreams, and `ca_file`: new connections go by what they say now."},
		{Path: "strict_sni", Type: schema.Bool, Default: "false", Example: "true",
			Into: schema.Into(func(e secured) *bool { return &e.options().StrictSNI }),
			Doc:  "A request for another host than the handshake named is answered 421, and so is a plain one."},
		{Path: "session_tickets", Type: schema.Bool, Default: "true", Example: "false",
			Into: schema.Into(func(e secured) *bool { return &e.options().SessionTickets }),
			Doc:  "Clients may resume a session without a whole handshake."},
		{Path: "hsts.max_age", Type: schema.Duration, Default: `"off"`, Min: "0s", Max: "36500d",
			Words:   []string{"off"},
			Example: `"365d"`,
			Into:    schema.Into(func(e secured) *time.Duration { return &e.options().HSTS.MaxAge }),
			Doc: "`Strict-Transport-Security` for answers over TLS: how long browsers use nothing but HTTPS for the " +
				"host. 0: they forget it."},
		{Path: "hsts.subdomains", Type: schema.Bool, Example: "true",
			Into: schema.Into(func(e secured) *bool { return &e.options().HSTS.Subdomains }),
			Doc:  "It holds for all hosts below as well."},
		{Path: "hsts.preload", Type: schema.Bool, Example: "true",
			Into: schema.Into(func(e secured) *bool { return &e.options().HSTS.Preload }),
			Doc:  "Browsers may carry the host in their own list."},
	}
}

// secureKeys are the keys of a listener about its protocols.
func secureKeys() []*schema.Key {
	return []*schema.Key{
		{Path: "tls", Type: typeTLSMode, Example: `"auto"`,
			Into: schema.Into(func(e *listenerEntry) *TLSMode { return &e.TLS }),
			Doc: "`auto`: TLS and plain HTTP on one port, the first byte of a connection decides. Where " +
				"`client_auth` is `require`, or with `strict_sni`, plain requests are not served: " +
				"`redirect_to_https` has to stand beside it. Without this key it is `true` in `[https]` and where " +
				"there is a `cert`, `auto` in `[network]` with a `cert`, and else `false`."},
		{Path: "protocols", Type: typeProtocols, Enum: []string{"h1", "h2"}, Default: `["h1", "h2"]`,
			Later: []string{"h3", "tcp", "udp", "tls-passthrough"}, Example: `["h1"]`,
			Into: schema.Into(func(e *listenerEntry) *[]string { return &e.Protocols }),
			Doc: "The versions of HTTP: `h1`, `h2` or both. Over TLS the client chooses; a plain connection is " +
				"HTTP/2 when it begins with its preface (prior knowledge)."},
		{Path: "h2.max_streams", Type: schema.Int, Default: "128", Min: "1", Max: "100000", Example: "256",
			Into: schema.Into(func(e *listenerEntry) *int { return &e.H2.MaxStreams }),
			Doc:  "Requests in progress at once on one connection of HTTP/2."},
		{Path: "h2.idle_timeout", Type: schema.Duration, Default: `"60s"`, Min: "1s", Max: "24h", Example: `"5m"`,
			Into: schema.Into(func(e *listenerEntry) *time.Duration { return &e.H2.IdleTimeout }),
			Doc:  "Time a connection of HTTP/2 may be without a request."},
		{Path: "limits.max_age", Type: schema.Duration, Default: `"0s"`, Min: "0s", Max: "8760h", Example: `"1h"`,
			Into: schema.Into(func(e *listenerEntry) *time.Duration { return &e.Limits.MaxAge }),
			Doc: "How old a connection of HTTP/2 may be to begin another request. What is in progress ends in peace. " +
				"0: any age."},
		{Path: "redirect_to_https", Type: schema.Bool, Default: "false", Example: "true",
			Into: schema.Into(func(e *listenerEntry) *bool { return &e.RedirectToHTTPS }),
			Doc: "Plain requests are answered with a redirect (308) to the same URL with https, on the port of the " +
				"listener with TLS. With `hsts.max_age` a listener that takes both does so by itself."},
		{Path: "grpc", Type: schema.Bool, Example: "true",
			Into: schema.Into(func(e *listenerEntry) *bool { return &e.GRPC }),
			Doc: "What routes do that do not say it themselves: requests of type `application/grpc` go to backends " +
				"over HTTP/2."},
		{Path: "websocket", Type: schema.Bool, Example: "false",
			Into: schema.Into(func(e *listenerEntry) *bool { return &e.WebSocket }),
			Doc:  "What routes do that do not say it themselves."},
		{Path: "paths", Type: schema.Choice, Default: `"matched"`, Enum: []string{"matched", "forwarded", "raw"},
			Example: `"forwarded"`, Into: schema.Into(func(e *listenerEntry) *string { return &e.Paths }),
			Doc: "How the dot segments of paths are read. `matched`: routes see the path without them, backends get " +
				"it as it came. `forwarded`: backends get it without them too. `raw`: routes see it as it came, " +
				"whatever a backend makes of it."},
		{Path: "path_parameters", Type: schema.Choice, Default: `"keep"`, Enum: []string{"keep", "strip", "refuse"},
			Example: `"strip"`, Into: schema.Into(func(e *listenerEntry) *string { return &e.PathParameters }),
			Doc: "How `;` in a path is read, from which on many Java servers leave out the rest of its segment. " +
				"`keep`: it is a character like others, but a segment that is empty or dots without the rest is 400. " +
				"`strip`: routes see the path without, so that `/admin;x/a` is below `/admin`. `refuse`: 400 for " +
				"any `;`. See [HTTP/1](http1.md#one-path-many-spellings)."},
		{Path: "underscores", Type: schema.Choice, Default: `"drop"`, Enum: []string{"drop", "pass", "refuse"},
			Example: `"pass"`, Into: schema.Into(func(e *listenerEntry) *string { return &e.Underscores }),
			Doc: "What becomes of fields whose names have a `_`, which many backends cannot tell from `-`. `drop`: " +
				"nobody hears of them, routes included. `pass`: they are fields like others; what a route sets and " +
				"what only a proxy has to say is dropped in that spelling too. `refuse`: the request is answered " +
				"400; trailer fields are dropped."},
	}
}

// protocolKeys say how an upstream is spoken to. They are keys of the defaults as well.
func protocolKeys() []*schema.Key {
	return []*schema.Key{
		{Path: "protocol", Type: schema.Choice, Default: `"h1"`, Enum: []string{"h1", "h2", "auto"},
			Later:   []string{"h3"},
			Example: `"h2"`, Into: schema.Into(func(e *upstreamEntry) *string { return &e.Protocol }),
			Doc: "The version of HTTP. `h2` without TLS is by prior knowledge. `auto`: over TLS what the backend " +
				"chooses, else `h1`."},
		{Path: "tls.sni", Type: typeServerName, Example: `"api.internal"`,
			Into: schema.Into(func(e *upstreamEntry) *string { return &e.TLS.SNI }),
			Doc:  "The name that is asked for, and that the certificate has to have; else the host of the backend."},
		{Path: "tls.ca", Type: schema.String, Example: `"/etc/edge/tls/ca.pem"`,
			Into: schema.Into(func(e *upstreamEntry) *string { return &e.TLS.CA }),
			Doc:  "The authorities that are believed, in PEM; else those of `ca_file`, or of the system."},
		{Path: "tls.verify", Type: schema.Bool, Default: "true", Example: "false",
			Into: schema.Into(func(e *upstreamEntry) *bool { return &e.TLS.Verify }),
			Doc:  "Whether the certificate is verified. With `false` anybody in between can read and change all."},
		{Path: "tls.cert", Type: schema.String, Example: `"/etc/edge/tls/client.pem"`,
			Into: schema.Into(func(e *upstreamEntry) *string { return &e.TLS.Cert }),
			Doc:  "The certificate that a backend is shown when it asks for one, in PEM."},
		{Path: "tls.key", Type: schema.String, Example: `"/etc/edge/tls/client.key"`,
			Into: schema.Into(func(e *upstreamEntry) *string { return &e.TLS.Key }),
			Doc:  "Its key. Without it, the key is in the file of the certificate."},
		{Path: "tls.alpn", Type: typeALPN, Example: `["h2"]`, Enum: []string{"h2", "http/1.1"},
			Into: schema.Into(func(e *upstreamEntry) *[]string { return &e.alpn }),
			Doc:  "Another way to write `protocol`: what is offered in the handshake. Both are `auto`."},
	}
}
