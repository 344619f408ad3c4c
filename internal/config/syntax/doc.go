// Package syntax turns the text of a configuration file, in TOML, YAML or JSON, into a tree in which every value knows
// its place, and collects what is wrong in a Report.
//
// It is not a configuration: it knows no key, no section and no default. Package schema gives the tree a meaning.
//
//	text -- toml.go, --> Node -- expand.go --> Node
//	        yaml.go,     with    ${NAME},      with strings
//	        json.go      Spans   ${file:…}     replaced
//	        all of them report to one Report; none of them stops at the first error
//
// ParseTree chooses the format by the name of the file, or by its content when the name does not tell. After a syntax
// error in TOML, parsing goes on at the next line that looks like a beginning, so that one slip does not hide others.
// Each format builds the same tree. Another format is another builder.
//
// What ${…} stands for may be a password: secret.go removes it from every problem that is reported after Expand.
//
// Life cycle: a Source, its tree and its Report belong to the goroutine that reads the file. A Report keeps the text of
// its files, so that it can show the lines in question; drop it when it has been shown.
//
// Limits: 64 levels of nesting, 10 000 values from aliases of YAML, 64 KiB for a file that a string quotes, 200 errors
// collected and 20 shown.
package syntax
