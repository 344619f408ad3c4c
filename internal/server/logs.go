package server

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"path/filepath"
	"runtime"
	"slices"
	"sync"
	"time"
	"weak"

	"golang.org/x/sys/unix"

	"github.com/edge-proxy/edge/internal/config"
	"github.com/edge-proxy/edge/internal/config/schema"
	"github.com/edge-proxy/edge/internal/config/tracing"
	"github.com/edge-proxy/edge/internal/config/value"
	"github.com/edge-proxy/edge/internal/observe"
	"github.com/edge-proxy/edge/internal/observe/otlp"
	"github.com/edge-proxy/edge/internal/plugin"
	"github.com/edge-proxy/edge/internal/server/logsink"
	"github.com/edge-proxy/edge/proxy"
)

// watchedFlush is how long a line waits that a person watches for.
const watchedFlush = 10 * time.Millisecond

// isTerminal reports whether an output is one.
func isTerminal(path string) bool {
	var fd int
	switch path {
	case "stdout":
		fd = unix.Stdout
	case "stderr":
		fd = unix.Stderr
	default:
		return false
	}
	_, err := unix.IoctlGetTermios(fd, unix.TCGETS)
	return err == nil
}

// sink is an output of the access log, with a log for each reactor.
// Guarded by Server.mu; each log is owned by its reactor.
type sink struct {
	path string // or the name of one of [log_sinks]
	sink *observe.Sink
	logs map[observe.Format][]proxy.AccessLog // by Reactor.Index

	defined *config.Definition // of [log_sinks]; nil: it is a file
	traces  *tracing.Tracing   // of which it takes the spans; nil: it takes access logs
	writer  io.Writer          // that it has made
	claims  *plugin.Claims     // what it keeps, as long as it is open
	listed  bool               // its counters are registered

	users []weak.Pointer[observe.AccessLog] // in place of logs, where a reload took it away

	once   sync.Once
	closed error // what close has said
}

// accessLogs are the outputs of access logs, and the one of traces. Those that are named again stay open.
type accessLogs struct {
	nothing
	*shared
	definitions *definitions
	now, next   map[string]*sink // see outputKey; now is guarded by shared.mu
	lingering   []*sink          // that a reload took away, until they are closed; guarded by shared.mu
}

func (p *accessLogs) prepare() error {
	p.next = make(map[string]*sink)
	p.reload.onFailure(func() { p.next = nil })
	c := p.reload.config
	outputs := c.Files("log")
	for i := range c.Defined {
		d := &c.Defined[i]
		named := func(f config.File) bool { return f.Path == d.Name }
		if d.Kind != plugin.LogSinks || !slices.ContainsFunc(outputs, named) {
			continue
		}
		if err := p.openSink(d); err != nil {
			return err
		}
	}
	for _, output := range outputs {
		if err := p.openTarget(output.Path); err != nil {
			return err
		}
	}
	for _, path := range LogPaths(c) {
		if old := p.now[path]; old != nil {
			p.next[path] = old
			continue
		}
		o := observe.Options{Path: path}
		if p.opts.Explain || isTerminal(path) {
			o.Flush = watchedFlush
		}
		if err := p.open(path, &sink{path: path}, o); err != nil {
			return err
		}
	}
	return nil
}

// openSink makes one of [log_sinks], or keeps the present one where its keys are the same.
func (p *accessLogs) openSink(d *config.Definition) error {
	key := outputKey(p.reload.config, d.Name)
	if old := p.now[key]; old != nil && old.defined.Like(*d) {
		p.next[key] = old
		return nil
	}
	of := p.definitions.of(d.Kind, d.Name, "")
	of.Kept = p.kept.ClaimLasting()
	w, err := makeDefined[io.Writer](d, of)
	if err != nil {
		of.Kept.Release()
		return err
	}
	return p.open(key, &sink{path: d.Name, defined: d, writer: w, claims: of.Kept}, outputOf(d.Name, w))
}

// openTarget opens output, where it is the URL of a server, or keeps it open.
func (p *accessLogs) openTarget(output string) error {
	if !value.IsLogTarget(output) || p.next[output] != nil || p.reload.config.Find(plugin.LogSinks, output) != nil {
		return nil
	}
	if old := p.now[output]; old != nil {
		p.next[output] = old
		return nil
	}
	w, err := logsink.Target(output)
	if err != nil {
		return fmt.Errorf("access log: %w", err)
	}
	return p.open(output, &sink{path: output, writer: w}, outputOf(output, w))
}

// outputOf returns the options of an output that w is. A reload and the end of the process wait for a server that takes
// nothing no longer than serverWait.
func outputOf(name string, w io.Writer) observe.Options {
	o := observe.Options{Path: name, Writer: sinkWriter{w}}
	if records, ok := w.(observe.RecordWriter); ok {
		o.Records, o.CloseWait = recordSinkWriter{records}, serverWait
	}
	return o
}

// serverWait is how long the last records wait for an output that takes records.
const serverWait = 2 * time.Second

func (p *accessLogs) open(key string, k *sink, o observe.Options) (err error) {
	p.reload.onFailure(func() { _ = k.close() })
	if k.sink, err = observe.Open(o); err != nil {
		return fmt.Errorf("access log: %w", err)
	}
	k.logs = make(map[observe.Format][]proxy.AccessLog)
	p.next[key] = k
	return nil
}

func (p *accessLogs) retire() {
	for path, k := range p.now {
		if p.next[path] != k {
			p.linger(k)
		}
	}
	p.now, p.next = p.next, nil
}

// linger closes k when no request can log to it any more.
func (p *accessLogs) linger(k *sink) {
	for _, logs := range k.logs {
		for _, log := range logs {
			k.users = append(k.users, weak.Make(log.(*observe.AccessLog)))
		}
	}
	k.logs = nil
	if p.lingering = append(p.lingering, k); len(p.lingering) == 1 {
		p.collect(100 * time.Millisecond)
	}
}

// collect closes the outputs whose logs are garbage, after some time, and again later, until no output lingers. A
// process without load would collect garbage every two minutes alone.
func (p *accessLogs) collect(after time.Duration) {
	time.AfterFunc(after, func() {
		runtime.GC()
		p.mu.Lock()
		unused := slices.DeleteFunc(slices.Clone(p.lingering), (*sink).isUsed)
		p.mu.Unlock()
		for _, k := range unused {
			if err := k.close(); err != nil {
				slog.Warn("an access log that a reload took away was not closed", "error", err)
			}
		}
		p.mu.Lock()
		defer p.mu.Unlock()
		p.lingering = slices.DeleteFunc(p.lingering, func(k *sink) bool { return slices.Contains(unused, k) })
		if len(p.lingering) > 0 {
			p.collect(min(2*after, time.Minute))
		}
	})
}

// isUsed reports whether a request may log to k, which a reload took away.
func (k *sink) isUsed() bool {
	return slices.ContainsFunc(k.users, func(log weak.Pointer[observe.AccessLog]) bool { return log.Value() != nil })
}

func (p *accessLogs) describe(*ledger) {
	for _, k := range p.now {
		if k.listed {
			continue
		}
		k.listed = true
		if e, exports := k.writer.(*otlp.Exporter); exports {
			e.Register(&p.counters.Registry, k.sink)
		}
		if k.traces == nil {
			k.sink.Register(&p.counters.Registry, observe.Label{Name: "output", Value: k.path})
		}
	}
}

func (p *accessLogs) stop() error {
	all := slices.AppendSeq(p.lingering, maps.Values(p.now))
	p.lingering = nil
	errs := make([]error, len(all))
	var wait sync.WaitGroup
	for i, k := range all { // each may wait for a slow output
		wait.Go(func() { errs[i] = k.close() })
	}
	wait.Wait()
	return errors.Join(errs...)
}

// reopen opens the files again, after they were renamed. shared.mu is held.
func (p *accessLogs) reopen() error {
	var errs []error
	for path, k := range p.now {
		if err := k.sink.Reopen(); err != nil && !errors.Is(err, observe.ErrNoPath) {
			errs = append(errs, fmt.Errorf("access log %s: %w", path, err))
		}
	}
	return errors.Join(errs...)
}

// sinkWriter is the writer of a module: a panic is an error, as one of the output.
type sinkWriter struct{ to io.Writer }

// Write writes p.
func (s sinkWriter) Write(p []byte) (n int, err error) {
	defer catch(&err)
	return s.to.Write(p)
}

// recordSinkWriter is sinkWriter for a writer that takes records.
type recordSinkWriter struct{ to observe.RecordWriter }

// WriteRecords writes p.
func (s recordSinkWriter) WriteRecords(p []byte) (n int, err error) {
	defer catch(&err)
	return s.to.WriteRecords(p)
}

// outputKey returns what stands for an output in accessLogs.now: a clean path, or what no clean path is.
func outputKey(c *config.Config, output string) string {
	if c.Find(plugin.LogSinks, output) != nil {
		return "//" + output
	}
	if value.IsLogTarget(output) {
		return output
	}
	return filepath.Clean(output)
}

// LogPaths returns the files that c names for access logs, "stdout" and "stderr" among them, each once.
func LogPaths(c *config.Config) (paths []string) {
	for _, output := range c.Files("log") {
		if path := filepath.Clean(output.Path); c.LogsToFile(output.Path) && !slices.Contains(paths, path) {
			paths = append(paths, path)
		}
	}
	return paths
}

// LogFiles returns the files that c names for access logs and the error log, each once.
func LogFiles(c *config.Config) []string {
	all := LogPaths(c)
	if path := c.Global.ErrorLog; path != "" && !value.IsLogTarget(path) { // it names no table of [log_sinks]
		all = append(all, filepath.Clean(path))
	}
	slices.Sort(all)
	all = slices.Compact(all)
	return slices.DeleteFunc(all, func(path string) bool { return path == "stdout" || path == "stderr" })
}

// by returns the logs that l asks for, one for each reactor; nil: there is none.
func (p *accessLogs) by(l *config.Log) []proxy.AccessLog {
	format := constant[observe.Format](&l.Logging, &l.Format)
	if p.opts.Explain && format == observe.FormatCommon {
		format = observe.FormatTimed
	}
	if len(l.Output) == 0 {
		return nil
	}
	logs := make([]proxy.AccessLog, p.Reactors())
	for _, path := range l.Output {
		out := p.next[outputKey(p.reload.config, path)]
		if out == nil {
			return nil // prepare has reported it
		}
		for i, log := range out.of(format, len(logs)) {
			if l.Line != nil {
				log = proxy.LogLines(log.(*observe.AccessLog), l.Line)
			} else if l.Fields != nil {
				log = newFieldLog(log.(*observe.AccessLog), *l.Fields, l.Redaction())
			}
			logs[i] = alsoTo(logs[i], log)
		}
	}
	choice := &proxy.LogChoice{When: l.When}
	if l.Always != nil {
		choice.Always = *l.Always
	}
	if l.Sample != nil {
		choice.Sample = proxy.SampleLog(*l.Sample)
	}
	for i := range logs {
		if p.opts.Explain {
			logs[i] = alsoTo(logs[i], explainer{})
		}
		if l.When != nil || l.Sample != nil {
			logs[i] = proxy.ChooseLog(logs[i], choice)
		}
	}
	return logs
}

// of returns the logs of k in a format. It makes them once: a ring lives as long as its sink.
func (k *sink) of(format observe.Format, reactors int) []proxy.AccessLog {
	logs := k.logs[format]
	if logs == nil {
		for range reactors {
			logs = append(logs, k.sink.AccessLog(format))
		}
		k.logs[format] = logs
	}
	return logs
}

// close writes what lies in k to its end, waits for that as long as observe.Options say, and closes k. It does so once,
// also where the server ends while k lingers.
func (k *sink) close() error {
	k.once.Do(func() { k.closed = k.end() })
	return k.closed
}

func (k *sink) end() error {
	var errs []error
	if k.sink != nil {
		err := k.sink.Close()
		if _, server := k.writer.(observe.RecordWriter); server && errors.Is(err, observe.ErrCloseWait) {
			err = nil // a server that is gone is no failure of this process: what is lost was told and counted
		}
		errs = append(errs, err)
	}
	errs = append(errs, plugin.Close(k.writer))
	if k.claims != nil {
		errs = append(errs, k.claims.Release()...)
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("access log %s: %w", k.path, err)
	}
	return nil
}

// fieldLog is an access log with members that the configuration adds. What came and was no request is logged without
// them. Owned by one reactor.
type fieldLog struct {
	*observe.AccessLog
	fields  []value.Text
	members []observe.Member
	values  [][]byte // of fields
	hidden  [][]byte // room for values of which something is hidden
	redact  *observe.Redaction
}

func newFieldLog(to *observe.AccessLog, fields []value.Text, redact *observe.Redaction) *fieldLog {
	n := len(fields)
	return &fieldLog{to, fields, make([]observe.Member, n), make([][]byte, n), make([][]byte, n), redact}
}

// AppendOf writes the record r of x with the members.
func (l *fieldLog) AppendOf(x *proxy.Exchange, r *observe.Record) {
	for i, f := range l.fields {
		l.values[i] = f.Value.Append(l.values[i][:0], proxy.View(x))
		l.members[i] = observe.Member{Name: f.Name, Value: l.redact.Text(&l.hidden[i], l.values[i])}
	}
	r.Members = l.members
	l.Append(r)
	r.Members = nil
}

// tee is an access log with several outputs.
type tee []proxy.AccessLog

// alsoTo returns a log that writes to both; before may be nil.
func alsoTo(before, log proxy.AccessLog) proxy.AccessLog {
	if before == nil {
		return log
	}
	if t, ok := before.(tee); ok {
		return append(t, log)
	}
	return tee{before, log}
}

// Append gives r to each of them.
func (t tee) Append(r *observe.Record) {
	for _, l := range t {
		l.Append(r)
	}
}

// AppendOf gives the record of x to each of them.
func (t tee) AppendOf(x *proxy.Exchange, r *observe.Record) {
	for _, l := range t {
		if of, ok := l.(proxy.ExchangeLog); ok {
			of.AppendOf(x, r)
		} else {
			l.Append(r)
		}
	}
}

// nowhere is the access log of a route that is not to be logged although its listener is.
type nowhere struct{}

// Append drops r.
func (nowhere) Append(*observe.Record) {}

// Choose chooses nothing.
func (nowhere) Choose(*proxy.Exchange) (proxy.AccessLog, string) { return nil, "" }

// ofRoute gives r the logs that c says; without any, the logs of the listener of each request stay.
func (p *accessLogs) ofRoute(r *proxy.Route, c *config.Route) {
	if c.AccessLog.IsZero() {
		return
	}
	same := true
	var first config.Log
	for i := range p.reload.config.Listeners {
		l := p.reload.config.LogOf(&p.reload.config.Listeners[i], c)
		if i == 0 {
			first = l
		}
		same = same && schema.Equal(first, l)
	}
	if same {
		r.Log = p.byOrNone(&first)
		return
	}
	r.LogsBy = make(map[string][]proxy.AccessLog)
	for i := range p.reload.config.Listeners {
		of := &p.reload.config.Listeners[i]
		l := p.reload.config.LogOf(of, c)
		r.LogsBy[of.Name] = p.byOrNone(&l)
	}
}

// byOrNone returns what l says, for a route: logs that have nothing where that is so.
func (p *accessLogs) byOrNone(l *config.Log) []proxy.AccessLog {
	logs := p.by(l)
	if logs == nil {
		logs = slices.Repeat([]proxy.AccessLog{nowhere{}}, p.Reactors())
	}
	return logs
}
