// Package poller has the system calls of an event loop: sockets that never block, and a wait until one of them can be
// read or written, by epoll. Most programs want package engine, the event loops that are built on it.
//
// Kernel is the interface through which an event loop, a reactor, makes its system calls. NewEpoll makes the real one;
// a test can have a simulated one. The package knows descriptors and readiness, nothing of connections or protocols.
//
// # How it waits
//
// An epoll descriptor is itself pollable. epoll therefore does not block a thread in epoll_wait(2): its descriptor is
// registered with the poller of the Go runtime, asked with a time-out of zero, and when there is nothing the goroutine
// parks like any other that waits for the network. That costs no hand-off between threads. While its sleeps are short
// it dozes instead, see doze_linux.go. The other ways to park are there for machines on which a bench says otherwise.
//
// The deadline of a wait is a timerfd in the same set, armed anew only when the deadline moves earlier or has fired.
// Wake writes to an eventfd in the same set.
//
// # Raw calls
//
// Calls that cannot block (every descriptor is non-blocking, the time-out is zero) bypass the scheduler of Go. They
// stand in raw_linux.go and nowhere else. A raw call that blocks keeps a processor of Go to itself, and a raw call that
// goes on after a signal keeps the garbage collector waiting. So what may block goes the ordinary way, but for a doze
// (see ParkAuto), which is short and which a signal ends.
//
// # Readiness
//
// A descriptor is registered once, for both directions, edge-triggered, and never modified. A short read means that
// the socket was drained at that moment; whatever arrives later is a new edge. Only after PeerClosed or Broken must a
// reader go on until 0 or an error. A UDP socket is different in the direction of writing: see port in
// datagram_linux.go.
//
// # Datagrams
//
// A UDP socket of ListenDatagrams serves many peers. ReadBatch takes up to BatchMax messages by one call, WriteBatch
// sends as many from a SendBatch, and a message may be a run of datagrams that the kernel takes and gives in one piece:
// UDP_SEGMENT and UDP_GRO. Each message knows the address of this machine that it came to, so that the answer leaves by
// it. A datagram is never cut into fragments, and a peer that refuses datagrams is not reported.
//
// # Threads and ownership
//
// A Kernel is owned by one goroutine, its reactor; Wake alone is safe for any goroutine. Memory that the kernel reads
// or fills during a call (events, iovecs, socket addresses) are fields of the epoll, so that nothing escapes to the
// heap for each call.
//
// # Limits
//
// Events per wait: the length of the slice given to Wait, at most EventsMax. Buffers per Writev: IOVMax. Messages per
// batch: BatchMax; bytes of them that leave at once: SendBytes.
package poller
