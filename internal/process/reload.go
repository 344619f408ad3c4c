package process

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/edge-proxy/edge/internal/config"
	"github.com/edge-proxy/edge/internal/process/lockdown"
	"github.com/edge-proxy/edge/internal/process/versions"
	"github.com/edge-proxy/edge/internal/server"
	"github.com/edge-proxy/edge/internal/server/metrics"
)

// reloads replaces the configuration of a Server that runs, one at a time, and keeps the texts of those before.
// Safe for any goroutine but a reactor's.
//
//	SIGHUP, API ──► reload ────┐
//	the files change ──► look ─┼─► load ──► findings ──► server.Apply ──► present, store
//	rollback ──► kept texts ───┤     │ errors                │ error
//	PUT ──► sent text ─────────┘     │                       │
//	                                 └───────────────────────┴──► nothing has changed
type reloads struct {
	server  *server.Server
	events  *eventLog
	load    func(r Reading) (*config.Config, *config.Report) // nil: there is no file to read
	watched func(report *config.Report, diff *server.Diff, err error)

	upgrades *upgrades // nil before they are there
	spare    spare
	stateDir string         // of server.Options
	lock     *lockdown.Lock // what the process may reach; nil: anything; set before the first reload

	mu      sync.Mutex
	present atomic.Pointer[config.Config]  // stored under mu
	files   *config.Files                  // the files of present; nil: unknown; guarded by mu
	store   atomic.Pointer[versions.Store] // nil before begin, and where files are unknown; stored under mu
	watch   watch                          // guarded by mu
	differs atomic.Pointer[config.Files]   // the files of present, where the disk says otherwise; stored under mu

	guard    *guard                      // of the last reload; nil: none; guarded by mu
	outcomes map[string]metrics.Outcomes // of requests at the last reload; nil: not asked for; guarded by mu
}

// outcome is what has become of a reload.
type outcome struct {
	Report  *config.Report // about the files; nil: none was read
	Diff    server.Diff    // what has changed, where Err is nil
	Err     error          // why nothing has changed; nil: it was applied
	Version int            // of the configuration in force; 0: versions are not kept
}

var (
	errNoFile  = errors.New("there is no configuration file")
	errInvalid = errors.New("the configuration has errors")
)

func newReloads(s *server.Server, events *eventLog, cfg *config.Config, o *Options) *reloads {
	r := &reloads{server: s, events: events, load: o.Load, watched: o.Watched, files: o.Files}
	if r.stateDir = o.Server.StateDir; r.stateDir == "" {
		r.stateDir, _ = server.StateDir(os.Getuid()) // only an internal authority needs one
	}
	r.present.Store(cfg)
	return r
}

func (r *reloads) config() *config.Config { return r.present.Load() }

// reload opens logs again, reads the configuration again and applies it, and logs what has become of it. cause is kept
// with the version: one word for what asked for it.
func (r *reloads) reload(cause string) *outcome {
	if r.load == nil {
		slog.Warn("nothing to reload: there is no configuration file")
		return &outcome{Err: errNoFile}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if err := r.reopenLogs(); err != nil { // SIGHUP is what programs send that have renamed the logs of a server
		slog.Error("log files not opened again", "error", err)
	}
	return r.read(cause)
}

// reopenLogs opens all files of logs again.
func (r *reloads) reopenLogs() error { return errors.Join(r.events.reopen(), r.server.Reopen()) }

// read reads the files and applies what they say. r.mu is held.
func (r *reloads) read(cause string) *outcome {
	defer r.spare.borrow(r.server.Reactors())()
	files, before, guard := &config.Files{}, r.watch.look(), r.guard
	cfg, report := r.load(Reading{Record: files})
	if r.files != nil {
		r.watch.use(files, cfg, before)
	}
	o := r.apply(cfg, report, files, cause)
	if o.Err == nil {
		r.differs.Store(nil)
		switch {
		case r.guard == nil:
			r.upgradeForRestart(&o.Diff)
		case r.guard != guard:
			r.guard.diff = o.Diff // an upgrade would take the way back
		case len(o.Diff.Restart) > 0:
			r.guard.diff.Restart = o.Diff.Restart
		}
	}
	return o
}

// upgradeForRestart begins an upgrade when keys have changed that wait for a restart, where upgrade_on_reload says so.
func (r *reloads) upgradeForRestart(diff *server.Diff) {
	if len(diff.Restart) == 0 || !r.config().Global.UpgradeOnReload || r.upgrades == nil {
		return
	}
	r.upgrades.beginSameProgram()
}

// apply logs the findings about cfg and makes it the present configuration unless it has errors. files are its texts.
// r.mu is held.
func (r *reloads) apply(cfg *config.Config, report *config.Report, files *config.Files, cause string) *outcome {
	r.checkReach(cfg, report, files)
	for _, list := range [][]config.Problem{report.Errors, report.Warnings} {
		for i := range list {
			logProblem(&list[i])
		}
	}
	o := &outcome{Report: report, Version: r.version()}
	if !report.OK() {
		r.server.CountFailedReload()
		slog.Error("reload failed, nothing has changed", "errors", len(report.Errors)+report.More)
		o.Err = errInvalid
		return o
	}
	if r.upgrades.busy() {
		slog.Error("reload failed, nothing has changed", "error", errUnderWay)
		o.Err = errUnderWay
		return o
	}
	var counted map[string]metrics.Outcomes // before Apply: it may return when requests have met cfg for long
	if cfg.Global.Rollback.Errors > 0 {
		counted = r.server.Outcomes()
	}
	o.Diff, o.Err = r.server.Apply(cfg)
	if o.Err != nil {
		attrs := []any{"error", o.Err}
		var address *server.ListenError
		if errors.As(o.Err, &address) && len(address.Try) > 0 {
			attrs = append(attrs, "try", strings.Join(address.Try, "; "))
		}
		slog.Error("reload failed, nothing has changed", attrs...)
		return o
	}
	r.present.Store(cfg)
	r.logChanges(&o.Diff)
	before := o.Version
	r.keep(files, cause)
	o.Version = r.version()
	r.guardReload(cfg, before, counted)
	r.watch.set(cfg.Global.Watch && r.files != nil, r.look)
	return o
}

func (r *reloads) logChanges(diff *server.Diff) {
	if diff.Empty() {
		slog.Info("configuration reloaded, nothing has changed")
		return
	}
	slog.Info("configuration reloaded", "changes", *diff)
	if len(diff.Restart) > 0 {
		slog.Warn("these keys take effect after a restart or an upgrade", "keys", diff.Restart)
	}
	if diff.Listeners() {
		logAddresses(r.server)
		warnDescriptors(r.config())
	}
}

func logAddresses(s *server.Server) {
	for _, a := range s.Addresses() {
		slog.Info("listening", "listener", a.Listener, "address", a.Addr.String())
	}
}

// MistakePrefix begins the lines of the event log about mistakes in a configuration. They quote it.
const MistakePrefix = "configuration: "

func logProblem(problem *config.Problem) {
	level := slog.LevelWarn
	if problem.Severity == config.SeverityError {
		level = slog.LevelError
	}
	var more []any
	if problem.Hint != "" {
		more = []any{"hint", problem.Hint}
	}
	slog.Log(context.Background(), level, MistakePrefix+problem.Error(), more...)
}

// reload reloads, for the goroutine that obeys signals. Neither a slow disk nor a registry delays a signal to end:
// reload returns a signal that comes meanwhile, and Drain or Stop end what still waits.
func (p *running) reload() (end os.Signal) {
	done := make(chan struct{})
	go func() {
		p.reloads.reload("signal")
		close(done)
	}()
	select {
	case <-done:
		return nil
	case end = <-p.signals.ends:
		return end
	}
}
