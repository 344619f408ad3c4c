// Package plugins reads the sections of a configuration whose tables are of registered types: [filters.NAME],
// [destinations.NAME] and the like, each with a key type.
//
// It makes nothing of them: package plugin registers the types, with the functions that make values of them, and
// package server calls these.
//
//	Kind         what the tables of one section stand for: filters, destinations, log sinks, …
//	Type         one type of a kind: its name, and its keys, of schema.Struct
//	Definition   a table of a file: its name, its type and a struct with the values of its keys
//
// A text of the language is kept as it is written until all files are read, and compiled by a Compiler then: it may
// name lists, maps and secrets of the configuration.
//
// Life cycle: types are registered by init functions, and none afterwards. A Definition is not changed after the
// configuration was loaded.
package plugins
