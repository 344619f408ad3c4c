package config

import (
	"slices"
	"time"

	"github.com/edge-proxy/edge/config/syntax"
	"github.com/edge-proxy/edge/route"
)

func routesSection() *section {
	return &section{
		path: "routes", shape: shapeList,
		aliases: []sectionAlias{{"proxy.rules", shapeList, "with `upstream` for `dest`"}},
		doc: "Where requests go. The most specific route wins, whatever its place in the file: by host (exact, " +
			"then the longest `*.name`, then any), then by path (exact, then the longest prefix), then by the " +
			"number of conditions, of which `listener` comes before `client_cert` before `methods` before `header` " +
			"before `query`, and what differs still " +
			"by the alphabet; what is equal shares the requests by `weight`. A pattern that ends in " +
			"`/*` or `/` is a prefix by segments (`/api/*` takes `/api` and `/api/x`, not `/apix`; `/` takes " +
			"everything), any other is exact; `=/` is the root alone. Every spelling of a path " +
			"is that path, see `paths` of listeners. " +
			"Conditions (`listener`, `client_cert`, `methods`, `header`, `query`) all have to hold, for the request " +
			"as the client sent it; " +
			"where they do not, a less specific route may take it. What no route takes is answered 404.",
		open: func(doc *document, _ target, _ *syntax.Node) target {
			e := &routeEntry{}
			doc.routes = append(doc.routes, e)
			return e
		},
		keys: slices.Concat(matchKeys(), destKeys()),
	}
}

// matchKeys say which requests a route takes.
func matchKeys() []*key {
	return []*key{
		{path: "name", typ: typeString, example: `"api"`,
			into: into(func(e *routeEntry) *string { return &e.Name }),
			doc:  "Its name in logs and metrics; the pattern when there is none."},
		{path: "pattern", typ: typeString, example: `"api.example.com/v1/*"`,
			into: into(func(e *routeEntry) *string { return &e.pattern }),
			doc: "Host and path in one. What stands before the first `/` is the host; none is any host, " +
				"`*.example.com` any below that one."},
		{path: "host", typ: typeStrings, example: `["example.com", "www.example.com"]`,
			into: into(func(e *routeEntry) *[]string { return &e.hosts }),
			doc:  "Instead of `pattern`: the hosts."},
		{path: "path", typ: typeString, example: `"/v1/*"`,
			into: into(func(e *routeEntry) *string { return &e.path }),
			doc:  "Instead of `pattern`: the path, everything when there is none."},
		{path: "listener", typ: typeStrings, example: `"internal"`,
			into: into(func(e *routeEntry) *[]string { return &e.Listeners }),
			doc: "Condition: the listeners that requests come by, by their names. Without it those of all listeners " +
				"are taken, whatever the listeners ask of clients."},
		{path: "client_cert", typ: typeClientCert, example: `{ subject = "CN=admin,O=Example", san = "~^spiffe://" }`,
			into: into(func(e *routeEntry) **route.ClientCert { return &e.ClientCert }),
			doc: "Condition: the client has shown a certificate that leads to an authority of `client_ca`, in this " +
				"connection or in the session that it resumes. `true`: any; in a table `subject`, `issuer` (RFC " +
				"2253) and `san` (one of its names suffices) are equal, or found by the regular expression behind a " +
				"`~`. A name counts only as what its text tells: a DNS name with an `@` or a `:` is none. Each key " +
				"of the table is a condition more."},
		{path: "methods", typ: typeMethods, example: `["GET", "HEAD"]`,
			into: into(func(e *routeEntry) *[]string { return &e.Methods }),
			doc:  "Condition: the methods. CONNECT and TRACE are only taken where they are named, else answered 405."},
		{path: "header", typ: typeFields, example: `{ X-Env = "prod", User-Agent = "~curl/[0-9]" }`,
			into: into(func(e *routeEntry) *[]route.Condition { return &e.Header }),
			doc: "Condition: a name alone is there (`header = \"X-Beta\"`); a value in a table is equal, or found by " +
				"the regular expression (RE2) behind a `~`. Of several fields of that name one suffices."},
		{path: "query", typ: typeParameters, example: `{ version = "2" }`,
			into: into(func(e *routeEntry) *[]route.Condition { return &e.Query }),
			doc:  "Condition: parameters of the query, likewise; they are compared decoded."},
		{path: "weight", typ: typeInt, min: "0", max: "65535", example: "90",
			into: into(func(e *routeEntry) *int { return &e.Weight }),
			doc: "Its share of the requests among routes that are equal in pattern and conditions. 0: none, as if " +
				"the route were not there."},
	}
}

// destKeys say what a route does.
func destKeys() []*key {
	return []*key{
		{path: "dest", typ: typeString, example: `"api"`, aliases: []string{".upstream"},
			into: into(func(e *routeEntry) *string { return &e.dest }),
			doc: "An upstream, `host:port` (several with commas between), `http://host:port`, `https://host:port`, " +
				"`h2c://host:port` (HTTP/2 without TLS), `unix:/path`, `redirect:URL` or `status:404`."},
		{path: "redirect.to", typ: typeString, example: `"https://example.com{path}"`,
			into: into(func(e *routeEntry) *string { return &e.redirect }),
			doc: "Instead of `dest`: where the client is sent. `{path}`, `{query}`, `{host}`, `{scheme}` and " +
				"`{method}` are those of the request. The query is kept unless there is a `?` or `{query}`; a " +
				"`?` at the end takes it away."},
		{path: "redirect.status", typ: typeInt, def: "308", min: "301", max: "308", example: "301",
			into: into(func(e *routeEntry) *int { return &e.redirectStatus }),
			doc:  "301, 302, 303, 307 or 308."},
		{path: "rewrite.strip_prefix", typ: typeString, example: `"/v1"`,
			into: into(func(e *routeEntry) *string { return &e.Rewrite.StripPrefix }),
			doc:  "What the backend does not see of a path that begins with it, by segments."},
		{path: "rewrite.add_prefix", typ: typeString, example: `"/service"`,
			into: into(func(e *routeEntry) *string { return &e.Rewrite.AddPrefix }),
			doc:  "What the backend sees before the path, or before what is left of it."},
		{path: "rewrite.path", typ: typeString, example: `"/index{path}"`,
			into: into(func(e *routeEntry) *string { return &e.Rewrite.Path }),
			doc:  "Instead of both: the path that the backend sees, with variables as in `redirect.to`."},
		{path: "load_balancing", typ: typeChoice, enum: []string{"round_robin"}, synonyms: balancingSynonyms,
			dormant: dormantBalancing, later: laterBalancing, example: `"round_robin"`,
			into: into(func(e *routeEntry) *string { return &e.LoadBalancing }),
			doc: "Instead of what the upstream says. The route takes turns of its own among the backends, whatever " +
				"other routes to the same upstream do; connections, limits and queues stay those of the upstream."},
		{path: "websocket", typ: typeBool, example: "false",
			into: into(func(e *routeEntry) *bool { return &e.webSocket }),
			doc: "Connections may turn into WebSockets. With `false` such a request goes on as one without " +
				"`Upgrade`."},
		{path: "grpc", typ: typeBool, example: "true",
			into: into(func(e *routeEntry) *bool { return &e.grpc }),
			doc: "The backends speak gRPC: they are spoken to by HTTP/2, errors are a `grpc-status`, `grpc-timeout` " +
				"bounds a request, and gRPC-Web is translated. A listener that says it means requests of type " +
				"`application/grpc` alone."},
		{path: "upgrades", typ: typeUpgrades, example: `["mqtt"]`,
			into: into(func(e *routeEntry) *[]string { return &e.Upgrades }),
			doc: "Further protocols that connections may turn into, by their names in `Upgrade`. HTTP/2 is none; " +
				"`CONNECT` is a method (see `methods`)."},
		{path: "headers.request", typ: typeHeaders, example: `{ X-Env = "prod", Cookie = "" }`,
			into: into(func(e *routeEntry) *[]Header { return &e.RequestHeaders }),
			doc: "Fields to set in the request; an empty value removes the field. What the client says under that " +
				"name is not sent on: in any case, with `_` for `-`, and in trailers. A value may have [variables]" +
				"(#variables-of-fields)."},
		{path: "headers.response", typ: typeHeaders, example: `{ Server = "" }`,
			into: into(func(e *routeEntry) *[]Header { return &e.ResponseHeaders }),
			doc:  "Fields to set in the answer, likewise."},
		{path: "access_log", typ: typeAccessLog, example: "false",
			into: into(func(e *routeEntry) *AccessLog { return &e.AccessLog }),
			doc:  "Where its requests are logged instead of where the listener says; `false`: nowhere."},
		{path: "timeouts.first_byte", typ: typeDuration, min: "1ms", max: "24h", example: `"5s"`,
			into: into(func(e *routeEntry) *time.Duration { return &e.FirstByte }),
			doc:  "Instead of what the upstream says."},
		{path: "timeouts.read", typ: typeDuration, min: "1ms", max: "24h", example: `"5s"`,
			into: into(func(e *routeEntry) *time.Duration { return &e.Read }),
			doc:  "Instead of what the upstream says."},
		{path: "timeouts.total", typ: typeDuration, min: "1ms", max: "24h", example: `"30s"`,
			into: into(func(e *routeEntry) *time.Duration { return &e.Total }),
			doc:  "Instead of what the upstream says."},
		{path: "timeouts.idle", typ: typeDuration, def: `"1h"`, min: "1s", max: "8760h", example: `"10m"`,
			into: into(func(e *routeEntry) *time.Duration { return &e.TunnelIdle }),
			doc: "How long a WebSocket, another tunnel, or a gRPC call whose answer has begun may be without a byte " +
				"in either direction."},
	}
}
