// Package engine runs network connections on event loops, one for each processor, without a goroutine for each
// connection. It knows sockets, buffers and time; it knows no protocol.
//
// # Life cycle
//
// New makes an Engine with its reactors, Listen opens addresses, Start runs the reactors. Drain closes connections as
// they become idle, and Stop ends all. The accept function gives an accepted connection its Handler; Dial takes the
// Handler of a dialled one.
//
//	e, _ := engine.New(engine.Options{})
//	e.Listen(engine.ListenOptions{Addr: addr}, func(c *engine.Conn) engine.Handler { return &echo{} })
//	e.Start()
//
// # One tick
//
//	1 wait    for events, until the next timer;      5 turns   of ready connections: write what waits,
//	          each makes its connection ready                  then read and deliver
//	2 mail    tasks that others posted               6 later   deferred tasks
//	3 timers  what is due makes connections ready    7 flush   one write for each connection that has something
//	4 accept  new connections, which are ready       8 reap    OnClose, close(2)
//
// No callback runs inside another one: what a callback does to a connection takes effect in a later step. A
// connection is registered with the kernel once and its timer is almost never moved in the wheel, so that a request
// on a warm connection costs a read and a write and nothing else.
//
// # Threads and ownership
//
// A Conn, its buffers and timers are owned by one reactor, and their methods are for its callbacks only; a build
// with -tags invariants checks that. Other goroutines post a Task and keep a Ref instead of a Conn. Code that
// blocks goes to Offload. Bytes that a callback is given are borrowed until it returns.
//
// # Back-pressure
//
// Write takes everything, up to a hard limit. A relay asks Congested after a write and calls PauseRead on its
// source until OnSendable comes.
//
// # Limits
//
// See Options and docs/limits/engine.md: bytes of a send queue, unread bytes, turns and accepts for each tick, jobs,
// and a budget of memory for all buffers. When it is short, caches are emptied first, then accepting pauses, then
// reading (Pressure).
package engine
