// Package config reads edge.toml, in TOML, YAML or JSON, and turns it into plain structs, or into errors that carry
// file:line:column.
//
// It is not a server and not a file watcher: it starts nothing, opens no socket, resolves no name. Beside the file it
// was given it reads those that include names and those that strings quote as ${file:…}. Whoever wants the
// configuration to come alive hands the result to package server.
//
// A file goes through these stations, each in files of its own:
//
//	text -- toml.go, --> tree -- expand.go, --> tree -- set.go, --> document -- resolve.go --> Config
//	        yaml.go,     nodes   merge.go       of all  decode.go   typed       names resolved,
//	        json.go      with    strings,       files               values by   defaults filled in
//	                     spans   then files                         section
//	        every station adds to one Report; none of them stops at the first error
//
// include.go drives the first two for each file. The schema (keys.go) is the one place where a key exists: its row
// names the type, default, range, aliases, documentation and the field it fills. The decoder, the merger, the hints
// and the reference page are all derived from it, so a new key is one row, one field and its use. Another file
// format is another builder of the same tree.
//
// What ${…} stands for may be a password: secret.go takes it out of every problem that is reported.
//
// Life cycle: Load or Parse returns a *Config and a *Report. The Config is nil when the Report has errors; otherwise it
// is complete, immutable by convention, and safe for any goroutine to read. A Report keeps the text of its files so
// that it can show the offending lines; drop it when it has been shown.
//
// Limits: 16 MiB and 4096 files a configuration, 8 files including each other, 64 levels of nesting, 10 000 values from
// aliases of YAML, 64 KiB for a quoted file, 20 errors shown (the number of the others is told).
package config
