package server

import (
	"context"
	"crypto/fips140"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"syscall"

	"github.com/edge-proxy/edge/config"
	"github.com/edge-proxy/edge/internal/cgroup"
	"github.com/edge-proxy/edge/internal/safeopen"
	"github.com/edge-proxy/edge/observe"
	"github.com/edge-proxy/edge/tlsconn"
)

// RunOptions are what Run has beside the configuration. The zero value is good.
type RunOptions struct {
	Options
	// Load reads the configuration again, for SIGHUP; nil: there is no file to read.
	Load func() (*config.Config, *config.Report)
	// Started is called when s listens.
	Started func(s *Server)
	// Signals are those that the caller hears since before it had a configuration. Run takes them over; nil: it makes
	// its own.
	Signals *Signals
}

// Run serves cfg until a signal ends it: it is the whole life of the process. It takes over the process: its signals,
// its default logger, GOMAXPROCS and the memory limit. The error says why it could not start, or what it could not
// finish. With fips = true the process begins again, unless it began with that mode on. With daemon = true it starts
// itself once more, and Run returns when that one serves; when that one ended instead, the error is an *exec.ExitError.
//
//	SIGHUP             read the configuration again and apply it
//	SIGUSR1            open the log files again
//	SIGTERM, SIGQUIT   accept nothing new, let requests end within grace_period, end; a second one ends at once
//	SIGINT             end at once
func Run(cfg *config.Config, o RunOptions) error {
	if cfg.Global.FIPS {
		if err := enterFIPS(); err != nil {
			return err
		}
	}
	parent, err := waitingParent()
	if err != nil {
		return err
	}
	if cfg.Global.Daemon && parent == nil {
		return detach()
	}
	id, err := enter(&cfg.Global)
	if err != nil {
		return err
	}
	signal.Ignore(syscall.SIGPIPE) // a reader of our log that goes away is an error of that write, not our end
	if o.Signals == nil {
		o.Signals = NewSignals()
	}
	o.Signals.hearEnds()
	defer o.Signals.stop()
	id.ownLogs(cfg)
	events, err := openEventLog(cfg.Global.ErrorLog, cfg.Global.LogLevel)
	if err != nil {
		return err
	}
	defer events.close()
	slog.SetDefault(events.logger())
	o.events = events
	if err := o.becomes(id); err != nil {
		return err
	}
	o.opened = func(s *Server) error {
		if err := writePID(cfg.Global.PIDFile); err != nil {
			return err
		}
		return id.become(s)
	}
	limitMemory(cfg.Global.MemoryLimit)
	s, err := New(cfg, o.Options)
	if err != nil {
		return err
	}
	spareProcessor(len(s.engine.Reactors()), cfg.Global.Park == "syscall" || cfg.Global.Pin)
	defer removePID(cfg.Global.PIDFile)
	if err := s.Start(); err != nil {
		_ = s.Stop() // the first error is the one to tell
		return err
	}
	if fips140.Enabled() {
		slog.Info("cryptography by FIPS 140-3", "module", tlsconn.ProviderName())
	}
	s.sayListening()
	if o.Started != nil {
		events.sync() // it may print
		o.Started(s)
	}
	if err := release(parent, events); err != nil {
		_ = s.Stop()
		return err
	}
	p := process{server: s, signals: o.Signals, load: o.Load, cfg: cfg}
	p.serve()
	err = s.Stop()
	slog.Info("stopped", "counters", totals{s.Registry()})
	return err
}

// totals shows a registry in one line of the event log: what is not zero.
type totals struct{ *observe.Registry }

// LogValue lists the series.
func (t totals) LogValue() slog.Value {
	var attrs []slog.Attr
	t.Each(func(s observe.Sample) {
		if s.Value == 0 || strings.HasSuffix(s.Name, "_timestamp_seconds") {
			return
		}
		name := strings.TrimPrefix(s.Name, "edge_")
		for _, l := range s.Labels {
			name += " " + l.Value
		}
		attrs = append(attrs, slog.Float64(name, s.Value))
	})
	return slog.GroupValue(attrs...)
}

func (s *Server) sayListening() {
	for _, a := range s.Addresses() {
		slog.Info("listening", "listener", a.Listener, "address", a.Addr.String())
	}
}

// process is a Server with the signals that steer it.
// Owned by the goroutine of Run.
type process struct {
	server  *Server
	signals *Signals
	load    func() (*config.Config, *config.Report)
	cfg     *config.Config // the present one
}

// serve obeys signals until one of them ends the process.
func (p *process) serve() {
	for {
		sig := p.signals.next(nil)
		if sig == syscall.SIGHUP {
			sig = p.reload()
		}
		switch sig {
		case nil:
		case syscall.SIGUSR1:
			p.reopen()
		case syscall.SIGINT:
			slog.Info("stopping at once", "signal", sig.String(), "connections", p.server.Conns())
			return
		default:
			p.drain(sig)
			return
		}
	}
}

// reload returns the signal to end that came while the files were read, if any: a disk may keep their reader waiting.
func (p *process) reload() (end os.Signal) {
	if p.load == nil {
		slog.Warn("nothing to reload: there is no configuration file")
		return nil
	}
	var cfg *config.Config
	var report *config.Report
	read := make(chan struct{})
	go func() {
		cfg, report = p.load()
		close(read)
	}()
	select {
	case <-read:
		p.apply(cfg, report)
		return nil
	case end = <-p.signals.ends:
		return end
	}
}

// apply makes cfg the present configuration if there is nothing wrong with it.
func (p *process) apply(cfg *config.Config, report *config.Report) {
	for _, list := range [][]config.Problem{report.Errors, report.Warnings} {
		for i := range list {
			p.tell(&list[i])
		}
	}
	if !report.OK() {
		p.server.CountFailedReload()
		slog.Error("reload failed, nothing has changed", "errors", len(report.Errors)+report.More)
		return
	}
	diff, err := p.server.Apply(cfg)
	if err != nil {
		slog.Error("reload failed, nothing has changed", "error", err)
		return
	}
	p.cfg = cfg
	if diff.Empty() {
		slog.Info("configuration reloaded, nothing has changed")
		return
	}
	slog.Info("configuration reloaded", "changes", diff)
	if len(diff.Restart) > 0 {
		slog.Warn("these keys take effect after a restart", "keys", diff.Restart)
	}
	if diff.listeners() {
		p.server.sayListening()
	}
}

// tell logs one finding about the configuration.
func (p *process) tell(problem *config.Problem) {
	level := slog.LevelWarn
	if problem.Severity == config.SeverityError {
		level = slog.LevelError
	}
	var more []any
	if problem.Hint != "" {
		more = []any{"hint", problem.Hint}
	}
	slog.Log(context.Background(), level, "configuration: "+problem.Error(), more...)
}

func (p *process) reopen() {
	if err := p.server.Reopen(); err != nil {
		slog.Error("log files not opened again", "error", err)
		return
	}
	slog.Info("log files opened again")
}

// drain lets requests end within the grace period. Another signal to end cuts it short.
func (p *process) drain(sig os.Signal) {
	grace := p.cfg.Global.GracePeriod + p.cfg.Global.ShutdownTimeout
	slog.Info("draining", "signal", sig.String(), "connections", p.server.Conns(), "grace_period", grace.String())
	whole, done := false, make(chan struct{})
	go func() {
		whole = p.server.Drain(grace)
		close(done)
	}()
	for {
		switch next := p.signals.next(done); {
		case next == syscall.SIGUSR1:
			p.reopen()
		case next == syscall.SIGHUP:
			slog.Warn("no reload while draining")
		case next != nil:
			slog.Warn("draining cut short", "signal", next.String(), "connections_cut", p.server.Conns())
			return
		case whole:
			slog.Info("drained")
			return
		default:
			slog.Warn("grace period over", "connections_cut", p.server.Conns())
			return
		}
	}
}

// spareProcessor gives goroutines that are no reactors a processor (P) of their own where one is free. Where there is
// none, one more would cost every request a switch; unless reactors sleep on threads of their own, for then the others
// would wait until the runtime notices, 10 ms at worst.
func spareProcessor(reactors int, ownThreads bool) {
	if ownThreads || reactors < runtime.GOMAXPROCS(0) {
		runtime.GOMAXPROCS(reactors + 1)
	}
}

// limitMemory tells the garbage collector how much there is: what the configuration says, else 80 % of what the cgroup
// allows. GOMEMLIMIT goes before the cgroup.
func limitMemory(limit int64) {
	if limit == 0 && os.Getenv("GOMEMLIMIT") == "" {
		limit = cgroup.Memory() / 5 * 4
	}
	if limit > 0 {
		debug.SetMemoryLimit(limit)
	}
}

func writePID(path string) error {
	if path == "" {
		return nil
	}
	f, err := safeopen.Open(path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o644)
	if err == nil {
		_, err = f.WriteString(pidText())
		err = errors.Join(err, f.Close())
	}
	if err != nil {
		return fmt.Errorf("pid_file: %w", err)
	}
	return nil
}

// removePID removes the file, unless another process has written its own id into it since.
func removePID(path string) {
	if path == "" {
		return
	}
	if b, err := os.ReadFile(path); err == nil && string(b) == pidText() {
		_ = os.Remove(path)
	}
}

func pidText() string { return strconv.Itoa(os.Getpid()) + "\n" }
