// Package l4 relays connections of TCP: a Service takes the connections of a listener, connects each to a backend, and
// moves bytes both ways until one end is done.
//
// It knows no protocol above TCP and TLS, but for how PostgreSQL asks for TLS. It reads no configuration and opens no
// listener: it makes handlers for one. Package backend has the members, their balancing, health and ejection, as for
// HTTP.
//
//	client ─► engine.Listener ─► PROXY header, TLS ─► Service.Accept ─► pair ─ dial ─► backend
//	   ▲                                                                │                 ▲
//	   └──────────── bytes both ways, spliced where they are many ──────┴─────────────────┘
//
// # The life of a pair
//
// Nothing of the client is read until there is a connection to a backend: its first bytes wait in its socket. With
// Service.Peek they are read first, for up to five seconds, until they are a whole ClientHello or no TLS. They choose
// where the connection leads, and the backend gets them as they came.
//
// A connection that fails is tried at another member, as long as the time to connect allows; after that nothing is
// tried again, since bytes may have been used. The end of one side is passed on as an end (FIN), the other side goes
// on; a reset is passed on as a reset. One idle timeout is for both ways together.
//
// # Threads and ownership
//
// A Service and its Backends are immutable and for all reactors. A pair belongs to the reactor of its client's
// connection, and its connection to the backend is made there.
//
// # Limits
//
// A ClientHello has 16 KiB at most, in 18 KiB of records. Each way holds engine.Options.SendLow and one read, or a pipe
// while it is spliced. Seven members are tried for a connection, within twice Backends.Connect. Backends.Limits bounds
// the connections at a member, the listener all from clients.
package l4
