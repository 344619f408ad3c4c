// Package config knows the sections of edge.toml, gives their entries a meaning, and returns it as plain structs, or
// errors that carry file:line:column.
//
// It is not a server and not a file watcher: it starts nothing, opens no socket, resolves no name. It reads the file it
// is given, those that include names, and those that strings quote as ${file:…}. Load also looks at what the files
// name: certificates and authorities, and the user and the group in the database of users. Package server makes the
// configuration come alive.
//
//	text -- package --> tree -- package --> document -- resolve.go --> Config
//	        syntax      of each  schema     targets by   names resolved,
//	                    file                section      defaults filled in
//	        every station adds to one Report; none of them stops at the first error
//
// The rows of the schema are the one place of a key: keys.go and its neighbours. A row names the type, default, range,
// aliases, documentation and field of a key, so a new key is one row, one field and its use. A package that brings a
// feature has rows of its own and registers them: see Register.
//
// Life cycle: Load or Parse returns a *Config and a *Report. The Config is nil when the Report has errors; otherwise it
// is complete, immutable by convention, and safe for any goroutine to read, with what the packages below have added to
// it: caching, acme, tracing. A Report keeps the text of its files so
// that it can show the lines in question; drop it when it has been shown.
package config
