// Package config reads edge.toml and turns it into plain structs, or into errors that carry file:line:column.
//
// It is not a server and not a file watcher: it starts nothing, opens no socket, resolves no name, and never looks at
// another file than the one it was given. Whoever wants the configuration to come alive hands the result to package
// server.
//
// A file goes through four stations, each in files of its own:
//
//	text -- toml.go --> tree -- decode.go --> document -- resolve.go --> Config
//	                    nodes with spans      typed values by section    names resolved, defaults filled in
//	        every station adds to one Report; none of them stops at the first error
//
// The schema (keys.go) is the one place where a key exists: its row names the type, default, range, aliases,
// documentation and the field it fills. The decoder, the did-you-mean hints and the reference page are all derived from
// it, so a new key is one row, one field and its use. Another file format is another builder of the same tree.
//
// Life cycle: Load or Parse returns a *Config and a *Report. The Config is nil when the Report has errors; otherwise it
// is complete, immutable by convention, and safe for any goroutine to read. A Report keeps the text of its file so that
// it can show the offending lines; drop it when it has been shown.
//
// Limits: 16 MiB a file, 64 levels of nesting, 20 errors shown (the number of the others is told).
package config
