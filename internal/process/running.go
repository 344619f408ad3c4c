package process

import (
	"log/slog"
	"os"
	"syscall"
	"time"

	"github.com/edge-proxy/edge/internal/base/pidfile"
	"github.com/edge-proxy/edge/internal/server"
)

// running is a Server with the parts of the process around it.
// Owned by the goroutine of Run.
type running struct {
	server        *server.Server
	events        *eventLog
	signals       *Signals
	reloads       *reloads
	pid           *pidfile.File
	supervision   *supervision
	admin         *administration
	upgrades      *upgrades
	upgradeSocket *upgradeSocket
	background    *backgrounds
}

// serve obeys signals until one of them ends the process.
func (p *running) serve() {
	defer p.signals.keep()
	for {
		sig := p.signals.next(p.upgrades.wake)
		if sig == syscall.SIGHUP && !p.upgradesInstead(sig) {
			sig = p.reloadWithNotice(p.reload)
		}
		switch sig {
		case nil:
			if p.followUpgrades() {
				return
			}
		case syscall.SIGHUP:
		case syscall.SIGUSR2:
			p.upgrades.beginSameProgram()
		case syscall.SIGUSR1:
			p.reopen()
		case syscall.SIGINT:
			slog.Info("stopping at once", "signal", sig.String(), "connections", p.server.Conns())
			return
		default:
			if sig == syscall.SIGQUIT && p.awaitTakeover() {
				continue
			}
			if p.abortUpgradeAndDrain(sig) {
				return
			}
		}
	}
}

func (p *running) reopen() {
	if err := p.reloads.reopenLogs(); err != nil {
		slog.Error("log files not opened again", "error", err)
		return
	}
	slog.Info("log files opened again")
}

// drain waits until requests have ended, at most for the grace period. Another signal to end cuts it short.
func (p *running) drain(sig os.Signal) {
	g := &p.reloads.config().Global
	grace := g.GracePeriod + g.ShutdownTimeout
	slog.Info("draining", p.left("signal", sig.String(), "connections", p.server.Conns(),
		"grace_period", grace.String())...)
	p.pid.Release()
	go p.background.end() // it may take its time
	p.supervision.draining(grace)
	p.admin.draining.Store(true)
	whole, done, cut, begun := false, make(chan struct{}), make(chan struct{}), time.Now()
	defer close(cut)
	go func() {
		whole = p.server.Drain(grace)
		p.upgrades.predecessor.wait(grace-time.Since(begun), cut)
		close(done)
	}()
	for {
		switch next := p.signals.next(done); {
		case next == syscall.SIGUSR1:
			p.reopen()
		case next == syscall.SIGHUP:
			slog.Warn("no reload while draining")
		case next == syscall.SIGUSR2:
			slog.Warn("no upgrade while draining")
		case next != nil:
			slog.Warn("draining cut short", p.left("signal", next.String(), "connections_cut", p.server.Conns())...)
			return
		case whole:
			slog.Info("drained")
			return
		default:
			slog.Warn("grace period over", p.left("connections_cut", p.server.Conns())...)
			return
		}
	}
}

// left adds to attributes what kinds of connections are left, and which routes hold tunnels.
func (p *running) left(attrs ...any) []any {
	d := p.server.Draining()
	attrs = append(attrs, "left", d.String())
	if routes := d.TunnelRoutes(); routes != "" {
		attrs = append(attrs, "tunnels", routes)
	}
	return attrs
}
