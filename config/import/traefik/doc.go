// Package traefik reads the configuration of Traefik 2 and 3 into a plan for edge.
//
// It is not a Traefik: it knows the static and the dynamic configuration as files, labels and flags have them, the
// language of rules, and the middlewares that do what a route of edge does.
//
//	files ─ tree.go ────► nodes ─┬ entrypoints.go, certs.go ──► listeners
//	        compose.go:          ├ routers.go: rules, by rule.go, matchers.go, literals.go
//	        labels, flags        │   └ cells ─ asks.go ─► write.go ──► routes
//	                             ├ steps.go, redirects.go, headers.go: what middlewares do in a route
//	                             ├ filters.go: those that are filters
//	                             ├ services.go, transport.go ──► upstreams
//	                             └ words.go ──► findings about all the rest
//
// Traefik takes the first router by priority, edge the most specific route. The routes are made such that both choose
// alike: where a router goes first and is not the more specific one, what it shares with others has a route of its own.
// Rules that exclude something (!) become routes for what they exclude, which lead to where the next router does. See
// cells.
//
// PathPrefix compares texts: PathPrefix(`/api`) takes /apix. Such paths have a condition where the router may refuse
// requests; elsewhere they are among the losses, unless the text ends with a slash. An expression that does not stand
// for a few texts, and ClientIP, are conditions in the language, of which edge counts all of a route as one: see apart.
// A router whose rule edge cannot ask for is left out; one with a guard that edge does not have is closed in all that
// it may take: 403. What leads to a service without servers answers 503.
//
// Each line of a file of Traefik is in the result or among the findings. Of a file of Docker Compose the labels and the
// flags are.
//
// Import may be called from any goroutine; what it returns belongs to the caller.
//
// Limits: 8000 cells of an entry point, 256 ways to meet a rule, 100 middlewares of a router, those of package syntax
// and of plan.Reader.
package traefik
