package process

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/edge-proxy/edge/config"
	"github.com/edge-proxy/edge/server"
)

// reloads replaces the configuration of a Server that runs, one at a time.
// Safe for any goroutine but a reactor's.
//
//	SIGHUP, API ──► again ──► load ──► findings ──► server.Apply ──► present
//	                            │ errors                │ error
//	                            └───────────────────────┴──► nothing has changed
type reloads struct {
	server *server.Server
	load   func() (*config.Config, *config.Report) // nil: there is no file to read

	mu      sync.Mutex                    // one at a time
	present atomic.Pointer[config.Config] // stored under mu
}

// outcome is what has become of a reload.
type outcome struct {
	Report *config.Report // about the files; nil: none was read
	Diff   server.Diff    // what has changed, where Err is nil
	Err    error          // why nothing has changed; nil: it was applied
}

var (
	errNoFile  = errors.New("there is no configuration file")
	errInvalid = errors.New("the configuration has errors")
)

func newReloads(s *server.Server, cfg *config.Config, o *Options) *reloads {
	r := &reloads{server: s, load: o.Load}
	r.present.Store(cfg)
	return r
}

// config returns the present configuration.
func (r *reloads) config() *config.Config { return r.present.Load() }

// again reads the configuration again and applies it, and logs what has become of it.
func (r *reloads) again() *outcome {
	if r.load == nil {
		slog.Warn("nothing to reload: there is no configuration file")
		return &outcome{Err: errNoFile}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	cfg, report := r.load()
	return r.apply(cfg, report)
}

// apply logs the findings about cfg and makes it the present configuration unless it has errors. r.mu is held.
func (r *reloads) apply(cfg *config.Config, report *config.Report) *outcome {
	for _, list := range [][]config.Problem{report.Errors, report.Warnings} {
		for i := range list {
			tell(&list[i])
		}
	}
	o := &outcome{Report: report}
	if !report.OK() {
		r.server.CountFailedReload()
		slog.Error("reload failed, nothing has changed", "errors", len(report.Errors)+report.More)
		o.Err = errInvalid
		return o
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
	r.tell(&o.Diff)
	return o
}

// tell logs what a reload has changed.
func (r *reloads) tell(diff *server.Diff) {
	if diff.Empty() {
		slog.Info("configuration reloaded, nothing has changed")
		return
	}
	slog.Info("configuration reloaded", "changes", *diff)
	if len(diff.Restart) > 0 {
		slog.Warn("these keys take effect after a restart", "keys", diff.Restart)
	}
	if diff.Listeners() {
		tellAddresses(r.server)
		warnDescriptors(r.config())
	}
}

// tellAddresses logs where s listens.
func tellAddresses(s *server.Server) {
	for _, a := range s.Addresses() {
		slog.Info("listening", "listener", a.Listener, "address", a.Addr.String())
	}
}

// tell logs one finding about the configuration.
func tell(problem *config.Problem) {
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

// reload is again, for the goroutine that obeys signals. Neither a slow disk nor a registry delays a signal to end:
// reload returns one that comes meanwhile, and Drain or Stop end what still waits.
func (p *running) reload() (end os.Signal) {
	done := make(chan struct{})
	go func() {
		p.reloads.again()
		close(done)
	}()
	select {
	case <-done:
		return nil
	case end = <-p.signals.ends:
		return end
	}
}
