package process

import (
	"cmp"
	"context"
	"crypto/fips140"
	"fmt"
	"log/slog"
	"math"
	"math/bits"
	"os"
	"os/signal"
	"runtime"
	"runtime/debug"
	"strings"
	"syscall"
	"time"

	"github.com/edge-proxy/edge/internal/base/cgroup"
	"github.com/edge-proxy/edge/internal/config"
	"github.com/edge-proxy/edge/internal/observe"
	"github.com/edge-proxy/edge/internal/process/rotate"
	"github.com/edge-proxy/edge/internal/process/supervisor"
	"github.com/edge-proxy/edge/internal/server"
	"github.com/edge-proxy/edge/internal/tls/tlsconn"
)

// Options are what Run needs in addition to the configuration. The zero value is good.
type Options struct {
	// Server is for server.New. Run sets Owner, Version and Reserve, and makes Prepare follow its own.
	Server server.Options
	// Log is given the lines of the event log too, as far as it is Enabled for them. Reactors write to it: it must not
	// wait. nil: not called.
	Log slog.Handler
	// Load reads the configuration again, for SIGHUP, or reads kept texts; nil: there is no file to read.
	Load func(r Reading) (*config.Config, *config.Report)
	// Files are those that the configuration was read from; nil: it cannot be told whether they change, and there is
	// no rollback to them.
	Files *config.Files
	// Watched is called after a change of the files was noticed and read: with what is wrong with them, what has
	// changed, or why nothing has. nil: the event log alone says so.
	Watched func(report *config.Report, diff *server.Diff, err error)
	// Started is called when s serves.
	Started func(s *server.Server)
	// Version and File are for the first line of the event log: which program serves, and by which configuration; "":
	// none.
	Version, File string
	// Upgrade takes over from the process that listens at upgrade_sock.
	Upgrade bool
	// Background is work beside connections. It begins before they are accepted.
	Background []Background
	// Check are arguments with which this program checks its configuration and prints findings as edge check --json
	// does; none: it cannot. A program is asked before an upgrade starts it.
	Check []string
	// Stats logs all counters at the end, as the log level debug does.
	Stats bool
	// Signals are those that the caller has heard since before it had a configuration. Run takes them over; nil: it
	// makes its own.
	Signals *Signals
}

// Reading is for config.Options: which texts to read, where to keep what was read, and what the client that has sent
// the texts may write. Each may be nil.
type Reading struct {
	Kept, Record *config.Files
	Sent         *config.Sent
}

// Run serves cfg until a signal ends it: it is the whole life of the process. The error says why it could not
// start, or what it could not finish. With fips = true the process begins again, unless it began with that mode
// on. With daemon = true it starts the program once more and returns when that process serves; when that process
// ended instead, the error is a *DaemonError. A listener takes over the socket that a supervisor has opened for its
// address and hands on as sd_listen_fds(3) says.
//
//	SIGHUP             open the log files again, read the configuration again and apply it
//	SIGUSR1            open the log files again
//	SIGUSR2            start the program again and hand over to it; with upgrade_on_reload SIGHUP too, if it changed
//	SIGTERM            accept nothing new, let requests end within grace_period, end; a second one ends at once
//	SIGQUIT            with upgrade_sock, expect a process that takes over; else as SIGTERM
//	SIGINT             end at once
//	SIGPWR             nothing, and the event log says so; SIGWINCH too, in a process without a terminal
//
// After it has served, none of these has an effect, since the process is to end.
func Run(cfg *config.Config, o Options) error {
	sup := newSupervision()
	return sup.failed(run(cfg, o, sup))
}

// run is Run, and tells sup how far it is.
func run(cfg *config.Config, o Options, sup *supervision) (err error) {
	if cfg.Global.FIPS {
		if err := enterFIPS(); err != nil {
			return err
		}
	}
	parent, activated, err := openedByOthers(&cfg.Global, o.Upgrade)
	if err != nil {
		return err
	}
	if cfg.Global.Daemon && parent == nil && os.Getenv(upgradeVariable) == "" {
		return detach()
	}
	prog := startedAs(o.Version)
	id, err := enter(&cfg.Global)
	if err != nil {
		return err
	}
	cfg, pred, pid, err := joinPredecessor(cfg, o.Upgrade, prog, o.kept)
	if err != nil {
		return err
	}
	defer func() { pred.refuse(err) }()
	defer pid.Remove()
	signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE) // its write fails; hooks would inherit an ignored signal
	if o.Signals == nil {
		o.Signals = NewSignals()
	}
	o.Signals.hearEnds()
	defer o.Signals.stop()
	id.ownLogs(cfg)
	events, err := beginEventLog(cfg, o.Log)
	if err != nil {
		return err
	}
	defer events.close()
	begun := time.Now()
	logStart(&o)
	o.Server.Reserve = limitMemory(cfg.Global.MemoryLimit)
	adm := newAdministration(&o, id, events)
	adm.waits.Store(pred != nil)
	defer adm.surfaces.Stop()
	o.Server.Owner, o.Server.Version = id.owner(), adm.versionNow
	o.Server.Prepare = both(both(events.prepare, adm.prepare), o.Server.Prepare)
	pred.inherit(&o.Server, activated)
	s, err := server.New(cfg, o.Server)
	if err != nil {
		return notStarted(cfg, err)
	}
	events.register(s.Registry())
	p := running{
		server: s, events: events, signals: o.Signals, reloads: newReloads(s, events, cfg, &o), pid: pid,
		supervision: sup, admin: adm, background: &backgrounds{all: o.Background},
	}
	defer p.background.end()
	defer p.reloads.stop()
	p.prepareUpgrades(prog, pred, o.Check)
	defer p.upgradeSocket.close()
	if err := p.start(id, parent, o.Started); err != nil {
		_ = s.Stop() // the first error is the one to report
		return notStarted(cfg, err)
	}
	logs := rotate.Begin(rotate.Logs{Config: p.reloads.config, Files: server.LogFiles, Reopen: p.reloads.reopenLogs})
	p.serve()
	sup.ending()
	logs.End()
	err = s.Stop()
	logEnd(s.Registry(), time.Since(begun), o.Stats || slog.Default().Enabled(context.Background(), slog.LevelDebug))
	return err
}

// kept returns the configuration of texts that the process before serves.
func (o *Options) kept(texts *config.Files) (*config.Config, error) {
	if o.Load == nil {
		return nil, errNoFile
	}
	cfg, report := o.Load(Reading{Kept: texts})
	if !report.OK() {
		return nil, fmt.Errorf("the configuration that runs: %w: edge upgrade --force takes the files",
			&report.Errors[0])
	}
	return cfg, nil
}

// openedByOthers returns what other processes have opened for this one: the pipe to a parent that waits, or nil, and
// sockets.
func openedByOthers(g *config.Global, upgrades bool) (parent *os.File, activated *activatedSockets, err error) {
	if parent, err = waitingParent(); err == nil {
		activated, err = takeActivatedSockets(g, upgrades)
	}
	return parent, activated, err
}

func logStart(o *Options) {
	attrs := []any{"configuration", cmp.Or(o.File, "none"), "pid", os.Getpid()}
	if o.Version != "" {
		attrs = append([]any{"version", o.Version}, attrs...)
	}
	slog.Info("starting", attrs...)
}

// notStarted returns err, and logs it in a file: what a daemon prints may not be seen.
func notStarted(cfg *config.Config, err error) error {
	if cfg.Global.ErrorLog != "stderr" {
		slog.Error("start failed", "error", err)
	}
	return err
}

func logEnd(r *observe.Registry, served time.Duration, all bool) {
	requests := 0.0
	r.Each(func(s observe.Sample) {
		if s.Name == "edge_requests_total" {
			requests += s.Value
		}
	})
	attrs := []any{"requests", int64(requests), "served", served.Round(time.Millisecond).String()}
	if all {
		attrs = append(attrs, "counters", totals{r})
	}
	slog.Info("stopped", attrs...)
}

// start makes the server serve, calls started and tells parent. Either may be nil.
func (p *running) start(id *identity, parent *os.File, started func(s *server.Server)) error {
	s, g := p.server, &p.reloads.config().Global
	spareProcessor(s.Reactors(), g.Park == "syscall" || g.Pin)
	if err := s.Listen(); err != nil {
		return err
	}
	warnUnclaimed(s)
	takesOver := p.upgrades.predecessor != nil // then its names come later
	if !takesOver {
		if err := p.pid.Write(); err != nil {
			return err
		}
	}
	program := supervisor.ProgramPages()
	debug.FreeOSMemory() // while no goroutine waits for a processor
	if err := id.become(s.AuthorityPath()); err != nil {
		return err
	}
	if err := p.lockDown(); err != nil {
		return err
	}
	if !takesOver {
		if err := p.upgradeSocket.listen(false); err != nil {
			return wrapped("upgrade_sock", err)
		}
	}
	if err := p.background.begin(); err != nil {
		return err
	}
	p.admin.begin(s, p.reloads)
	if err := s.Start(); err != nil {
		return err
	}
	if err := p.takeOver(); err != nil {
		return err
	}
	if fips140.Enabled() {
		slog.Info("cryptography by FIPS 140-3", "module", tlsconn.ProviderName())
	}
	p.reloads.begin() // before the first request for a rollback
	logAddresses(s)
	p.admin.serve(s)
	warnDescriptors(p.reloads.config())
	if started != nil {
		p.events.sync() // it may print
		started(s)
	}
	if err := p.leaveTerminal(parent); err != nil {
		return err
	}
	p.supervision.serving(s)
	program.Drop() // the start has needed most of it
	return nil
}

// totals logs a registry in one line.
type totals struct{ *observe.Registry }

// LogValue lists the series that are not zero.
func (t totals) LogValue() slog.Value {
	var attrs []slog.Attr
	t.Each(func(s observe.Sample) {
		isState := strings.HasSuffix(s.Name, "_timestamp_seconds") || strings.HasPrefix(s.Name, "edge_backend_")
		if s.Value == 0 || isState {
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

// spareProcessor sets GOMAXPROCS so that other goroutines than reactors have a processor of Go (a P) where one is
// free. Where none is free, one more P would cost every request a switch. Reactors that sleep on threads of their
// own always get one more: without it the other goroutines would wait until the runtime notices, 10 ms at worst.
func spareProcessor(reactors int, ownThreads bool) {
	if ownThreads || reactors < runtime.GOMAXPROCS(0) {
		runtime.GOMAXPROCS(reactors + 1)
	}
}

// limitMemory gives the garbage collector a limit: the one of the configuration, else GOMEMLIMIT, else 80 % of
// what the cgroup allows. reserve leaves it what there is of that without bytes outside of the heap.
func limitMemory(limit int64) (reserve func(bytes int64)) {
	if limit == 0 && os.Getenv("GOMEMLIMIT") == "" {
		limit = cgroup.Memory() / 5 * 4
	}
	if limit > 0 {
		debug.SetMemoryLimit(limit)
	}
	limit = debug.SetMemoryLimit(-1)
	return func(bytes int64) {
		if limit < math.MaxInt64 { // else there is none
			debug.SetMemoryLimit(limit - bytes)
		}
	}
}

// descriptorsAdvised is advised at least, where they are too few.
const descriptorsAdvised = 1 << 16

// warnDescriptors logs that there are too few file descriptors for cfg. Go has raised the soft limit to the hard one
// when the process began.
func warnDescriptors(cfg *config.Config) {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return
	}
	needed := server.Descriptors(cfg)
	if limit.Cur >= needed {
		return
	}
	advised := max(descriptorsAdvised, uint64(1)<<bits.Len64(needed-1))
	slog.Warn("few file descriptors: connections will have to wait or be closed", "limit", limit.Cur, "wanted", needed,
		"try", fmt.Sprintf("LimitNOFILE=%d in its unit of systemd, ulimit -n %[1]d in a shell, --ulimit nofile=%[1]d "+
			"of docker run", advised))
}
