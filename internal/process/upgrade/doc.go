// Package upgrade is the protocol by which a running process hands its sockets and connections to its
// successor: the frames, and the state machine of each side.
//
// It is pure: it opens no descriptor, reads no clock and starts nothing. A machine is told what happened and returns
// what to do. internal/process/handover carries the frames, with their descriptors, and internal/process does the rest.
//
//	old                                          new
//	 │ ◄──────────── HELLO ─────────────────────── │  which versions it knows
//	 │ ───────────── OFFER, SOCKETS n ───────────► │  the manifest, the secrets, all sockets
//	 │ ◄─ WORKING … READY, or REFUSE ───────────── │  it has read its configuration and tested itself
//	 │ ───────────── GO ─────────────────────────► │  the old one accepts no more, and keeps its copies of the sockets
//	 │ ◄──────────── SERVING ───────────────────── │  it accepts; pid_file and the other names are its own now
//	 │ ───────────── GIVE n ─────────────────────► │  idle connections, up to 253
//	 │ ◄──────────── OWN n, DROP i ─────────────── │  only now the old one closes its copies of them
//	 │ ◄──────────── PASS ──────────────────────── │  a further process serves, which has the sockets too
//	 │ ◄──────────── CUT ───────────────────────── │  a further upgrade is not to wait for what drains
//	 │ ───────────── DRAIN, BYE ─────────────────► │  nothing is left
//
// # What holds at every step
//
// While one of the two lives, one accepts, or will when it has read what lies in the channel. A connection has one
// owner. Only the end of the channel gives sockets and connections back to the old process: a time-out cannot tell a
// slow process from a dead one, so it leads to SIGKILL, and the kernel ends the channel after that. The end of the
// channel tells the new process to go on alone, with what it has, unless REFUSE came before.
//
// # Versions
//
// The layout of a frame's head never changes. HELLO names the versions that its sender knows, OFFER the highest
// that both know. A type or a field that the receiver does not know is ignored, unless it is marked: a type by its
// highest bit, a field by its name in the list "must". testdata holds the bytes of version 1.
//
// # Threads and limits
//
// A machine is owned by one goroutine. A frame has at most MessageMax bytes and FilesMax descriptors; at most four
// batches of connections are under way without OWN.
package upgrade
