// Package connfilter decides which connections of clients go on: by their addresses, and by what a handshake has told.
//
// It knows no request, no route and no configuration: package proxy has filters of requests. It does not look at bytes
// that have come, and delays no connection.
//
//	accepted ─► Accept of each ─► handshake ─► Secure of each ─► session
//	               │ false                        │ false
//	               └──────────► closed ◄──────────┘
//
// A connection without TLS is asked about once, by Accept. Before and After put the filters of a listener around what
// makes the handlers of its connections; where no filter has the function, they return that as it is, so a listener
// without filters costs nothing.
//
// # Threads
//
// A Filter is immutable, and its functions are asked by all reactors at once, each on the reactor of the connection.
// They return at once. A panic closes that connection, and is logged by the engine.
package connfilter
