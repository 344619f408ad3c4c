// Package program is a server of one's own with the life of edge: a configuration, flags, a daemon, signals, reloads
// and upgrades, around filters and destinations that the program has in code.
//
//	s := program.New(program.Flags())     // -c -d -t -u -h -V
//	s.Config(text)                        // TOML, under the file of -c
//	s.Filter("name", filter)              // filters = ["name"]
//	s.Destination("name", destination)    // dest = "name"
//	program.Exit(s.Run())
//
// It is for programs that an operator configures. A program with its routes in code, and nothing to read, needs the
// package at the root of the module, which links less.
//
// # Configuration
//
// Two texts make one configuration: what Config was given, and the file of -c, which goes before it. Each key may be in
// either: an operator sets addresses, logs and limits, and may change any other. Without -c the text of Config is all.
//
// # Life cycle
//
//	New ─► Config, Filter, Destination ─► Run ─► flags ─► process.Run ─► a signal ─► nil or an error ─► Exit
//
// Run is the whole life of the process, as package server/process says: SIGHUP reads the file again, with the text of
// Config under it as before; SIGUSR2, or a second start with -u, hands over to a new process. Names and values are
// checked when Run begins: a name that was given twice, or nothing under a name, is its error.
//
// An upgrade asks the new program first, by its own arguments and -t, whether it can read the configuration. A program
// that was not begun with Flags says by Options.Check how it is asked.
//
// # Threads and ownership
//
// A Program belongs to one goroutine, which Run keeps until the end. Filters and destinations run on event loops: see
// package proxy. A filter that is given here has one value over all reloads, so that what it counts stays.
package program
