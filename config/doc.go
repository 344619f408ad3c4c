// Package config reads edge.toml, in TOML, YAML or JSON, and turns it into plain structs, or into errors that carry
// file:line:column.
//
// It is not a server and not a file watcher: it starts nothing, opens no socket, resolves no name. Beside the file it
// was given it reads those that include names and those that strings quote as ${file:…}. Whoever wants the
// configuration to come alive hands the result to package server.
//
// A file goes through these stations, each in files of its own:
//
//	text -- package --> tree -- merge.go --> tree -- set.go, --> document -- resolve.go --> Config
//	        syntax      of one               of all  decode.go   typed       names resolved,
//	                    file                 files               values by   defaults filled in
//	                                                             section
//	        every station adds to one Report; none of them stops at the first error
//
// include.go drives the first one for each file. The schema (keys.go) is the one place where a key exists: its row
// names the type, default, range, aliases, documentation and the field it fills. The decoder, the merger, the hints
// and the reference page are all derived from it, so a new key is one row, one field and its use.
//
// Life cycle: Load or Parse returns a *Config and a *Report. The Config is nil when the Report has errors; otherwise it
// is complete, immutable by convention, and safe for any goroutine to read. A Report keeps the text of its files so
// that it can show the offending lines; drop it when it has been shown.
//
// Limits: 16 MiB and 4096 files a configuration, 8 files including each other, and
// those of package syntax.
package config
