// Package builtin has the types of filters that edge itself has: a program that imports it knows all of them.
//
// Small types are structs of this package, whose fields are the keys of a file: IP addresses (Access), CORS, CSRF,
// Fault, Maintenance, RequestLimits and SecurityHeaders. Larger ones have packages of their own, which all.go imports:
// internal/filter/basicauth and internal/filter/ratelimit. A filter is safe for all reactors; what it costs and bounds
// is said at its type.
//
// A package that is added below filter with a type of its own gets its line in all.go: a test looks for packages that
// have none.
package builtin
