package engine

// Stats are the counters of one reactor or, added up, of an Engine. All are monotonic except the gauges at the end.
type Stats struct {
	Ticks        uint64
	Events       uint64
	StaleEvents  uint64 // events for a connection that was closed in the same batch
	Tasks        uint64 // posted tasks that ran
	Accepted     uint64
	HandedOff    uint64 // accepted here, given to a reactor with fewer connections
	Dialed       uint64
	DialFailed   uint64 // failed at once; later failures are OnClose's
	Closed       uint64
	Left         uint64 // connections that another reactor was given; Closed too
	Adopted      uint64 // connections taken over from another reactor
	Released     uint64 // connections given to another process; Closed too
	Received     uint64 // connections taken over from another process
	BytesIn      uint64
	BytesOut     uint64
	BytesSpliced uint64 // of BytesIn, the bytes that the kernel moved by splicing
	Splices      uint64 // how often splicing began
	Panics       uint64 // handlers that panicked: their connection was closed

	MailCut  uint64 // ticks that left posted tasks for the next one
	TurnsCut uint64 // ticks that left ready connections for the next one

	Redials         uint64 // attempts to connect put off by a full backlog of a Unix socket
	ConnectTimeouts uint64 // closed with ErrConnectTimeout
	SendTimeouts    uint64 // closing connections that did not take their queue within SendTimeout

	AcceptPaused uint64 // out of descriptors, above ConnsMax or under memory pressure
	Yielded      uint64 // idle connections that were closed for newcomers
	AcceptFailed uint64 // connections that died before they were accepted
	ReadFull     uint64 // closed with ErrReadFull
	ReadPaused   uint64 // reads put off under memory pressure
	QueueFull    uint64 // writes refused with ErrQueueFull
	PipesRefused uint64 // splices that found no pipe
	GivenUp      uint64 // closing connections that were cut under memory pressure, since their peers took nothing
	SlowTicks    uint64 // ticks longer than 10 ms
	Busy         uint64 // ns of wall time in ticks, without waiting
	SlowestTick  int64  `tally:"max"` // ns; 0: none took longer than 1 ms

	OffloadRefused uint64 // jobs refused because the pool was full; of the whole Engine
	OffloadPanics  uint64 // jobs that panicked; of the whole Engine

	Conns    int64 // open now, accepted ones
	BufBytes int64 // in buffers now, and what handlers Account
	BufKept  int64 // in free buffers now, and what handlers Keep
	Timers   int64 // in the wheel now
}
