// Package plugins reads the sections of a configuration whose tables are of registered types: [filters.NAME],
// [destinations.NAME] and the like, each with a key type.
//
// It makes nothing of them: package plugin has the types, with the functions that make values of them, and package
// server calls these.
//
//	Kind         the section of a kind of types: filters, destinations, log sinks, …
//	Definition   a table of a file: its name, its type and a struct with the values of its keys
//	Inside       a table of entries of another section, with the keys of a type
//
// A text of the language is kept as it is written until all files are read, and compiled by a Compiler then: it may
// name lists, maps and secrets of the configuration.
//
// Life cycle: types are registered by init functions, and none afterwards: their keys are made of the rows of their
// structs when a file is read for the first time. A Definition is not changed after the configuration was loaded.
package plugins
