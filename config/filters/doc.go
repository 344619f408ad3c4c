// Package filters reads the lists of names in which listeners, all requests and routes say which filters are theirs.
//
//	filters = ["a", "!b"]     of a listener, [defaults] and a route     --> Lists
//
// It makes no filter and reads none: a name stands for one filter of the whole configuration, a table of [filters] (see
// config/plugins) or one that the program has made itself (server.Options.Filters).
//
// # Order
//
// Filters of the listener run first, then those of all requests, then those of the route: each once, at its first
// place. "!a" takes a out of the lists before. Rules add filters, and take them out, for requests that they hold for;
// what they name asks for each request: see Member.
//
// # Ownership
//
// All of it is pure: nothing here is changed after it was read, so it is safe for any goroutine.
package filters
