// Package plan is the common part of all importers: sites as a program serves them, blocks of edge.toml whose lines
// know where they come from, and findings about what was not carried.
//
// It is not a parser of any file: packages nginx, haproxy, caddy and traefik read, each in its own language, and fill a
// Plan. A Block is a table of edge.toml, a key in it a line. A reader gives sites in the order of its program and knows
// nothing of how edge chooses: Write makes routes and rules of them.
//
//	file of another ── nginx, ──► []*Site ── Write ──► Plan ── Text ──► edge.toml, which config.Parse takes
//	program            haproxy …     ▲                  │                 ▲ │ a line that it does not take is removed
//	                                 └ Cond, Step       └► findings ◄─────┴─┘ and becomes a finding
//
//	Site     the requests for some hosts: Steps that run for all, then the first Branch whose Cond holds
//	Branch   a Cond, and the Target that it leads to
//	Target   Steps, and an End: a dest, an answer, a refusal
//	Words    a table of words of a program: each is a key of edge, a note or a loss
//
// Write is linear in the size of the file, but where one site has many branches: branchesMax.
//
// Text asks a Check for what is wrong with the text, removes the lines that are, and asks again. Each round removes one
// at least, and the empty file is right. So a result always loads, whatever an importer made of its file.
//
// A finding is Lost where the result does something else than the file said, and a Note where nothing had to be written
// or where a reader has to know more. One line of a file may have several.
//
// A Plan belongs to one goroutine. A Check is called from it.
//
// Limits: files of at most 64 MiB together, and 4096 of them (Reader).
package plan
