package config

import (
	"io/fs"
	"slices"
	"time"

	"github.com/edge-proxy/edge/config/schema"
	"github.com/edge-proxy/edge/config/value"
)

func listenersSection() *schema.Section {
	return &schema.Section{
		Path: "listeners", Shape: schema.List, Merges: true, Defaults: "tls",
		Aliases: []schema.Alias{
			{Path: "http", Doc: "one listener for plain HTTP"},
			{Path: "https", Doc: "one listener for TLS, with `cert` and `key`, or with those of `[[certificates]]`"},
			{Path: "network", Doc: "one listener; with `ssl_certificate` it takes TLS and plain HTTP on one port"},
		},
		Doc: "Addresses that are served alike. Two listeners never share an address.",
		New: schema.Make[listenerEntry],
		Keys: slices.Concat([]*schema.Key{
			{Path: "name", Type: schema.String, Example: `"web"`,
				Into: schema.Into(func(e *listenerEntry) *string { return &e.Name }),
				Doc:  "Its name in logs and metrics; the first address when there is none."},
			{Path: "listen", Type: value.TypeListen, Example: `[":80", "unix:/run/edge/web.sock"]`,
				Into: schema.Into(func(e *listenerEntry) *[]Address { return &e.Addresses }),
				Doc: "`:80` is IPv4 and IPv6 in one socket, `0.0.0.0:80` IPv4, `[::]:80` IPv6 alone, `unix:/path` a " +
					"Unix socket. Port 0 is any free one."},
			{Path: "error_pages", Type: typeErrorPages, Local: true,
				Example: `{ 503 = { body = "<h1>Back at ten</h1>" } }`,
				Into:    schema.Into(func(e *listenerEntry) *errorPages { return &e.errors }),
				Doc:     "As at the top level, before those."},
			{Path: "filters", Type: schema.Strings, Example: `["mine"]`,
				Into: schema.Into(func(e *listenerEntry) *[]string { return &e.Filters }),
				Doc: "Filters for its requests, before those of `[defaults]`. `!name` takes one of those out. See " +
					"[filters](filters.md#in-a-configuration)."},
			{Path: "connection_filters", Type: schema.Strings, Example: `["polite"]`,
				Into: schema.Into(func(e *listenerEntry) *[]string { return &e.ConnFilters }),
				Doc: "What decides over its connections, in this order: names of `[connection_filters]`. One that " +
					"says no closes the connection. See [modules](plugins.md#connection-filters)."},
			{Path: "trusted_proxies", Type: value.TypeNetworks, Example: `["10.0.0.0/8", "unix"]`,
				Into: schema.Into(func(e *listenerEntry) *Trusted { return &e.Trusted }),
				Doc: "Peers whose `X-Forwarded-*` and `Forwarded` fields are believed and added to, by address; " +
					"`unix` is any on a Unix socket. What all others say there, and in [other fields]" +
					"(operations.md#behind-another-proxy) that only a proxy has to say, is replaced or dropped."},
			{Path: "forwarded", Type: schema.Bool, Default: "false", Example: "true",
				Into: schema.Into(func(e *listenerEntry) *bool { return &e.Forwarded }),
				Doc:  "Tell backends of the client by `Forwarded` (RFC 7239) too, not by `X-Forwarded-*` alone."},
			{Path: "via", Type: schema.Bool, Default: "true", Example: "false",
				Into: schema.Into(func(e *listenerEntry) *bool { return &e.Via }),
				Doc:  "Whether clients are told of edge by `Via`; `[global] via` is the name there."},
		}, accessLogKeys("Where its requests are logged instead of `[log] output`; `false`: nowhere. A table "+
			"says more; what it leaves out is as in `[log]`. See [requests](operations.md#which-requests-are-logged).",
			func(e *listenerEntry) (*AccessLog, *loggingTexts) { return &e.AccessLog, &e.logging },
		), requestIDKeys(), secureKeys(), pairKeys(), tlsKeys(), limitKeys(), socketKeys()),
	}
}

// requestIDKeys are the keys of a listener about the numbers of requests and their traces.
func requestIDKeys() []*schema.Key {
	return []*schema.Key{
		{Path: "request_id", Type: typeSwitch, Example: "true",
			Into: schema.Into(func(e *listenerEntry) *bool { return &e.RequestID.On }),
			Doc: "Whether each request has its number in a field, for backends and in answers. It is the one of the " +
				"access log and of error pages. With one of the keys below it, it has."},
		{Path: "request_id.field", Type: value.TypeFieldName, Default: `"X-Request-Id"`, Example: `"X-Correlation-Id"`,
			Into: schema.Into(func(e *listenerEntry) *string { return &e.RequestID.Field }),
			Doc:  "The name of the field."},
		{Path: "request_id.accept", Type: schema.Choice, Default: `"trusted"`,
			Enum: []string{"trusted", "all", "none"}, Example: `"all"`,
			Into: schema.Into(func(e *listenerEntry) *string { return &e.RequestID.Accept }),
			Doc: "Whose numbers are kept, in that field, in logs and on pages: those that `trusted_proxies` send, " +
				"those of all clients, or nobody's. At most 128 letters, digits and `-._~+/=:`; any other is " +
				"replaced."},
		{Path: "request_id.answer", Type: schema.Bool, Default: "true", Example: "false",
			Into: schema.Into(func(e *listenerEntry) *bool { return &e.RequestID.Answer }),
			Doc:  "Whether clients are told too."},
		{Path: "traceparent", Type: schema.Bool, Default: "false", Example: "true",
			Into: schema.Into(func(e *listenerEntry) *bool { return &e.Traceparent }),
			Doc: "A request without a valid `traceparent` (W3C Trace Context) gets one, as the first, sampled, of " +
				"its trace; a valid one is passed on as it came. Either is `trace_id` in the access log."},
	}
}

// secureKeys are the keys of a listener about protocols and what requests may look like.
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
			Example: `"forwarded"`,
			Into:    schema.Into(func(e *listenerEntry) *string { return &e.Paths }),
			Doc: "How the dot segments of paths are read. `matched`: routes see the path without them, backends get " +
				"it as it came. `forwarded`: backends get it without them too. `raw`: routes see it as it came, " +
				"whatever a backend makes of it."},
		{Path: "path_parameters", Type: schema.Choice, Default: `"keep"`, Enum: []string{"keep", "strip", "refuse"},
			Example: `"strip"`,
			Into:    schema.Into(func(e *listenerEntry) *string { return &e.PathParameters }),
			Doc: "How `;` in a path is read, from which on many Java servers leave out the rest of its segment. " +
				"`keep`: it is a character like others, but a segment that is empty or dots without the rest is 400. " +
				"`strip`: routes see the path without, so that `/admin;x/a` is below `/admin`. `refuse`: 400 for " +
				"any `;`. See [HTTP/1](http1.md#one-path-many-spellings)."},
		{Path: "underscores", Type: schema.Choice, Default: `"drop"`, Enum: []string{"drop", "pass", "refuse"},
			Example: `"pass"`,
			Into:    schema.Into(func(e *listenerEntry) *string { return &e.Underscores }),
			Doc: "What becomes of fields whose names have a `_`, which many backends cannot tell from `-`. `drop`: " +
				"they are left out, for routes too. `pass`: they are fields like others; what a route sets and " +
				"what only a proxy has to say is dropped in that spelling too. `refuse`: the request is answered " +
				"400; trailer fields are dropped."},
	}
}

func limitKeys() []*schema.Key {
	return []*schema.Key{
		{Path: "limits.header_size", Type: schema.Size, Default: `"32k"`, Min: "1k", Max: "1m", Example: `"16k"`,
			Into: schema.Into(func(e *listenerEntry) *int64 { return &e.Limits.HeaderSize }),
			Doc:  "Bytes of a request head. More is answered 431."},
		{Path: "limits.header_count", Type: schema.Int, Default: "100", Min: "1", Max: "10000", Example: "50",
			Into: schema.Into(func(e *listenerEntry) *int { return &e.Limits.HeaderCount }),
			Doc:  "Fields of a request head. More is answered 431."},
		{Path: "limits.header_timeout", Type: schema.Duration, Default: `"10s"`, Min: "100ms", Max: "1h",
			Example: `"5s"`,
			Into:    schema.Into(func(e *listenerEntry) *time.Duration { return &e.Limits.HeaderTimeout }),
			Doc:     "Time for the whole request head to arrive."},
		{Path: "limits.body_size", Type: schema.Size, Default: `"0"`, Example: `"10m"`,
			Into: schema.Into(func(e *listenerEntry) *int64 { return &e.Limits.BodySize }),
			Doc:  "Bytes of a request body. More is answered 413. 0: no limit."},
		{Path: "limits.connections", Type: schema.Int, Default: "0", Min: "0", Max: "100000000", Example: "200000",
			Into: schema.Into(func(e *listenerEntry) *int { return &e.Limits.Connections }),
			Doc: "Connections open at once on each address of the listener. For one more, one that has been idle for " +
				"a second is closed; else it waits. 0: no limit."},
		{Path: "limits.idle_timeout", Type: schema.Duration, Default: `"60s"`, Min: "1s", Max: "24h",
			Example: `"75s"`,
			Into:    schema.Into(func(e *listenerEntry) *time.Duration { return &e.Limits.IdleTimeout }),
			Doc:     "Time a connection may wait for its next request."},
		{Path: "limits.keepalive_requests", Type: schema.Int, Default: "0", Min: "0", Max: "1000000000",
			Example: "1000",
			Into:    schema.Into(func(e *listenerEntry) *int { return &e.Limits.KeepaliveRequests }),
			Doc:     "Requests on one connection before it is closed. 0: no limit."},
		{Path: "limits.min_rate", Type: schema.Rate, Default: `"240/s"`, Min: "0", Max: "1g/s", Example: `"1k/s"`,
			Into: schema.Into(func(e *listenerEntry) *int64 { return &e.Limits.MinRate }),
			Doc: "Bytes a second that a request body has to come with, over its whole length, after 10 s of grace. " +
				"Less is answered 408. An answer that the client keeps waiting for 60 s in all, less what it takes " +
				"at this rate, is cut off. 0: any rate."},
		{Path: "limits.half_close_wait", Type: schema.Duration, Default: `"1s"`, Min: "0s", Max: "1h",
			Words: []string{"never"}, Example: `"5s"`,
			Into: schema.Into(func(e *listenerEntry) *time.Duration { return &e.Limits.HalfCloseWait }),
			Doc: "How long an answer may take to begin for a client that ended its side after the request: it may " +
				"have left. Then the request is given up, and logged as 499. 0: at once. `never`: it is served."},
	}
}

// socketKeys are the keys of a listener about its sockets, whose options connections inherit.
func socketKeys() []*schema.Key {
	return []*schema.Key{
		{Path: "user_timeout", Type: schema.Duration, Default: `"5m"`, Min: "1s", Max: "24h",
			Words: []string{"system"}, Example: `"30s"`, Restart: true,
			Into: schema.Into(func(e *listenerEntry) *time.Duration { return &e.UserTimeout }),
			Doc: "How long bytes sent to a client may stay unacknowledged, or find its window closed, before the " +
				"connection is broken (`TCP_USER_TIMEOUT`). `system`: as long as the kernel tries."},
		{Path: "fast_open", Type: schema.Int, Default: `"off"`, Min: "0", Max: "65535", Words: []string{"off"},
			Example: "256", Restart: true,
			Into: schema.Into(func(e *listenerEntry) *int { return &e.FastOpen }),
			Doc: "How many connections may wait that came with data in their first packet (TCP Fast Open), which " +
				"spares clients a round trip. The network may deliver that data twice (RFC 7413), so it is for " +
				"TLS, or for requests that may be repeated. The kernel has to allow it: " +
				"`net.ipv4.tcp_fastopen`, bit 2."},
		{Path: "socket_mode", Type: typeFileMode, Example: `"0660"`, Restart: true,
			Into: schema.Into(func(e *listenerEntry) *fs.FileMode { return &e.SocketMode }),
			Doc: "The rights of the files of its Unix sockets, as `chmod` takes them; a client has to be allowed to " +
				"write. Without it they are what the umask leaves: mostly that is the owner alone."},
		{Path: "socket_owner", Type: typeOwner, Example: `"www-data:www-data"`, Restart: true,
			Into: schema.Into(func(e *listenerEntry) *Account { return &e.SocketOwner }),
			Doc: "Whose these files are: `user`, which stands for its group too, `user:group` or `:group`, by names " +
				"or numbers. Only root gives files to other users. Without it that is the `user` of the process."},
	}
}
