// Package caddy reads Caddyfiles and writes what edge has for them into a plan.
//
// It is not a Caddy: it knows no modules and starts none. Directives that it does not know are findings.
//
//	Caddyfile ── lexer ──► tokens ── parser ──► directives ── program ──► steps ── flow ──► sites of the plan
//	             quotes,             imports,   of sites      matchers,           branches,
//	             heredocs            snippets                 Caddy's order       steps
//
// Caddy runs the directives of a site one after the other, in an order of its own, until one answers. What answers is a
// branch of the site, with the condition of its matcher and of the blocks around it; what changes a request is a step
// before the branches that come after it. A block with a matcher is run with all that follows it in the site, and what
// follows is run once more for other requests: see flow.
//
// Matchers look at the path that directives before them have made of it. The path is a text of the file, a value of
// the language, or both: "/index" + path.
//
// An import is one call of Import; it belongs to one goroutine and keeps nothing.
//
// Limits: the limits of package plan, 500,000 directives, and 1000 directives of a site that are run more than once.
package caddy
