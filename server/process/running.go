package process

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"strings"
	"syscall"

	"github.com/edge-proxy/edge/config"
	"github.com/edge-proxy/edge/server"
)

// running is a Server with the parts of the process around it.
// Owned by the goroutine of Run.
type running struct {
	server  *server.Server
	events  *eventLog
	signals *Signals
	load    func() (*config.Config, *config.Report)
	pid     *pidFile
	cfg     *config.Config // present
}

// serve obeys signals until one of them ends the process.
func (p *running) serve() {
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

// reload reads the configuration again and applies it. A slow disk does not delay a signal to end: reload returns
// one that comes while it reads.
func (p *running) reload() (end os.Signal) {
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

// apply logs the findings about cfg and makes it the present configuration unless it has errors.
func (p *running) apply(cfg *config.Config, report *config.Report) {
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
		attrs := []any{"error", err}
		var address *server.ListenError
		if errors.As(err, &address) && len(address.Try) > 0 {
			attrs = append(attrs, "try", strings.Join(address.Try, "; "))
		}
		slog.Error("reload failed, nothing has changed", attrs...)
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
	if diff.Listeners() {
		p.tellAddresses()
		warnDescriptors(cfg)
	}
}

// tellAddresses logs where the server listens.
func (p *running) tellAddresses() {
	for _, a := range p.server.Addresses() {
		slog.Info("listening", "listener", a.Listener, "address", a.Addr.String())
	}
}

// tell logs one finding about the configuration.
func (p *running) tell(problem *config.Problem) {
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

func (p *running) reopen() {
	if err := errors.Join(p.events.reopen(), p.server.Reopen()); err != nil {
		slog.Error("log files not opened again", "error", err)
		return
	}
	slog.Info("log files opened again")
}

// drain waits until requests have ended, at most for the grace period. Another signal to end cuts it short.
func (p *running) drain(sig os.Signal) {
	grace := p.cfg.Global.GracePeriod + p.cfg.Global.ShutdownTimeout
	slog.Info("draining", "signal", sig.String(), "connections", p.server.Conns(), "grace_period", grace.String())
	p.pid.release()
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
