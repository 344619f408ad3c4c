// Package engine runs network connections on event loops, one for each processor, without a goroutine for each
// connection. It knows sockets, buffers and time; it knows no protocol.
//
// # Life cycle
//
// New makes an Engine with its reactors, Listen opens addresses, Start runs the reactors, Drain ends it politely and
// Stop for good. A connection that is accepted gets a Handler, one that is dialled brings it along.
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
// No callback runs inside another one: whatever a callback does to a connection takes effect in a later step.
// A connection is registered with the kernel once and its timer is almost never moved in the wheel, so that a request
// on a warm connection costs a read and a write and nothing else.
//
// # Threads and ownership
//
// A Conn, its buffers and timers are owned by one reactor, and their methods are for its callbacks only. Everybody else
// posts a Task, and keeps a Ref instead of a Conn. Code that blocks goes to Offload. Bytes that a callback is given are
// borrowed until it returns.
//
// # Back-pressure
//
// Write always takes everything, up to a hard limit. Whoever relays looks at Congested after a write and calls
// PauseRead on the source until OnSendable comes.
//
// # Limits
//
// See Options and docs/limits.md: bytes of a send queue, unread bytes, turns and accepts for each tick, jobs, and a
// budget of memory for all buffers, under which first caches, then accepting, then reading gives way (Pressure).
package engine
