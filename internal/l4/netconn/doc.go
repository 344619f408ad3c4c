// Package netconn makes a net.Conn of a connection that a reactor owns, for code that blocks: net/http, crypto/tls, a
// hijacker, a client of another protocol. Nothing in edge needs it: it is for programs that import the engine.
//
// # Life cycle
//
// New is called in a callback of the engine.Conn and takes it over; the result is handed to a goroutine. Close ends the
// connection: what was written is sent first, in the background.
//
// # Threads and ownership
//
// The engine.Conn stays its reactor's. A Conn is safe for any goroutine but a reactor's, since its calls wait for a
// reactor.
//
// # Limits
//
// A Conn holds at most 32 KiB each way, and nothing while it is idle. Back-pressure is passed on in both directions.
// Deadlines and errors are the errors of package net: io.EOF, net.ErrClosed, os.ErrDeadlineExceeded. Each read that
// waits costs a switch of goroutines; where that matters, write an engine.Handler.
package netconn
