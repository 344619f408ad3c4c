package process

import (
	"fmt"
	"io"
	"log/slog"
	"math"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/edge-proxy/edge/internal/config"
	"github.com/edge-proxy/edge/internal/observe"
	"github.com/edge-proxy/edge/internal/observe/otlp"
	"github.com/edge-proxy/edge/internal/plugin"
)

// alsoLog has [log_sinks] take the lines of the event log as well, as JSON: error_log_also. Nothing waits for them, as
// in an eventLog. Its Handler is for any goroutine.
type alsoLog struct {
	now atomic.Pointer[[]*alsoOutput] // stored by one goroutine at a time

	registry *observe.Registry // nil until register; owned by the goroutine that applies configurations
}

// alsoOutput is a table of [log_sinks] that was made for an alsoLog, with the goroutine that writes to it.
type alsoOutput struct {
	defined *config.Definition
	writer  io.Writer
	sink    *observe.Sink
}

const (
	alsoBytes = 256 << 10              // of lines that wait
	alsoWait  = 500 * time.Millisecond // that the end, and a change of outputs, wait for a slow one
)

func newAlsoLog() *alsoLog {
	a := new(alsoLog)
	a.now.Store(new([]*alsoOutput))
	return a
}

// prepare opens the outputs of a new configuration unless they are open. It is a server.Options.Prepare.
func (a *alsoLog) prepare(cfg *config.Config) (commit, undo func(), err error) {
	before := *a.now.Load()
	var next, opened []*alsoOutput
	undo = func() { closeAll(opened) }
	for _, name := range cfg.Global.ErrorLogAlso {
		d := cfg.Find(plugin.LogSinks, name)
		if d == nil { // the configuration was not parsed
			undo()
			return nil, nil, fmt.Errorf("error_log_also: there is no log sink %q", name)
		}
		i := slices.IndexFunc(before, func(o *alsoOutput) bool { return o.defined.Like(*d) })
		if i >= 0 {
			next = append(next, before[i])
			continue
		}
		o, err := openAlso(d)
		if err != nil {
			undo()
			return nil, nil, fmt.Errorf("error_log_also: %s: %w", d.Pos, err)
		}
		next, opened = append(next, o), append(opened, o)
	}
	commit = func() {
		a.now.Store(&next)
		if a.registry != nil {
			a.list(opened)
		}
		closeAll(slices.DeleteFunc(slices.Clone(before), func(o *alsoOutput) bool { return slices.Contains(next, o) }))
	}
	return commit, undo, nil
}

func openAlso(d *config.Definition) (o *alsoOutput, err error) {
	o = &alsoOutput{defined: d}
	if o.writer, err = plugin.Make[io.Writer](&d.Table, &plugin.Build{}); err != nil {
		return nil, err
	}
	o.sink, err = observe.Open(observe.Options{Path: d.Name, Writer: o.writer, RingBytes: alsoBytes,
		BatchBytes: alsoBytes, CloseWait: alsoWait})
	return o, err
}

// register lists the counters of outputs that are exporters, now and later.
func (a *alsoLog) register(r *observe.Registry) {
	a.registry = r
	a.list(*a.now.Load())
}

func (a *alsoLog) list(outputs []*alsoOutput) {
	for _, o := range outputs {
		if e, exports := o.writer.(*otlp.Exporter); exports {
			e.Register(a.registry, o.sink)
		}
	}
}

// close writes what waits, as long as alsoWait, and closes the outputs.
func (a *alsoLog) close() { closeAll(*a.now.Swap(new([]*alsoOutput))) }

func closeAll(outputs []*alsoOutput) {
	var wait sync.WaitGroup
	for _, o := range outputs {
		wait.Go(func() {
			_ = o.sink.Close()         // lost lines are counted
			_ = plugin.Close(o.writer) // which ends a write that waits
		})
	}
	wait.Wait()
}

// Write gives a line to each output. One without room drops it, and counts that.
func (a *alsoLog) Write(line []byte) (int, error) {
	for _, o := range *a.now.Load() {
		_, _ = o.sink.Lines().Write(line)
	}
	return len(line), nil
}

// handler returns the handler of a, which makes nothing of lines where there is no output.
func (a *alsoLog) handler(level slog.Leveler) slog.Handler {
	return slog.NewJSONHandler(a, &slog.HandlerOptions{Level: alsoLevel{a, level}})
}

// alsoLevel is the level of an alsoLog: above all others where it has no output.
type alsoLevel struct {
	log *alsoLog
	of  slog.Leveler
}

// Level returns it.
func (l alsoLevel) Level() slog.Level {
	if len(*l.log.now.Load()) == 0 {
		return math.MaxInt
	}
	return l.of.Level()
}
