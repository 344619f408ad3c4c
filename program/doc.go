// Package program makes a proxy server that an operator runs, of filters and destinations in Go: it adds a
// configuration file, flags, a daemon, signals, reloads, and upgrades that lose no request.
//
//	s := program.New(program.Flags())     // -c -d -t -u -h -V
//	s.Config(text)                        // TOML, under the file of -c
//	s.Filter("name", filter)              // filters = ["name"]
//	s.Destination("name", destination)    // dest = "name"
//	s.Add(service)                        // [services.NAME]: a protocol that is not HTTP
//	s.Background("name", run)             // work beside connections
//	program.Exit(s.Run())
//
// A program with its routes in code, and no file to read, needs package edge alone, at the root of the module, which
// links less. docs/framework.md has more about a server of one's own.
//
// # Configuration
//
// Two texts make one configuration: what Config was given, and the file of -c, which goes before it. Each key may be in
// either: an operator sets addresses, logs and limits, and may change any other. Without -c the text of Config is all.
//
// # Life cycle
//
//	Flags ─► New ─► Config, Filter, Destination, Add, Background ─► Run ─► a signal ─► nil or an error ─► Exit
//
// Run is the whole life of the process, the same as of "edge run": SIGHUP reads the file again, with the text of
// Config under it as before; SIGUSR2, or a second start with -u, hands over to a new process. Names and values are
// checked when Run begins: a name that was given twice, or nothing under a name, is its error.
//
// An upgrade asks the new program first, by its own arguments and -t, whether it can read the configuration. A program
// that was not begun with Flags says by Options.Check how it is asked.
//
// # Threads and ownership
//
// A Program belongs to one goroutine, which Run keeps until the end. Filters, destinations and services run on event
// loops: see packages proxy and engine. What is given here has one value over all reloads, so that its counts stay.
package program
