// Package filters reads the section [filters] of a configuration, and the lists of names in which listeners, all
// requests and routes say which of the filters are theirs.
//
// It makes no filter: package filter registers the types, with the function that makes one, and package server calls
// that.
//
//	[filters.NAME]            type, when, and the keys of the type      --> Filter
//	filters = ["a", "!b"]     of a listener, [defaults] and a route     --> Order
//
// A name stands for one filter of the whole configuration: a table of [filters], or one that the program has made
// itself (server.Options.Filters).
//
// A text of the language is kept as it is written until all files are read, and compiled by a Compiler then: it may
// name lists, maps and secrets of the configuration.
//
// Life cycle: types are registered by init functions, and none afterwards. A Filter is not changed after the
// configuration was loaded.
package filters
