// Package syslog is an output of logs that speaks syslog: RFC 5424 or RFC 3164 over UDP, TCP, TLS and Unix sockets.
//
// It is not a queue: messages that the server does not take are refused, and an observe.Sink counts them as lost.
//
//	access log ── observe.Options.Records ─► WriteRecords ─┐
//	                                                       ├─► message ─► datagram, or a frame of a stream
//	error log ─── observe.Options.Writer ──► Write ────────┘
//
// # Transports
//
// A datagram (UDP, Unix) has one message, cut to Options.MaxSize. TCP and TLS count octets (RFC 6587 §3.4.1, RFC 5425
// §4.3). A stream on a Unix socket ends each message with a line feed: syslog-ng's unix-stream() and rsyslog's imptcp
// take that, and syslog-ng would take a count as text. journald and rsyslog's imuxsock have datagrams alone.
//
// # Failures
//
// A connection that breaks, or is not made, is made again after 1, 2, 4 … 30 s; meanwhile all messages are refused at
// once. No protocol of syslog has acknowledgements: messages that a broken connection had taken may be lost uncounted.
//
// # Life cycle, ownership, limits
//
// New does no I/O, the first write connects. A Writer has no goroutine: a write blocks up to Options.Timeout for a
// connection, and as long for each 64 KiB (chunkBytes) or datagram. One goroutine at a time writes; Close is safe for
// any goroutine, and ends a write.
package syslog
