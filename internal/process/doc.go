// Package process runs a server as a process: it obeys signals, goes to the background, gives up the rights of
// root, keeps the log of events and the pid file.
//
// It does not know what a configuration makes of a Server, and holds nothing of its insides: it calls New, Listen,
// Start, Apply, Reopen, Drain and Stop, and gives it what server.Options has.
//
// # Life cycle
//
//	Run ─► fips ─► daemon ─► pid file ─► event log ─► server.New ─► Listen ─┐
//	         │        │              ┌──────────────────────────────────────┘
//	         │        │              └► user ─► lockdown ─► Start ─► signals ─► Stop
//	         └────────┴── begins the program again, which comes this far by itself
//
// What only root may open is open after Listen, and the first connection is accepted after Start. Between the two
// the process becomes the user that the configuration names, and gives up what it will not need (package lockdown).
//
// # Threads and ownership
//
// Run belongs to the goroutine that calls it. It takes over the process: its signals, its default logger,
// GOMAXPROCS, the memory limit and, as a daemon, stderr. Once per process. Find is for other processes.
//
// # Upgrades
//
// In the old process, upgradesocket.go hears of a new one, upgrades.go starts it, inheritance.go lists the sockets and
// keys that it gets, and connectionhandover.go passes connections on. In the new one, predecessor.go takes them over.
// runupgrade.go is the part of Run in both.
//
// # The event log
//
// Any goroutine logs by slog, reactors too. A line is copied, and one goroutine writes it: a slow output costs
// lines, which are counted, and no time.
package process
