// Package sim simulates Linux in memory: scripted, seeded, without threads and without waiting. A reactor that
// runs on a [Kernel] of a [World] cannot tell it from epoll and TCP, except that every event which is rare in reality
// (a byte that arrives alone, a full socket, a reset between two calls, a descriptor used again at once) is common
// here, and that one number, the seed, repeats it all.
//
// It is not a model of a network's speed, and no program uses it: tests and benchmarks import it.
//
// # What is in a World
//
// A clock that moves only when all reactors wait; one table of descriptors, lowest free number first, that all its
// kernels share; listening sockets; connections, each of two ends with buffers of seeded size; and the far side, which
// the test drives: [World.Dial] gives a client as a [Peer], [World.Serve] an origin as a [Listener]. Bytes travel in
// segments of seeded size after seeded delays, in order within a connection and in no order between connections.
//
// Datagrams travel one by one, from address to address: Net says how many are lost, doubled, changed or too long, how
// late they come, and how many a link carries. [World.DialDatagrams] gives a far side as a [DatagramPeer], and
// [World.Rebind] changes its address. Sockets of reactors reach each other as well.
//
//	reactor 0 ── Kernel 0 ─┐                        ┌─ Peer (World.Dial: a client)
//	reactor 1 ── Kernel 1 ─┤  descriptors ── ends ══╪═ Peer (World.Serve: an origin)
//	                       └─ events, clock, seed ──┘
//
//	sim.Run(t, 1000, func(t testing.TB, w *sim.World) {
//		r := start(w.Kernel(0)) // whatever has a Tick; it listens on addr
//		w.Add(r)
//		p := w.Dial(addr)
//		p.SendString("hello")
//		if err := w.Run(func() bool { return string(p.Received()) == "hello" }, 10000); err != nil {
//			t.Fatal(err) // with the seed, the state of all sockets and the latest calls
//		}
//	})
//
// # What holds, as on Linux
//
// Readiness is reported when something happened, and then all that holds at the time of Wait is in the report: bytes
// that arrive report CanWrite too. What does not hold any more when Wait looks is not reported. A read that gives
// less than asked has drained the socket; a write that takes less than offered has filled it. After FIN unread bytes
// come first, then 0. After RST unread bytes come first, then ECONNRESET once, then 0; writes say ECONNRESET once,
// then EPIPE. Closing with unread bytes sends RST, and so does a closed socket to whom bytes come. A UDP socket says
// EAGAIN while too much has not left, and reports CanWrite after that alone. Datagrams of one peer may come as a run.
// The conformance tests run one table for streams and one for datagrams against this package and the real kernel.
//
// EINTR does not exist: it is hidden below the seam, by the one of poller as well.
//
// # Misuse
//
// A call with a closed descriptor, a second Close, and a call by a reactor other than the reactor that registered the
// descriptor are bugs wherever they occur. They are remembered, and [World.Run] and [Run] fail with them.
//
// # Threads
//
// A World belongs to one goroutine, which steps the reactors by turns ([World.Run]). Only Kernel.Wake may be called by
// others; see [World.Outside] when a test has such others.
//
// [Loop] is something else: a kernel without any of this, for benchmarks, where only its cost matters.
package sim
