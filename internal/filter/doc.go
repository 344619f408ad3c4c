// Package filter has what types of filters are made of: a filter has one name, in a configuration and in Go.
//
// A type is a struct, whose fields are the keys of its table, and a function that makes a proxy.Filter of one. The
// packages below this one have the types that edge itself has. The registry is package plugin, as it is for
// destinations and all other kinds of types: it says what fields and tags there are, and what outlives a reload.
//
// # Life cycle
//
// New runs once for each filter of a configuration, when that is loaded, and again for each reload. An error or a panic
// of New refuses the configuration, and the present one goes on. None of this runs for a request, but TextOf, which is
// for the goroutine that owns the exchange.
package filter
