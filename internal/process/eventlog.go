package process

import (
	"bytes"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/edge-proxy/edge/internal/config"
	"github.com/edge-proxy/edge/internal/config/value"
	"github.com/edge-proxy/edge/internal/observe"
	"github.com/edge-proxy/edge/internal/plugin"
	"github.com/edge-proxy/edge/internal/server/logsink"
)

// eventsPerSecond bounds the lines of one kind in the event log: what a client can provoke must not fill a disk.
const eventsPerSecond = 100

const (
	eventsBytes = 256 << 10             // of lines that wait for the writer
	eventsFlush = 10 * time.Millisecond // how long a line waits at most, unless the output is slow
	eventsWait  = 2 * time.Second       // how long the end, and a change of the output, wait for a slow output
)

// eventLog is the log of what happens to the process: text on a terminal, else JSON. Reactors write to it, so
// nothing waits for the output: a line is copied, one goroutine writes it, and where there is no room it is
// dropped and counted. When the output takes lines again, one line says how many are missing.
//
// Only the start and the end of the process wait for the output, at most eventsWait: so their lines are in order
// with what is printed to stderr directly.
//
// Safe for any goroutine.
type eventLog struct {
	level slog.LevelVar // as levels says
	levels
	is    fileInfo                      // of the first output: later ones get lines of the same form
	lines atomic.Pointer[observe.Lines] // of out
	last  *observe.Bounded              // stderr, for lines after out is closed
	also  *alsoLog
	more  slog.Handler // Options.Log; nil: there is none

	changing sync.Mutex   // held while the output changes, which takes time; never by a reactor
	out      *eventOutput // guarded by changing
	detached bool         // stderr is the file of out; guarded by changing

	mu    sync.Mutex
	sinks []*observe.Sink // of out, and of earlier outputs that hang; guarded by mu
	past  missing         // of the other earlier outputs; guarded by mu
}

// missing counts lines that were lost.
type missing struct {
	dropped uint64 // because there was no room
	refused uint64 // by the output
}

func (m *missing) add(s *observe.Sink) {
	st := s.Stats()
	m.dropped += st.Dropped
	m.refused += st.Lost
}

// eventOutput is a file, or a server, with the goroutine that writes to it.
type eventOutput struct {
	path   string    // or the URL of the server
	file   *os.File  // nil: it is a server
	server io.Writer // nil: it is a file
	sink   *observe.Sink
}

// standard are the files that error_log names by a word.
var standard = map[string]*os.File{"stdout": os.Stdout, "stderr": os.Stderr}

// openEventLog opens path, which may be a word of standard, or the URL of a server.
func openEventLog(path, level string) (*eventLog, error) {
	e := &eventLog{last: observe.NewBounded(os.Stderr, eventsWait), also: newAlsoLog()}
	out, err := e.open(path)
	if err != nil {
		return nil, err
	}
	if e.is.err = fs.ErrInvalid; out.file != nil {
		e.is.FileInfo, e.is.err = out.file.Stat()
	}
	e.setLevel(level)
	e.out, e.sinks = out, []*observe.Sink{out.sink}
	e.lines.Store(out.sink.Lines())
	return e, nil
}

// open opens an output for use.
func (e *eventLog) open(path string) (o *eventOutput, err error) {
	o = &eventOutput{path: path, file: standard[path]}
	switch {
	case value.IsLogTarget(path):
		o.server, err = logsink.Target(path)
	case o.file == nil:
		o.file, err = observe.OpenFile(path)
	}
	if err != nil {
		return nil, fmt.Errorf("error log: %w", err)
	}
	to := o.server
	if o.file != nil {
		to = o.file
	}
	o.sink, err = observe.Open(observe.Options{
		Writer: to, Notice: e.notice,
		RingBytes: eventsBytes, BatchBytes: eventsBytes, Flush: eventsFlush, CloseWait: eventsWait,
	})
	return o, err
}

// close writes what waits and closes the file, or the connection to the server.
func (o *eventOutput) close() error {
	err := o.sink.Close()
	if o.server != nil {
		_ = plugin.Close(o.server) // which ends a write that waits
		return err
	}
	if standard[o.path] != nil {
		return err
	}
	if err != nil && o.file.SetWriteDeadline(time.Now()) == nil { // it is a named pipe, and now it refuses the rest
		err = o.sink.Close()
	}
	_ = o.file.Close()
	return err
}

// beginEventLog opens the outputs that cfg has, and makes them the log of the process. more is given the lines too,
// unless it is nil.
func beginEventLog(cfg *config.Config, more slog.Handler) (*eventLog, error) {
	e, err := openEventLog(cfg.Global.ErrorLog, cfg.Global.LogLevel)
	if err != nil {
		return nil, err
	}
	e.more = more
	slog.SetDefault(e.logger()) // before another output has to tell of failures
	commit, _, err := e.also.prepare(cfg)
	if err != nil {
		e.close()
		return nil, err
	}
	commit()
	return e, nil
}

func (e *eventLog) logger() *slog.Logger {
	all := []slog.Handler{observe.NewLogger(&e.level, e).Handler(), e.also.handler(&e.level)}
	if e.more != nil {
		all = append(all, e.more)
	}
	return slog.New(observe.NewLimited(slog.NewMultiHandler(all...), eventsPerSecond))
}

// Write takes one line.
func (e *eventLog) Write(line []byte) (int, error) {
	for {
		lines := e.lines.Load()
		n, err := lines.Write(line)
		if err == nil {
			return n, nil
		}
		if lines == e.lines.Load() { // there is no later output
			return e.last.Write(line)
		}
	}
}

// Stat returns the FileInfo of the first output: a terminal gets text.
func (e *eventLog) Stat() (fs.FileInfo, error) { return e.is.Stat() }

// notice makes the line that says how many are missing. It is an observe.Options.Notice.
func (e *eventLog) notice(dropped, refused uint64, err error) []byte {
	attrs := []any{"dropped", dropped, "refused", refused}
	if err != nil {
		attrs = append(attrs, "error", err)
	}
	return e.lossLine(attrs...)
}

// lossLine makes a line about missing lines. It is logged at any level.
func (e *eventLog) lossLine(attrs ...any) []byte {
	line := struct {
		bytes.Buffer
		fileInfo
	}{fileInfo: e.is}
	observe.NewLogger(new(slog.LevelVar), &line).Error("lines of the error log are missing", attrs...)
	return line.Bytes()
}

func (e *eventLog) missing() missing {
	e.mu.Lock()
	defer e.mu.Unlock()
	sum := e.past
	for _, s := range e.sinks {
		sum.add(s)
	}
	return sum
}

func (e *eventLog) register(r *observe.Registry) {
	r.CounterFunc("edge_error_log_dropped_total", "Lines of the error log dropped since it was not read.",
		func() uint64 { return e.missing().dropped })
	r.CounterFunc("edge_error_log_lost_total", "Lines of the error log that its output refused.",
		func() uint64 { return e.missing().refused })
	e.also.register(r)
}

// reopen opens the path again after the file was renamed.
func (e *eventLog) reopen() error {
	e.changing.Lock()
	defer e.changing.Unlock()
	if e.out.server != nil || standard[e.out.path] != nil {
		return nil
	}
	is, _ := e.out.file.Stat()
	if now, err := os.Stat(e.out.path); err == nil && os.SameFile(is, now) && now.Mode()&fs.ModeNamedPipe == 0 {
		return nil // it was not renamed; a pipe may hang
	}
	next, err := e.open(e.out.path)
	if err != nil {
		return err
	}
	e.change(next)
	return nil
}

// prepare opens the outputs of a new configuration unless they are open. It is a server.Options.Prepare.
func (e *eventLog) prepare(cfg *config.Config) (commit, undo func(), err error) {
	return both(e.prepareOwn, e.also.prepare)(cfg)
}

// both joins the functions by which two parts of the process follow a configuration; second may be nil.
func both(
	first, second func(cfg *config.Config) (commit, undo func(), err error),
) func(cfg *config.Config) (commit, undo func(), err error) {
	if second == nil {
		return first
	}
	return func(cfg *config.Config) (commit, undo func(), err error) {
		commitFirst, undoFirst, err := first(cfg)
		if err != nil {
			return nil, nil, err
		}
		commitSecond, undoSecond, err := second(cfg)
		if err != nil {
			undoFirst()
			return nil, nil, err
		}
		return func() { commitFirst(); commitSecond() }, func() { undoSecond(); undoFirst() }, nil
	}
}

func (e *eventLog) prepareOwn(cfg *config.Config) (commit, undo func(), err error) {
	e.changing.Lock()
	path := e.out.path
	e.changing.Unlock()
	g := &cfg.Global
	if g.ErrorLog == path {
		return func() { e.setLevel(g.LogLevel) }, func() {}, nil
	}
	next, err := e.open(g.ErrorLog)
	if err != nil {
		return nil, nil, err
	}
	commit = func() {
		e.setLevel(g.LogLevel)
		e.use(next)
	}
	return commit, func() { _ = next.close() }, nil
}

func (e *eventLog) use(next *eventOutput) {
	e.changing.Lock()
	defer e.changing.Unlock()
	e.change(next)
}

// change is use. e.changing is held.
func (e *eventLog) change(next *eventOutput) {
	old := e.out
	e.out = next
	e.mu.Lock()
	e.sinks = append(e.sinks, next.sink)
	e.mu.Unlock()
	e.lines.Store(next.sink.Lines())
	if e.detached {
		_ = e.redirect() // after an error stderr stays what it was
	}
	if old.close() == nil {
		e.mu.Lock()
		e.past.add(old.sink)
		e.sinks = slices.DeleteFunc(e.sinks, func(s *observe.Sink) bool { return s == old.sink })
		e.mu.Unlock()
	}
	if st := old.sink.Stats(); st.Dropped+st.Lost > st.Told {
		_, _ = e.Write(e.lossLine("output", old.path, "lines", st.Dropped+st.Lost-st.Told))
	}
}

func (e *eventLog) sync() {
	e.changing.Lock()
	defer e.changing.Unlock()
	_ = e.out.sink.Sync() // an error means that the output is too slow to wait for
}

// close writes all lines. Later ones go to stderr, which stays what it is.
func (e *eventLog) close() {
	e.also.close()
	e.changing.Lock()
	defer e.changing.Unlock()
	_ = e.out.close()
}

// fileInfo is the result of a Stat.
type fileInfo struct {
	fs.FileInfo
	err error
}

// Stat returns i.
func (i fileInfo) Stat() (fs.FileInfo, error) { return i.FileInfo, i.err }
