package config

import (
	"crypto/tls"
	"time"

	"github.com/edge-proxy/edge/config/syntax"
)

func certificatesSection() *section {
	return &section{
		path: "certificates", shape: shapeList,
		doc: "Certificates for all listeners with TLS, found by the name that a client asks for: the exact name, " +
			"then `*.parent`. A listener's own certificate comes before them; a client that asks for an unknown " +
			"name gets the listener's own, else the first of these. Of several for one name, the first that the " +
			"client can verify. The files are watched: a pair that changed is used for new connections within " +
			"seconds, and one that is wrong changes nothing. A path that is not found from the working directory " +
			"is looked for beside the file that names it.",
		open: func(doc *document, _ target, _ *syntax.Node) target {
			e := &certificateEntry{}
			doc.certificates = append(doc.certificates, e)
			return e
		},
		keys: append([]*key{
			{path: "hosts", typ: typeStrings, example: `["example.org", "*.example.org"]`,
				into: into(func(e *certificateEntry) *[]string { return &e.Hosts }),
				doc:  "Names it is for. Without them those that the certificate says itself."},
		}, pairKeys()...),
	}
}

// pairKeys name the files of a certificate, of its own table or of a listener.
func pairKeys() []*key {
	return []*key{
		{path: "cert", typ: typeString, example: `"/etc/edge/tls/example.pem"`, aliases: []string{".ssl_certificate"},
			into: into(func(e paired) *string { return &e.pair().Cert }),
			doc: "The certificate in PEM, followed by those of its authorities. `internal`: one of an authority that " +
				"this machine makes for itself, for development."},
		{path: "key", typ: typeString, example: `"/etc/edge/tls/example.key"`,
			aliases: []string{".ssl_certificate_key"},
			into:    into(func(e paired) *string { return &e.pair().Key }),
			doc: "Its private key in PEM, without a password. Without it, the key is " +
				"in the file of the certificate."},
		{path: "ocsp", typ: typeString, example: `"/etc/edge/tls/example.ocsp"`,
			into: into(func(e paired) *string { return &e.pair().OCSP }),
			doc: "A response of its authority in DER, which is stapled as long as it is good and in time. Whoever " +
				"fetches it writes it here again."},
	}
}

func tlsSection() *section {
	return &section{
		path: "tls",
		doc:  "TLS of all listeners. Most of these keys may stand in a listener too, and hold for that one then.",
		open: func(doc *document, _ target, _ *syntax.Node) target { return &doc.tls },
		keys: append(tlsKeys(),
			&key{path: "ticket_rotation", typ: typeDuration, def: `"12h"`, min: "1m", max: "168h", example: `"1h"`,
				into: into(func(e *tlsEntry) *time.Duration { return &e.TLS.TicketRotation }),
				doc: "How often the keys of session tickets change. The last three are known, so a session can be " +
					"resumed for two to three times that long. A reload keeps them."},
			&key{path: "handshake_timeout", typ: typeDuration, def: `"10s"`, min: "100ms", max: "10m", example: `"5s"`,
				restart: true, into: into(func(e *tlsEntry) *time.Duration { return &e.TLS.HandshakeTimeout }),
				doc: "How long a handshake may take."},
			&key{path: "handshakes", typ: typeInt, def: `"auto"`, min: "1", max: "1000000", words: []string{"auto"},
				example: "1000", restart: true, into: into(func(e *tlsEntry) *int { return &e.TLS.Handshakes }),
				doc: "Handshakes in progress at once; with one more, the one that has stood still for longest gives " +
					"way. `auto`: 10000, or one for each 128 KiB of `memory_limit` where that is less."},
		),
	}
}

// secured is what has TLS options: [tls], whose values stand for all listeners, and a listener.
type secured interface {
	target
	options() *TLSOptions
}

// tlsKeys are the keys that a listener and [tls] share.
func tlsKeys() []*key {
	return []*key{
		{path: "min_version", typ: typeVersion, def: `"1.2"`, enum: versionNames(), synonyms: versionSynonyms,
			example: `"1.3"`, into: into(func(e secured) *uint16 { return &e.options().MinVersion }),
			doc: "The oldest version of TLS that is spoken."},
		{path: "curves", typ: typeCurves, def: `["X25519MLKEM768", "X25519", "P-256", "P-384", "P-521"]`,
			enum: curveNames(), example: `["X25519MLKEM768", "P-256"]`,
			into: into(func(e secured) *[]tls.CurveID { return &e.options().Curves }),
			doc: "The key exchanges that are offered. The hybrid with ML-KEM withstands quantum computers. Which of " +
				"those that both sides know is used is not for their order here to say: the best one."},
		{path: "ciphers", typ: typeCiphers, example: `["TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256"]`,
			into: into(func(e secured) *[]uint16 { return &e.options().Ciphers }),
			doc: "The cipher suites of TLS 1.2, by the names of IANA or OpenSSL; none: a safe choice. Those of TLS " +
				"1.3 cannot be chosen. Which one is used does not depend on their order."},
		{path: "client_auth", typ: typeChoice, enum: []string{"none", "request", "require"}, example: `"request"`,
			into: into(func(e secured) *string { return (*string)(&e.options().ClientAuth) }),
			doc: "Whether clients show a certificate. `request`: they are asked, and one that comes is verified when " +
				"there is a `client_ca`. `require`: the handshake fails without, and a request on a connection that " +
				"was made otherwise is answered 421. With a `client_ca` it is `require`, otherwise `none`."},
		{path: "client_ca", typ: typeOptional, example: `"/etc/edge/tls/clients.pem"`,
			into: into(func(e secured) *string { return &e.options().ClientCA }),
			doc: "The authorities of client certificates in PEM. Empty: none. The file is watched, and so are those " +
				"of `ca`, `cert` and `key` of upstreams, and `ca_file`: new connections go by what they say now."},
		{path: "strict_sni", typ: typeBool, def: "false", example: "true",
			into: into(func(e secured) *bool { return &e.options().StrictSNI }),
			doc:  "A request for another host than the handshake named is answered 421, and so is a plain one."},
		{path: "session_tickets", typ: typeBool, def: "true", example: "false",
			into: into(func(e secured) *bool { return &e.options().SessionTickets }),
			doc:  "Clients may resume a session without a whole handshake."},
		{path: "hsts.max_age", typ: typeDuration, def: `"off"`, min: "0s", max: "36500d", words: []string{"off"},
			example: `"365d"`,
			into:    into(func(e secured) *time.Duration { return &e.options().HSTS.MaxAge }),
			doc: "`Strict-Transport-Security` for answers over TLS: how long browsers use nothing but HTTPS for the " +
				"host. 0: they forget it."},
		{path: "hsts.subdomains", typ: typeBool, example: "true",
			into: into(func(e secured) *bool { return &e.options().HSTS.Subdomains }),
			doc:  "It holds for all hosts below as well."},
		{path: "hsts.preload", typ: typeBool, example: "true",
			into: into(func(e secured) *bool { return &e.options().HSTS.Preload }),
			doc:  "Browsers may carry the host in their own list."},
	}
}

// secureKeys are the keys of a listener about its protocols.
func secureKeys() []*key {
	return []*key{
		{path: "tls", typ: typeTLSMode, example: `"auto"`,
			into: into(func(e *listenerEntry) *TLSMode { return &e.TLS }),
			doc: "`auto`: TLS and plain HTTP on one port, the first byte of a connection decides. Where " +
				"`client_auth` is `require`, or with `strict_sni`, plain requests are not served: " +
				"`redirect_to_https` has to stand beside it. Without this key it is `true` in `[https]` and where " +
				"there is a `cert`, `auto` in `[network]` with a `cert`, and else `false`."},
		{path: "protocols", typ: typeProtocols, enum: []string{"h1", "h2"}, def: `["h1", "h2"]`,
			later: []string{"h3", "tcp", "udp", "tls-passthrough"}, example: `["h1"]`,
			into: into(func(e *listenerEntry) *[]string { return &e.Protocols }),
			doc: "The versions of HTTP: `h1`, `h2` or both. Over TLS the client chooses; a plain connection is " +
				"HTTP/2 when it begins with its preface (prior knowledge)."},
		{path: "h2.max_streams", typ: typeInt, def: "128", min: "1", max: "100000", example: "256",
			into: into(func(e *listenerEntry) *int { return &e.H2.MaxStreams }),
			doc:  "Requests in progress at once on one connection of HTTP/2."},
		{path: "h2.idle_timeout", typ: typeDuration, def: `"60s"`, min: "1s", max: "24h", example: `"5m"`,
			into: into(func(e *listenerEntry) *time.Duration { return &e.H2.IdleTimeout }),
			doc:  "Time a connection of HTTP/2 may be without a request."},
		{path: "limits.max_age", typ: typeDuration, def: `"0s"`, min: "0s", max: "8760h", example: `"1h"`,
			into: into(func(e *listenerEntry) *time.Duration { return &e.Limits.MaxAge }),
			doc: "How old a connection of HTTP/2 may be to begin another request. What is in progress ends in peace. " +
				"0: any age."},
		{path: "redirect_to_https", typ: typeBool, def: "false", example: "true",
			into: into(func(e *listenerEntry) *bool { return &e.RedirectToHTTPS }),
			doc: "Plain requests are answered with a redirect (308) to the same URL with https, on the port of the " +
				"listener with TLS. With `hsts.max_age` a listener that takes both does so by itself."},
		{path: "grpc", typ: typeBool, example: "true",
			into: into(func(e *listenerEntry) *bool { return &e.GRPC }),
			doc: "What routes do that do not say it themselves: requests of type `application/grpc` go to backends " +
				"over HTTP/2."},
		{path: "websocket", typ: typeBool, example: "false",
			into: into(func(e *listenerEntry) *bool { return &e.WebSocket }),
			doc:  "What routes do that do not say it themselves."},
		{path: "paths", typ: typeChoice, def: `"matched"`, enum: []string{"matched", "forwarded", "raw"},
			example: `"forwarded"`, into: into(func(e *listenerEntry) *string { return &e.Paths }),
			doc: "How the dot segments of paths are read. `matched`: routes see the path without them, backends get " +
				"it as it came. `forwarded`: backends get it without them too. `raw`: routes see it as it came, " +
				"whatever a backend makes of it."},
		{path: "path_parameters", typ: typeChoice, def: `"keep"`, enum: []string{"keep", "strip", "refuse"},
			example: `"strip"`, into: into(func(e *listenerEntry) *string { return &e.PathParameters }),
			doc: "How `;` in a path is read, from which on many Java servers leave out the rest of its segment. " +
				"`keep`: it is a character like others, but a segment that is empty or dots without the rest is 400. " +
				"`strip`: routes see the path without, so that `/admin;x/a` is below `/admin`. `refuse`: 400 for " +
				"any `;`. See [HTTP/1](http1.md#one-path-many-spellings)."},
		{path: "underscores", typ: typeChoice, def: `"drop"`, enum: []string{"drop", "pass", "refuse"},
			example: `"pass"`, into: into(func(e *listenerEntry) *string { return &e.Underscores }),
			doc: "What becomes of fields whose names have a `_`, which many backends cannot tell from `-`. `drop`: " +
				"nobody hears of them, routes included. `pass`: they are fields like others; what a route sets and " +
				"what only a proxy has to say is dropped in that spelling too. `refuse`: the request is answered " +
				"400; trailer fields are dropped."},
	}
}

// protocolKeys say how an upstream is spoken to. They are keys of the defaults as well.
func protocolKeys() []*key {
	return []*key{
		{path: "protocol", typ: typeChoice, def: `"h1"`, enum: []string{"h1", "h2", "auto"}, later: []string{"h3"},
			example: `"h2"`, into: into(func(e *upstreamEntry) *string { return &e.Protocol }),
			doc: "The version of HTTP. `h2` without TLS is by prior knowledge. `auto`: over TLS what the backend " +
				"chooses, else `h1`."},
		{path: "tls.sni", typ: typeServerName, example: `"api.internal"`,
			into: into(func(e *upstreamEntry) *string { return &e.TLS.SNI }),
			doc:  "The name that is asked for, and that the certificate has to have; else the host of the backend."},
		{path: "tls.ca", typ: typeString, example: `"/etc/edge/tls/ca.pem"`,
			into: into(func(e *upstreamEntry) *string { return &e.TLS.CA }),
			doc:  "The authorities that are believed, in PEM; else those of `ca_file`, or of the system."},
		{path: "tls.verify", typ: typeBool, def: "true", example: "false",
			into: into(func(e *upstreamEntry) *bool { return &e.TLS.Verify }),
			doc:  "Whether the certificate is verified. With `false` anybody in between can read and change all."},
		{path: "tls.cert", typ: typeString, example: `"/etc/edge/tls/client.pem"`,
			into: into(func(e *upstreamEntry) *string { return &e.TLS.Cert }),
			doc:  "The certificate that a backend is shown when it asks for one, in PEM."},
		{path: "tls.key", typ: typeString, example: `"/etc/edge/tls/client.key"`,
			into: into(func(e *upstreamEntry) *string { return &e.TLS.Key }),
			doc:  "Its key. Without it, the key is in the file of the certificate."},
		{path: "tls.alpn", typ: typeALPN, example: `["h2"]`, enum: []string{"h2", "http/1.1"},
			into: into(func(e *upstreamEntry) *[]string { return &e.alpn }),
			doc:  "Another way to write `protocol`: what is offered in the handshake. Both are `auto`."},
	}
}
