// Package builtin has the types of filters that edge itself has: a program that imports it knows all of them in the
// configurations that it loads, as the binary edge does.
//
//	import _ "github.com/edge-proxy/edge/internal/filter/builtin"
//
// Small types are structs of this package, whose fields are the keys of a file: IP addresses (Access), CORS, CSRF,
// Fault, Maintenance, RequestLimits and SecurityHeaders. Larger ones have packages of their own, which all.go imports:
// internal/filter/basicauth and internal/filter/ratelimit. A program whose filters are made in Go calls their New
// functions:
//
//	f, err := builtin.NewCORS(&builtin.CORS{Origins: []string{"https://app.example.com"}}, nil)
//
// The types of others' modules come with their packages in the same way; edge build writes the imports for a binary
// with such modules.
//
// Types are registered when the program starts, and work when a configuration names them. A filter is safe for all
// reactors; what it costs and bounds is said at its type.
//
// A package that is added below filter with a type of its own gets its line in all.go: a test looks for packages that
// have none.
package builtin
