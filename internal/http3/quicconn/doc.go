// Package quicconn is QUIC over the ports of an engine, server end: datagrams find their connections by the ids that
// they name, connections have their times, and their datagrams leave at the flush of the tick. It knows no HTTP.
//
//	Port.OnDatagrams ─► datagram ─► id ─► Conn ─► quic.Conn.Receive, Next … ─► Session.OnEvent …    EndBatch
//	                                 ├─ of another reactor ─► its mail
//	                                 ├─ of the process before ─► the link to it
//	                                 └─ unknown ─► a Conn │ Retry │ Version Negotiation │ stateless reset │ dropped
//	Port ◄─ Reserve, AppendDatagram, Commit ◄─ Conn.OnFlush ◄─ Conn.Wake
//
// A connection is an engine.Conn without a socket: limits, drains and filters hold for it as for any other, and it is
// accepted, secured and served by functions from *engine.Conn to engine.Handler, as a connection of TCP is:
//
//	Server.Use(filters(Secure(handshaker, options, filters(sessions))))
//
// # Ownership and limits
//
// A Conn, its codec and its session belong to one reactor, which its ids name. A datagram that comes to another reactor
// is copied and goes there by mail: MailMax bytes may be on their way to a reactor. Answers to datagrams without a
// connection have a budget for each reactor, and Retry packets another. After its end a connection is kept for three
// PTO, to answer late datagrams, as long as there are not more than ClosingMax of them.
package quicconn
