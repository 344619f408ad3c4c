// Package notify tells the supervisor of a service what its process does, by the datagrams of sd_notify(3): that it is
// ready, reads its configuration again, ends, is alive, and in words what it is doing.
//
// It is not a client of systemd: any supervisor that sets NOTIFY_SOCKET is told the same. It links no library and knows
// nothing of what is served.
//
// # Life cycle
//
//	FromEnvironment ─► Ready ─► Status, Alive … ─► Reloading ─► Ready ─► … ─► Stopping ─► Status …
//
// A nil Socket, which FromEnvironment returns where no supervisor waits, takes every call and does nothing.
//
// # Threads and ownership
//
// A Socket is safe for any goroutine, reactors aside: a call waits up to sendWait for a supervisor that does not read.
// Each call is one datagram, and datagrams arrive in the order of the calls. A socket of the kernel is opened for each
// call, as libsystemd does: so the supervisor may make its own again meanwhile.
//
// # Failures
//
// What could not be sent is logged once and then dropped: a supervisor that went away does not keep the process from
// serving.
package notify
