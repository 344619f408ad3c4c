// Package traefik reads the configuration of Traefik 2 and 3 into a plan for edge.
//
//	files ─ tree.go ────► nodes ─┬ listeners.go: entry points, TLS ──► listeners
//	        compose.go:          ├ routers.go: entry points ──► sites, routers ──► branches
//	        labels, flags        │   └ rules.go: rules ──► conditions
//	                             ├ resolvers.go: resolvers ──► [acme], acme.json ──► pairs
//	                             ├ steps.go, redirects.go, filters.go: middlewares ──► targets
//	                             ├ services.go ──► upstreams
//	                             └ words.go: members ──► keys of edge, or findings
//
// An entry point is a site. Its routers are the branches, by priority. What a router does is a target: its middlewares,
// then its service. Routers that do the same share one. A redirectRegex that is for some requests of a router is a
// branch before it. Package plan decides what is a route and what a rule.
//
// What the backend sees of a path is an expression of the language, which middlewares change one after the other:
//
//	addPrefix /x, stripPrefixRegex /x/[0-9]+      re_replace(("/x" + path), "^(?:/x/[0-9]+)/?", "/")
//
// A router with a guard that edge does not have refuses all that comes as far: 403. What leads to a service without
// servers answers 503. Each line of a file of Traefik is in the result or among the findings. Of a file of Docker
// Compose the labels and the flags are.
//
// Import may be called from any goroutine; what it returns belongs to the caller.
//
// Limits: 100 middlewares of a router, 16 KiB of a rule, the limits of package syntax and of plan.Reader.
package traefik
