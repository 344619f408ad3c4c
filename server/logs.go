package server

import (
	"fmt"
	"path/filepath"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"github.com/edge-proxy/edge/config"
	"github.com/edge-proxy/edge/observe"
	"github.com/edge-proxy/edge/proxy"
)

// lingerTime is how long an access log that a reload took away stays open, for requests that log to it.
const lingerTime = time.Minute

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
	path string
	sink *observe.Sink
	logs map[observe.Format][]proxy.AccessLog // by Reactor.Index
}

// openLogs opens the outputs of access logs, and keeps those that the present generation has open.
func (b *build) openLogs() error {
	for _, path := range LogPaths(b.config) {
		if old := b.server.present.sinks[path]; old != nil {
			b.sinks[path] = old
			continue
		}
		o := observe.Options{Path: path}
		if b.server.opts.Explain || isTerminal(path) {
			o.Flush = watchedFlush
		}
		s, err := observe.Open(o)
		if err != nil {
			return fmt.Errorf("access log: %w", err)
		}
		k := &sink{path: path, sink: s, logs: make(map[observe.Format][]proxy.AccessLog)}
		b.sinks[path] = k
		b.fresh = append(b.fresh, func() { _ = k.close() })
	}
	return nil
}

// LogPaths returns the outputs that c names for access logs, "stdout" and "stderr" among them, each once.
func LogPaths(c *config.Config) (paths []string) {
	add := func(path string) {
		if path == "" {
			return
		}
		if path = filepath.Clean(path); !slices.Contains(paths, path) {
			paths = append(paths, path)
		}
	}
	for _, path := range c.Log.Output {
		add(path)
	}
	for i := range c.Listeners {
		add(c.Listeners[i].AccessLog.Path)
	}
	for i := range c.Routes {
		add(c.Routes[i].AccessLog.Path)
	}
	return paths
}

// logsTo returns logs that write to all paths, one for each reactor; nil without a path.
func (b *build) logsTo(paths []string) ([]proxy.AccessLog, error) {
	format, err := observe.ParseFormat(b.config.Log.Format)
	if err != nil {
		return nil, err
	}
	if b.server.opts.Explain && format == observe.FormatCommon {
		format = observe.FormatTimed
	}
	var all [][]proxy.AccessLog
	for _, path := range paths {
		logs := b.sinks[filepath.Clean(path)].of(format, len(b.server.engine.Reactors()))
		all = append(all, chosen(logs, &b.config.Log))
	}
	switch {
	case len(all) == 0:
		return nil, nil
	case len(all) == 1 && !b.server.opts.Explain:
		return all[0], nil
	}
	logs := make([]proxy.AccessLog, len(b.server.engine.Reactors()))
	for i := range logs {
		var each tee
		for _, l := range all {
			each = append(each, l[i])
		}
		if b.server.opts.Explain {
			each = append(each, explainer{})
		}
		logs[i] = each
	}
	return logs, nil
}

// chosen returns logs with the condition and the line of the configuration.
func chosen(logs []proxy.AccessLog, c *config.Log) []proxy.AccessLog {
	if c.When == nil && c.Line == nil {
		return logs
	}
	all := make([]proxy.AccessLog, len(logs))
	for i, l := range logs {
		all[i] = proxy.ChooseLog(l.(*observe.AccessLog), c.When, c.Line)
	}
	return all
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

func (k *sink) close() error {
	if err := k.sink.Close(); err != nil {
		return fmt.Errorf("access log %s: %w", k.path, err)
	}
	return nil
}

// linger closes k after lingerTime, when requests that log to it are done.
func (s *Server) linger(k *sink) {
	s.lingering = append(s.lingering, k)
	time.AfterFunc(lingerTime, func() {
		_ = k.close()
		s.mu.Lock()
		defer s.mu.Unlock()
		s.lingering = slices.DeleteFunc(s.lingering, func(other *sink) bool { return other == k })
	})
}

// tee is an access log with several outputs.
type tee []proxy.AccessLog

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

// logsOfListener returns the logs of a listener: its own, those of [log], or nil.
func (b *build) logsOfListener(l *config.Listener) ([]proxy.AccessLog, error) {
	switch {
	case l.AccessLog.Off:
		return nil, nil
	case l.AccessLog.Path != "":
		return b.logsTo([]string{l.AccessLog.Path})
	}
	return b.logsTo(b.config.Log.Output)
}

// logsOfRoute returns the logs of a route; nil: those of its listener.
func (b *build) logsOfRoute(r *config.Route) ([]proxy.AccessLog, error) {
	switch {
	case r.AccessLog.Off:
		logs := make([]proxy.AccessLog, len(b.server.engine.Reactors()))
		for i := range logs {
			logs[i] = nowhere{}
		}
		return logs, nil
	case r.AccessLog.Path != "":
		return b.logsTo([]string{r.AccessLog.Path})
	}
	return nil, nil
}
