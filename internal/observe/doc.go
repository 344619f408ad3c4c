// Package observe says what a proxy did: access log, event log, counters.
//
// Registry.Each lists what is counted, for a caller that speaks a wire format, and a Sink writes
// lines to a file or a pipe. The package knows no connection and no configuration.
//
// # Access log
//
// A Sink is one output with one writing goroutine. Every producer, usually a reactor, has an
// AccessLog of its own, which encodes a Record straight into a ring that only it writes to:
//
//	reactor 0 ── AccessLog ── ring ──┐
//	reactor 1 ── AccessLog ── ring ──┼── writer ── one large write ── file
//	reactor 2 ── AccessLog ── ring ──┘
//
// A producer never waits: when its ring is full, the record is dropped and counted. The writer
// shares a core with the producers, so it is woken seldom: at once by the first record after a
// silence, then once per Options.Flush, and earlier only when a ring is a quarter full. Then it
// takes the lines out of the rings and writes them when there are many. A record is handed to the
// output at the latest Options.Flush (1 s) after it was appended, unless the output itself is
// slow. An idle Sink has no timer.
//
// # Event log
//
// Events come from many goroutines, reactors among them. Sink.Lines is one producer for all of
// them, an io.Writer for NewLogger: it copies a line under a lock, drops and counts it where too
// much waits, and never waits for the output. With Options.Notice the output itself says how many
// lines are missing, and where. Bounded is for the last words of a process, which are written in
// place.
//
// # Failures
//
// A failing output loses the lines it refused; they are counted, the Sink goes on, and the event
// log hears of it at most once a minute. To survive a broken pipe on stdout or stderr the process
// must ignore SIGPIPE: the Go runtime otherwise ends it.
//
// # Life cycle
//
// Open, then Sink.AccessLog (or Sink.Ring) per producer, or Sink.Lines for all, Reopen after the
// file was rotated, Close when the producers have stopped. Close writes what lies in the rings and
// waits for it at most Options.CloseWait.
//
// # Ownership
//
// An AccessLog, a Ring and an Encoder belong to one goroutine. Sink, Lines, Bounded, Registry and
// Counter are safe for any goroutine. A Record's byte slices are borrowed until the append returns.
//
// # Limits
//
// A text in a record counts 256 bytes at most (TextMax), a record RecordMax encoded bytes, a ring
// Options.RingBytes (256 KiB), Lines as much and one line of 4 MiB (lineMax), what is gathered
// 2 MiB (Options.BatchBytes), and as much while it is written, a Registry 10 000 series
// (seriesMax), and Limited 1 024 kinds of lines (kindsMax).
package observe
