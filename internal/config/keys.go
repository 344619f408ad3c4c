package config

import (
	"slices"
	"strings"
	"sync"

	"github.com/edge-proxy/edge/internal/config/plugins"
	"github.com/edge-proxy/edge/internal/config/schema"
	"github.com/edge-proxy/edge/internal/config/syntax"
	"github.com/edge-proxy/edge/internal/plugin"
)

// listenerSections are those about the process and its clients.
func listenerSections() []*schema.Section {
	return []*schema.Section{
		schema.Table[topEntry](tags(), schema.Section{Doc: "Keys that stand before the first section."}),
		schema.Table[globalEntry](tags(), schema.Section{Path: "global", Top: true, Doc: "The process as a whole."}),
		schema.Table[logEntry](tags(), schema.Section{Path: "log", Doc: "The log of requests.",
			Keep: func(k *schema.Key) bool {
				if k.Path == "format" {
					k.Default = `"json"` // elsewhere it is as [log] says
				}
				return true
			}}),
		schema.Table[listenerEntry](tags(), schema.Section{
			Path: "listeners", Shape: schema.List, Merges: true, Defaults: "tls",
			Aliases: []schema.Alias{
				{Path: "http", Doc: "one listener for plain HTTP"},
				{Path: "https", Doc: "one listener for TLS, with `cert` and `key`, or with the pairs of " +
					"`[[certificates]]`"},
				{Path: "network", Doc: "one listener; with `ssl_certificate` it takes TLS and plain HTTP on one port"},
			},
			Doc: "Addresses that are served alike. Two listeners never share an address.",
			Keep: func(k *schema.Key) bool {
				if k.Path == "type" {
					return false
				}
				if k.Path == "access_log" {
					k.Doc = "Place of the access log of this listener, in place of `[log] output`; `false`: none. A " +
						"table sets more keys; a key that it leaves out is as in `[log]`. See " +
						"[requests](logging.md#which-requests-are-logged)."
				}
				return true
			},
		}),
		schema.Table[tlsEntry](tags(), schema.Section{Path: "tls", Doc: "TLS of all listeners. Most of these keys " +
			"may stand in a listener too, and hold for that one then."}),
		schema.Table[certificateEntry](tags(), schema.Section{
			Path: "certificates", Shape: schema.List,
			Doc: "Certificates for all listeners with TLS, found by the name that a client asks for: the exact name, " +
				"then `*.parent`. A listener's own certificate comes before them; a client that asks for an unknown " +
				"name gets the listener's own, else the first of these. Of several for one name, the first that the " +
				"client can verify. The files are watched: a pair that changed is used for new connections within " +
				"seconds, and a wrong pair changes nothing. A path that is not found from the working directory " +
				"is looked for beside the file that names it.",
		}),
	}
}

// serviceSections are the sections of services. Their entries are listeners, without keys that are about HTTP.
func serviceSections() []*schema.Section {
	services := schema.Table[listenerEntry](tags(), schema.Section{
		Path: plugin.Services.Section, Shape: schema.Named, Defaults: "tls", Variants: plugins.Services.Variants(),
		Doc: "Protocols that are not HTTP, each at addresses of its own: [TCP](tcp.md), a type of a " +
			"[module](plugins.md#services), or the service of that name of a [program](framework.md#services). A " +
			"service has certificates, TLS and limits as a listener has them.",
		Keep: ofServices,
		New: func(_ schema.Target, n *syntax.Node) schema.Target {
			e := &listenerEntry{service: true}
			if n != nil {
				e.Name, e.Struct = n.Key, plugins.Services.NewStruct(n)
			}
			return e
		},
	})
	return []*schema.Section{services, schema.Table[serviceRouteEntry](tags(), schema.Section{
		Path: plugin.Services.Section + ".NAME.routes", Shape: schema.List,
		Doc: "Where connections of a service of the type tcp lead: the first route whose condition holds takes a " +
			"connection. See [by name](tcp.md#by-name-sni).",
	})}
}

// listenKeys are the keys of listeners that services have, beside those about TLS.
var listenKeys = []string{"listen", "connection_filters", "proxy_protocol.from",
	"proxy_protocol.required", "limits.connections", "limits.connections_per_client", "user_timeout",
	"fast_open", "socket_mode", "socket_owner", "access_log.path", "access_log.format"}

// httpTLSKeys are the keys about TLS that mean nothing without HTTP.
var httpTLSKeys = []string{"strict_sni", "hsts"}

// securedPaths are the paths of securedKeys.
var securedPaths = sync.OnceValue(func() (paths []string) {
	for _, k := range securedKeys() {
		paths = append(paths, k.Path)
	}
	return paths
})

// ofServices leaves out the keys that are about HTTP.
func ofServices(k *schema.Key) bool {
	table, _, _ := strings.Cut(k.Path, ".")
	switch {
	case k.Path == "type":
		k.Doc = plugins.Services.Does
	case k.Path == "tls":
		k.Doc = "Take TLS. Default: `true` where there is a `cert`, else `false`. Without a `cert`, clients get a " +
			"certificate of `[[certificates]]`."
		k.Example = "true"
	case k.Path == "access_log":
		k.Doc = "Place of the access log of this service, in place of `[log] output`; `false`: none. A table may set " +
			"`format` too. For the type `tcp`, see [TCP services](tcp.md)."
	case k.Path == "limits.connections":
		k.Doc = "Maximum number of connections open at once on each address of the service. A further connection " +
			"waits. 0: no limit."
	default:
		return slices.Contains(listenKeys, k.Path) ||
			slices.Contains(securedPaths(), k.Path) && !slices.Contains(httpTLSKeys, table)
	}
	return true
}

// upstreamSections are those about backends.
func upstreamSections() []*schema.Section {
	return []*schema.Section{
		schema.Table[upstreamEntry](tags(), schema.Section{
			Path: "upstreams", Shape: schema.Named, Defaults: "upstream_defaults",
			Doc: "Named pools of backends. The upstream named `default` takes the requests that no route takes.",
			New: func(_ schema.Target, n *syntax.Node) schema.Target {
				return &upstreamEntry{Upstream: Upstream{Name: n.Key}}
			},
		}),
		schema.Table[backendEntry](tags(), schema.Section{
			Path: "upstreams.NAME.backends", Shape: schema.List, Bare: "address", New: newBackend,
			Doc: "The backends of an upstream; usually written `backends = [{ address = \"10.0.0.1:80\" }]`.",
		}),
		schema.Table[healthEntry](tags(), schema.Section{
			Path: "health_check", Switch: "enabled", Bare: "path",
			Doc: "Checks of backends. The section turns them on for all upstreams, those that a `dest` spells out " +
				"among them. Its keys are the defaults of `health_check` of an upstream. See [health](health.md).",
		}),
		schema.Table[healthEntry](tags(), schema.Section{
			Path: "upstreams.NAME.health_check", Defaults: "health_check", Switch: "enabled", Bare: "path",
			Doc: "Checks of the backends of this upstream. The table turns them on; `health_check = false` turns off " +
				"the checks of `[health_check]`.",
			New: func(parent schema.Target, _ *syntax.Node) schema.Target {
				e := &healthEntry{}
				parent.(*upstreamEntry).health = e
				return e
			},
		}),
		schema.Table[upstreamEntry](tags(), schema.Section{
			Path: "upstream_defaults", Keep: ofDefaults, Doc: "What an upstream does not say itself, for all of them.",
		}),
		schema.Table[memberEntry](tags(), schema.Section{
			Path: "load_balancing.backends", Shape: schema.List, Lists: "upstreams.NAME.backends",
			Doc: "Another way to write upstreams: backends with the same `name` form the upstream of that name, " +
				"those with the same `upstream` form that one too; all that name no `upstream` also form `default`.",
		}),
	}
}

func newBackend(parent schema.Target, _ *syntax.Node) schema.Target {
	e, of := &backendEntry{}, parent.(*upstreamEntry)
	of.backends = append(of.backends, e)
	return e
}

// ofDefaults leaves the keys out that each upstream says for itself.
func ofDefaults(k *schema.Key) bool {
	switch k.Path {
	case "tls", "discover", "failover", "proxy_protocol":
		return false
	case "load_balancing":
		k.Aliases = []string{"load_balancing.method"}
	case "pool.idle":
		k.Aliases = []string{"upstream_keepalive_pool_size"}
	case "retry.attempts":
		k.Aliases = []string{"max_retries"}
	}
	return true
}

// routeSections are those about routes, and some that stand after them on the reference page.
func routeSections() []*schema.Section {
	return []*schema.Section{
		schema.Table[routeEntry](tags(), schema.Section{
			Path: "routes", Shape: schema.List,
			Aliases: []schema.Alias{{Path: "proxy.rules", Shape: schema.List, Doc: "with `upstream` for `dest`"}},
			Doc: "Where requests go. The most specific route wins, whatever its place in the file: by host (exact, " +
				"then the longest `*.name`, then any), then by path (exact, then the longest prefix), then by the " +
				"number of conditions, of which `listener` comes before `client_cert` before `methods` before " +
				"`header` before `query` before `when`, and what differs still by the alphabet; what is equal shares " +
				"the requests by `weight`. A pattern that ends in `/*` or `/` is a prefix by segments (`/api/*` " +
				"takes `/api` and `/api/x`, not `/apix`; `/` takes everything), any other is exact; `=/` is the root " +
				"alone. Every spelling of a path is that path, see `paths` of listeners. Conditions (`listener`, " +
				"`client_cert`, `methods`, `header`, `query`, `when`) all have to hold, for the request as the " +
				"client sent it; where they do not, a less specific route may take it. What no route takes is " +
				"answered 404.",
		}),
		schema.Table[registerEntry](tags(), schema.Section{
			Path: "register", Shape: schema.List, Single: true,
			Doc: "Has others find this process, or a service beside it, by the sources of their `discover`. It is " +
				"withdrawn before the process stops accepting. See [discovery](discovery.md#registration).",
		}),
		schema.Table[tlsRuleEntry](tags(), schema.Section{
			Path: tlsRulesPath, Shape: schema.List,
			Doc: "Rules on TLS handshakes, by the name that the client asks for, its address, and what else its " +
				"first message tells. All of them are asked, in their order, until one denies; the first that " +
				"decides a thing decides it. See [rules on handshakes](tls.md#rules-on-handshakes).",
		}),
		schema.Table[tlsRuleEntry](tags(), schema.Section{
			Path: listenerRulesPath, Shape: schema.List,
			Doc: "Rules on the handshakes of a listener, which are asked before the rules of `[[tls.rules]]`.",
		}),
	}
}

// ruleSections returns [[rules]], [[listeners.rules]] and [[routes.rules]].
func ruleSections() (all []*schema.Section) {
	for _, s := range [][2]string{
		{"rules", "Rules for all requests, which run before a route is chosen, in their order, until one answers: " +
			"see [rules](rules.md). A rewrite there is what routes see."},
		{"listeners.rules", "Rules for the requests that come by a listener, before the rules of `[[rules]]`."},
		{"routes.rules", "Rules for the requests of a route, which run once it is chosen, before its filters. A " +
			"rewrite changes what is sent on."},
	} {
		all = append(all, schema.Table[ruleEntry](tags(), schema.Section{
			Path: s[0], Doc: s[1], Shape: schema.List, New: newRuleEntry, Keys: ruleLimits().Keys(),
		}))
	}
	return all
}

func newRuleEntry(_ schema.Target, n *syntax.Node) schema.Target {
	return &ruleEntry{Held: schema.Held{Struct: ruleLimits().New(n)}}
}
