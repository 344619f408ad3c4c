package config

import (
	"slices"
	"time"

	"github.com/edge-proxy/edge/config/language"
	"github.com/edge-proxy/edge/config/schema"
	"github.com/edge-proxy/edge/config/value"
	"github.com/edge-proxy/edge/route"
)

func routesSection() *schema.Section {
	return &schema.Section{
		Path: "routes", Shape: schema.List,
		Aliases: []schema.Alias{{Path: "proxy.rules", Shape: schema.List, Doc: "with `upstream` for `dest`"}},
		Doc: "Where requests go. The most specific route wins, whatever its place in the file: by host (exact, " +
			"then the longest `*.name`, then any), then by path (exact, then the longest prefix), then by the " +
			"number of conditions, of which `listener` comes before `client_cert` before `methods` before `header` " +
			"before `query` before `when`, and what differs still " +
			"by the alphabet; what is equal shares the requests by `weight`. A pattern that ends in " +
			"`/*` or `/` is a prefix by segments (`/api/*` takes `/api` and `/api/x`, not `/apix`; `/` takes " +
			"everything), any other is exact; `=/` is the root alone. Every spelling of a path " +
			"is that path, see `paths` of listeners. " +
			"Conditions (`listener`, `client_cert`, `methods`, `header`, `query`, `when`) all have to hold, for the " +
			"request " +
			"as the client sent it; " +
			"where they do not, a less specific route may take it. What no route takes is answered 404.",
		New: schema.Make[routeEntry],
		Keys: slices.Concat(matchKeys(), destKeys(), routeBalancingKeys(), backendKeys(), timeoutKeys(),
			accessLogKeys("Where its requests are logged instead of where the listener says; `false`: nowhere. A "+
				"table says more; what it leaves out is as in the one of the listener, or else in `[log]`. See "+
				"[requests](operations.md#which-requests-are-logged).",
				func(e *routeEntry) (*AccessLog, *loggingTexts) { return &e.AccessLog, &e.logging }),
			[]*schema.Key{priorityKey()}),
	}
}

// matchKeys say which requests a route takes.
func matchKeys() []*schema.Key {
	return []*schema.Key{
		{Path: "name", Type: schema.String, Example: `"api"`,
			Into: schema.Into(func(e *routeEntry) *string { return &e.Name }),
			Doc:  "Its name in logs and metrics; the pattern when there is none."},
		{Path: "pattern", Type: schema.String, Example: `"api.example.com/v1/*"`,
			Into: schema.Into(func(e *routeEntry) *string { return &e.pattern }),
			Doc: "Host and path in one. What stands before the first `/` is the host; none is any host, " +
				"`*.example.com` any below that one."},
		{Path: "host", Type: schema.Strings, Example: `["example.com", "www.example.com"]`,
			Into: schema.Into(func(e *routeEntry) *[]string { return &e.hosts }),
			Doc:  "Instead of `pattern`: the hosts."},
		{Path: "path", Type: schema.String, Example: `"/v1/*"`,
			Into: schema.Into(func(e *routeEntry) *string { return &e.path }),
			Doc:  "Instead of `pattern`: the path, everything when there is none."},
		{Path: "listener", Type: schema.Strings, Example: `"internal"`,
			Into: schema.Into(func(e *routeEntry) *[]string { return &e.Listeners }),
			Doc: "Condition: the listeners that requests come by, by their names. Without it those of all listeners " +
				"are taken, whatever the listeners ask of clients."},
		{Path: "client_cert", Type: value.TypeClientCert,
			Example: `{ subject = "CN=admin,O=Example", san = "~^spiffe://" }`,
			Into:    schema.Into(func(e *routeEntry) **route.ClientCert { return &e.ClientCert }),
			Doc: "Condition: the client has shown a certificate that leads to an authority of `client_ca`, in this " +
				"connection or in the session that it resumes. `true`: any; in a table `subject`, `issuer` (RFC " +
				"2253) and `san` (one of its names suffices) are equal, or found by the regular expression after a " +
				"`~`. A name counts only as what its text tells: a DNS name with an `@` or a `:` is none. Each key " +
				"of the table is a condition more."},
		{Path: "methods", Type: value.TypeMethods, Example: `["GET", "HEAD"]`,
			Into: schema.Into(func(e *routeEntry) *[]string { return &e.Methods }),
			Doc: "Condition: the methods. A request with another one is answered 405, unless another route takes it. " +
				"CONNECT and TRACE are only taken where they are named."},
		{Path: "header", Type: value.TypeFields, Example: `{ X-Env = "prod", User-Agent = "~curl/[0-9]" }`,
			Into: schema.Into(func(e *routeEntry) *[]route.Condition { return &e.Header }),
			Doc: "Condition: a name alone is there (`header = \"X-Beta\"`); a value in a table is equal, or found by " +
				"the regular expression (RE2) after a `~`. Of several fields of that name one suffices."},
		{Path: "query", Type: value.TypeParameters, Example: `{ version = "2" }`,
			Into: schema.Into(func(e *routeEntry) *[]route.Condition { return &e.Query }),
			Doc:  "Condition: parameters of the query, as for `header`; they are compared decoded."},
		{Path: "when", Type: language.TypeCondition, Example: `'client.ip in {10.0.0.0/8} or header.x-beta == "1"'`,
			Into: schema.Into(func(e *routeEntry) *string { return &e.when }),
			Doc: "Condition: a text of [the language](DSL.md) that holds for the request. It is asked after all " +
				"others."},
		{Path: "weight", Type: schema.Int, Min: "0", Max: "65535", Example: "90",
			Into: schema.Into(func(e *routeEntry) *int { return &e.Weight }),
			Doc: "Its share of the requests among routes that are equal in pattern and conditions. 0: none, as if " +
				"the route were not there."},
	}
}

// priorityKey says which requests go first where there is not room for all.
func priorityKey() *schema.Key {
	return &schema.Key{Path: "priority", Type: schema.Int, Default: "1", Min: "0", Max: "3", Example: "0",
		Into: schema.Into(func(e *routeEntry) *int { return &e.Priority }),
		Doc: "Which of the requests that wait because of `breaker` go first: 0 before 1, and so on. Those of 2 and 3 " +
			"[wait sooner](overload.md#priorities)."}
}

// destKeys say what a route does.
func destKeys() []*schema.Key {
	return []*schema.Key{
		{Path: "dest", Type: schema.String, Example: `"api"`, Aliases: []string{".upstream"},
			Into: schema.Into(func(e *routeEntry) *string { return &e.dest }),
			Doc: "An upstream, `host:port` (several with commas between), `http://host:port`, `https://host:port`, " +
				"`h2c://host:port` (HTTP/2 without TLS), `unix:/path`, `redirect:URL`, `status:404`, or " +
				"`hello` (the page of a first start). With variables each request names its own: `{host}`, " +
				"`{host:N}` (the Nth label), `{path:N}` (the Nth segment), `{header:NAME}`, `{cookie:NAME}`, " +
				"`{query:NAME}`; see `allow_dest`."},
		{Path: "allow_dest", Type: schema.Strings, Example: `["http://*.svc.internal:8080", "10.0.0.0/8"]`,
			Into: schema.Into(func(e *routeEntry) *[]string { return &e.allow }),
			Doc: "Where a `dest` with variables may lead; all else is answered 403. `http://name:port`; " +
				"`http://*.name:port` for the names below; ports are one, `8000-8999`, several with commas, `*`, or " +
				"the usual one; `http://10.0.0.0/8:port` for addresses that requests name. A network alone says that " +
				"the names may have addresses in it: without it they have to be on the public Internet. See " +
				"[discovery](discovery.md#destinations-that-requests-name)."},
		{Path: "redirect.to", Type: language.TypeTemplate, Example: `"https://example.com{path}"`,
			Into: schema.Into(func(e *routeEntry) *string { return &e.redirect }),
			Doc: "Instead of `dest`: where the client is sent, with [values](DSL.md) of the request: `{path}`, " +
				"`{host}`, `{match.1}` of `when`. `{rest}` is what its path has beyond the pattern, `/x` of " +
				"`/old/x` where that is `/old/*`. The query is kept unless there is a `?`, `{query}` or `{target}`; " +
				"a `?` at the end takes it away."},
		{Path: "redirect.status", Type: schema.Int, Default: "308", Min: "301", Max: "308", Example: "301",
			Into: schema.Into(func(e *routeEntry) *int { return &e.redirectStatus }),
			Doc:  "301, 302, 303, 307 or 308."},
		{Path: "rewrite.strip_prefix", Type: schema.String, Example: `"/v1"`,
			Into: schema.Into(func(e *routeEntry) *string { return &e.Rewrite.StripPrefix }),
			Doc:  "What the backend does not see of a path that begins with it, by segments."},
		{Path: "rewrite.add_prefix", Type: schema.String, Example: `"/service"`,
			Into: schema.Into(func(e *routeEntry) *string { return &e.Rewrite.AddPrefix }),
			Doc:  "What the backend sees before the path, or before what is left of it."},
		{Path: "rewrite.path", Type: language.TypeTemplate, Example: `"/index{path}"`,
			Into: schema.Into(func(e *routeEntry) *string { return &e.rewritePath }),
			Doc:  "Instead of both: the path that the backend sees, with values as in `redirect.to`."},
		{Path: "rewrite_location", Type: schema.Bool, Default: "false", Example: "true",
			Into: schema.Into(func(e *routeEntry) *bool { return &e.RewriteLocation }),
			Doc: "A `Location` or `Content-Location` that names the backend, by its address or the Host that it was " +
				"sent, also with the backend's port as nginx does, becomes a path here, with the prefixes of " +
				"`rewrite` undone."},
		{Path: "buffer_request", Type: schema.Size, Default: `"off"`, Min: "1k", Max: "1g", Words: []string{"off"},
			Example: `"10m"`,
			Into:    schema.Into(func(e *routeEntry) *int64 { return &e.BufferRequest }),
			Doc: "A request body of up to this size is received whole, in memory, before the backend is asked, and " +
				"is sent with its length: for backends that cannot read a chunked one, as with WSGI. A larger " +
				"one is answered 413. WebSockets and gRPC are not buffered."},
	}
}

// backendKeys say how a route treats its backends.
func backendKeys() []*schema.Key {
	return []*schema.Key{
		{Path: "websocket", Type: schema.Bool, Example: "false",
			Into: schema.Into(func(e *routeEntry) *bool { return &e.webSocket }),
			Doc: "Connections may turn into WebSockets. With `false` such a request goes on as one without " +
				"`Upgrade`."},
		{Path: "grpc", Type: schema.Bool, Example: "true",
			Into: schema.Into(func(e *routeEntry) *bool { return &e.grpc }),
			Doc: "The backends speak gRPC: connections to them are HTTP/2, errors are a `grpc-status`, " +
				"`grpc-timeout` bounds a request, and gRPC-Web is translated. A listener that says it means requests " +
				"of type `application/grpc` alone."},
		{Path: "upgrades", Type: value.TypeUpgrades, Example: `["mqtt"]`,
			Into: schema.Into(func(e *routeEntry) *[]string { return &e.Upgrades }),
			Doc: "Further protocols that connections may turn into, by their names in `Upgrade`. HTTP/2 is none; " +
				"`CONNECT` is a method (see `methods`)."},
		{Path: "headers.request", Type: value.TypeHeaders, Example: `{ X-Env = "prod", Cookie = "" }`,
			Into: schema.Into(func(e *routeEntry) *[]Header { return &e.RequestHeaders }),
			Doc: "Fields to set in the request; an empty value removes the field. What the client says under that " +
				"name is not sent on: in any case, with `_` for `-`, and in trailers. A value may have " +
				"[values](DSL.md) of the request in braces: see [fields](#variables-of-fields)."},
		{Path: "headers.response", Type: value.TypeHeaders, Example: `{ Server = "" }`,
			Into: schema.Into(func(e *routeEntry) *[]Header { return &e.ResponseHeaders }),
			Doc:  "Fields to set in the answer, as in `headers.request`."},
		{Path: "filters", Type: schema.Strings, Example: `["mine"]`,
			Into: schema.Into(func(e *routeEntry) *[]string { return &e.Filters }),
			Doc: "Filters for its requests, after those of its listener and of `[defaults]`. `!name` takes one of " +
				"those out."},
		{Path: "error_pages", Type: typeErrorPages, Local: true, Example: `{ 5xx = ["down.html", "down.json"] }`,
			Into: schema.Into(func(e *routeEntry) *errorPages { return &e.errors }),
			Doc:  "As at the top level, before those and before those of the listener."},
		{Path: "intercept_errors", Type: schema.Bool, Default: "false", Example: "true",
			Into: schema.Into(func(e *routeEntry) *bool { return &e.InterceptErrors }),
			Doc: "Put `error_pages` in place of what backends answer with these statuses, not of edge's own " +
				"answers alone."},
	}
}

// timeoutKeys say how long a route waits.
func timeoutKeys() []*schema.Key {
	return []*schema.Key{
		{Path: "timeouts.first_byte", Type: schema.Duration, Min: "1ms", Max: "24h", Example: `"5s"`,
			Into: schema.Into(func(e *routeEntry) *time.Duration { return &e.FirstByte }),
			Doc:  "Instead of what the upstream says."},
		{Path: "timeouts.read", Type: schema.Duration, Min: "1ms", Max: "24h", Example: `"5s"`,
			Into: schema.Into(func(e *routeEntry) *time.Duration { return &e.Read }),
			Doc:  "Instead of what the upstream says."},
		{Path: "timeouts.total", Type: schema.Duration, Min: "1ms", Max: "24h", Example: `"30s"`,
			Into: schema.Into(func(e *routeEntry) *time.Duration { return &e.Total }),
			Doc:  "Instead of what the upstream says."},
		{Path: "timeouts.idle", Type: schema.Duration, Default: `"1h"`, Min: "1s", Max: "8760h", Example: `"10m"`,
			Into: schema.Into(func(e *routeEntry) *time.Duration { return &e.TunnelIdle }),
			Doc: "How long a WebSocket, another tunnel, or a gRPC call whose answer has begun may be without a byte " +
				"in either direction."},
	}
}
