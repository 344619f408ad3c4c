package process

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"syscall"
	"time"

	"github.com/edge-proxy/edge/internal/process/handover"
	"github.com/edge-proxy/edge/internal/process/upgrade"
)

// takeoverTime is how long SIGQUIT waits for a process that takes over.
const takeoverTime = 5 * time.Second

// prepareUpgrades makes what an upgrade needs of p. pred is nil in a process that takes over from none.
func (p *running) prepareUpgrades(prog *program, pred *predecessor, check []string) {
	p.upgrades = newUpgrades(prog, check)
	p.upgrades.predecessor, p.upgrades.newInheritance = pred, p.newInheritance
	p.upgrades.endProcess = func() {
		select {
		case p.signals.ends <- syscall.SIGINT:
		default: // two are on their way already
		}
	}
	p.reloads.upgrades = p.upgrades
	if pred != nil {
		p.reloads.differs.Store(pred.texts)
	}
	p.upgradeSocket = &upgradeSocket{path: p.reloads.config().Global.UpgradeSock, upgrades: p.upgrades}
}

// takeOver takes over from the process before, if there is one: it returns when this one accepts.
func (p *running) takeOver() error {
	pred := p.upgrades.predecessor
	if pred == nil {
		return nil
	}
	pred.side.Step("self-check")
	ctx, cancel := context.WithTimeout(context.Background(), selfCheckMax)
	defer cancel()
	if err := p.server.Handover().SelfCheck(ctx); err != nil {
		return err
	}
	if err := pred.side.Ready(claimSockets(p.server.Handover(), pred.inheritance), &newProcess{p}); err != nil {
		return err
	}
	// Tell has a goroutine of its own: the side may be waiting for the Server, to which it passes connections.
	p.server.Handover().OnDrop(func(socket int) { go pred.side.Tell(upgrade.Drop, upgrade.DropBody{Socket: socket}) })
	go func() {
		pred.logEnd()
		p.server.Handover().Join() // no process takes the sockets back any more
	}()
	return nil
}

// newProcess is this process while it takes over: a handover.NewProcess.
type newProcess struct{ p *running }

func (t *newProcess) Accept() error { return t.p.server.Handover().Resume() }

// TakeNames is for handover.NewProcess. Without its names the process serves all the same.
func (t *newProcess) TakeNames() {
	pred := t.p.upgrades.predecessor
	err := errors.Join(t.p.pid.Replace(pred.pidFile()), wrapped("upgrade_sock", t.p.upgradeSocket.listen(true)),
		t.p.admin.take(t.p.reloads.config(), pred.pid))
	if err != nil {
		slog.Error("upgraded, but this process is not found by its name", "error", err)
	}
}

func (t *newProcess) Receive(conns []handover.Conn) { t.p.server.Handover().Receive(toGiven(conns)) }

// holdNames takes the pid file, upgrade_sock and the admin surface back, or gives them up.
func (p *running) holdNames(hold bool) {
	if !hold {
		go p.background.end() // it may take its time
		p.admin.draining.Store(true)
		p.admin.surfaces.Leave()
		p.upgradeSocket.close()
		return
	}
	go func() {
		if err := p.background.begin(); err != nil {
			slog.Error("this process serves again, but not all of its work has begun", "error", err)
		}
	}()
	err := errors.Join(p.pid.Restore(), wrapped("upgrade_sock", p.upgradeSocket.restore()),
		p.admin.take(p.reloads.config(), 0))
	if err != nil {
		slog.Error("this process serves again, but is not found by its name", "error", err)
	}
}

// upgradesInstead reports whether a signal to reload is one to upgrade, and then begins that.
func (p *running) upgradesInstead(sig os.Signal) bool {
	if p.upgrades.busy() {
		slog.Warn("no reload during an upgrade", "signal", sig.String())
		return true
	}
	if !p.reloads.config().Global.UpgradeOnReload {
		return false
	}
	changed, err := p.upgrades.program.changed()
	if err != nil {
		slog.Warn("nobody knows whether the program has changed, so the configuration is read again", "error", err)
	}
	if changed {
		p.upgrades.beginSameProgram()
	}
	return changed
}

// leaveTerminal leaves the terminal and tells the parent that the process serves, where one waits.
func (p *running) leaveTerminal(parent *os.File) error {
	if p.upgrades.predecessor != nil && p.reloads.config().Global.Daemon && parent == nil {
		return p.events.detach() // the process before had no terminal either
	}
	return release(parent, p.events)
}

// followUpgrades follows what upgrades have changed. It reports whether this process has nothing left to do.
func (p *running) followUpgrades() (ends bool) {
	for {
		change, ok := p.upgrades.nextChange()
		switch {
		case !ok:
			return false
		case change.ends:
			return true
		case change.err == nil:
			p.supervision.handOver(change.pid)
		default:
			p.supervision.takeBack(p.server)
			slog.Error("the new process has ended, and this one serves again", "error", change.err)
		}
	}
}

// awaitTakeover waits for a process that takes over, after SIGQUIT. It reports false where none can come.
func (p *running) awaitTakeover() bool {
	if p.upgradeSocket.path == "" {
		return false
	}
	if p.upgrades.busy() {
		slog.Info("SIGQUIT: a process takes over already")
		return true
	}
	slog.Info("SIGQUIT: waiting for a process that takes over", "within", takeoverTime.String())
	asked := time.Now()
	time.AfterFunc(takeoverTime, func() {
		if !p.upgrades.busy() && !p.upgrades.begunSince(asked) {
			slog.Warn("SIGQUIT: no process has come to take over, so this one serves on",
				"try", "edge run --upgrade takes over; SIGTERM drains and ends")
		}
	})
	return true
}

// abortUpgradeAndDrain ends an upgrade that is under way, and drains. It reports false where the new process serves by
// then: this one drains already.
func (p *running) abortUpgradeAndDrain(sig os.Signal) bool {
	if p.upgrades.newProcessServes() {
		slog.Warn("draining cut short", "signal", sig.String(), "connections_cut", p.server.Conns())
		return true
	}
	p.upgrades.block(errDraining)
	if p.upgrades.newProcessServes() {
		slog.Info("the new process serves by now, and this one drains already", "signal", sig.String())
		return false
	}
	p.upgradeSocket.close()
	p.drain(sig)
	return true
}

// newInheritance collects what this process hands over. takeFiles: the new one takes the configuration of the files,
// also where another one runs, as after a rollback.
func (p *running) newInheritance(takeFiles bool) (*inheritance, error) {
	sockets, fds, err := socketsToPass(p.server.Handover())
	if err != nil {
		return nil, err
	}
	i := &inheritance{
		sockets: fds, timeout: p.reloads.config().Global.UpgradeTimeout, server: p.server, holdNames: p.holdNames,
		grace: p.reloads.config().Global.GracePeriod + p.reloads.config().Global.ShutdownTimeout,
		offer: upgrade.OfferBody{Give: upgrade.GiveIdle, Sockets: len(fds), Conns: p.server.Conns(),
			Generation: p.upgrades.predecessor.generation() + 1,
			Files:      []string{upgrade.ManifestFile, upgrade.SecretsFile}},
	}
	if i.pid = p.pid.Descriptor(); i.pid != nil {
		i.offer.Files = append(i.offer.Files, pidFileName)
	}
	if i.cache, err = p.server.Handover().OfferCache(); err != nil {
		slog.Warn("the new process begins with an empty cache", "error", err)
	}
	if i.cache != nil {
		i.offer.Files = append(i.offer.Files, cacheName)
	}
	quic := p.server.QUICSecret()
	secrets := upgrade.Secrets{QUIC: quic[:]}
	for _, k := range p.server.TicketKeys() {
		secrets.TicketKeys = append(secrets.TicketKeys, k[:])
	}
	if i.manifest, err = handover.WriteMemory(upgrade.ManifestFile, upgrade.Manifest{Sockets: sockets}); err == nil {
		i.secrets, err = handover.WriteMemory(upgrade.SecretsFile, &secrets)
	}
	if texts := p.reloads.differs.Load(); err == nil && texts != nil && !takeFiles && !texts.Unchanged() {
		i.offer.Files = append(i.offer.Files, configurationName)
		i.configuration, err = handover.WriteMemory(configurationName, texts)
	}
	if err != nil {
		i.close()
		return nil, err
	}
	return i, nil
}

// selfCheckMax bounds the self-check of all listeners.
const selfCheckMax = 30 * time.Second

// wrapped adds what the error is about; nil stays nil.
func wrapped(what string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s: %w", what, err)
}
