// Package schema gives the tree of a configuration its keys. A section is a struct; a field of it is the one place of a
// key: tags say its name, type, default, bounds and aliases, the comment above it what users read. The decoder, the
// merger of files, the hints, the reference page and the keys that wait for a restart are all read from them.
//
// It is not edge's configuration: it knows no section. Package config has the sections of the proxy. A package that
// brings a feature registers its own with config.Register, as config/caching does, and finds its entries by their type
// with schema.Only. A section with the path "routes.cache" stands inside the entries of another one.
//
// The way of a configuration:
//
//	files -- load.go, --> one tree -- set.go, --> Document -- Fill, --> targets with
//	         merge.go     of all      decode.go   targets     Resolve   defaults, checked
//
// Life cycle: a Schema is made once and is safe for any goroutine. A Document belongs to the goroutine that reads the
// files. Its targets may be kept after Detach.
//
// Limits: 16 MiB and 4096 files a configuration, 8 files that include each other, and the limits of package syntax.
package schema
