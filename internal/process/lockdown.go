package process

import (
	"errors"
	"fmt"
	"log/slog"
	"os"

	"github.com/edge-proxy/edge/internal/config"
	"github.com/edge-proxy/edge/internal/process/lockdown"
	"github.com/edge-proxy/edge/internal/process/versions"
)

var errNotWhole = errors.New("the process before is not locked down as a whole, and this one has its lock: restart")

// lockDown gives up what the process does not need, where the configuration says so. The process that an upgrade starts
// is locked down from its beginning, as the one before is.
func (p *running) lockDown() error {
	r := p.reloads
	wanted := r.config().Global.Lockdown
	lock, err := lockdown.Inherited()
	switch {
	case err != nil:
		return err
	case lock != nil:
		if wanted == config.LockdownStrict && !lock.Whole() {
			return errNotWhole
		}
		if wanted == config.LockdownOff {
			slog.Warn("lockdown = false takes effect after a restart: nothing lifts what holds now")
		}
	case wanted == config.LockdownOff:
		return nil
	default:
		if lock, err = r.enforce(wanted); err != nil {
			return err
		}
		p.upgrades.program.env = append(p.upgrades.program.env, lock.Environment())
	}
	r.lock, p.upgrades.program.locked = lock, true
	slog.Info("locked down", "limited", lock.String(), "read", lock.Rules.Read, "write", lock.Rules.Write,
		"execute", lock.Rules.Execute, "ports", lock.Rules.Ports)
	return nil
}

// enforce locks the process down to what the present configuration needs.
func (r *reloads) enforce(wanted config.Lockdown) (*lockdown.Lock, error) {
	cfg := r.config()
	if dir := versions.Dir(&cfg.Global); dir != "" && cfg.Global.Versions > 0 {
		_ = os.MkdirAll(dir, versions.FolderMode) // versions.Open says why there is none
	}
	needs := r.needs(cfg, r.files)
	for _, a := range r.server.Addresses() {
		if !a.Addr.IsUnix() {
			needs.Bind(a.Listener, int(a.Addr.IP.Port())) // the kernel may have chosen it
		}
	}
	lock, err := needs.Rules().Enforce()
	if err != nil && wanted == config.LockdownStrict {
		return nil, fmt.Errorf("lockdown = \"strict\": %w", err)
	}
	if err != nil {
		slog.Warn("lockdown: not all of it holds", "limited", lock.String(), "error", err)
	}
	return lock, nil
}

// needs returns what this process needs to serve cfg, which was read from files.
func (r *reloads) needs(cfg *config.Config, files *config.Files) *lockdown.Needs {
	return lockdown.Of(lockdown.Options{Config: cfg, Files: files, Program: r.upgrades.program.path,
		StateDir: r.stateDir, Versions: versions.Dir(&cfg.Global), InPlace: true})
}

// checkReach adds an error to the report for each file and port that cfg names and that the lock does not allow.
func (r *reloads) checkReach(cfg *config.Config, report *config.Report, files *config.Files) {
	if r.lock == nil {
		return
	}
	var needs *lockdown.Needs
	if report.OK() {
		needs = r.needs(cfg, files)
	}
	r.lock.Judge(report, needs, false)
}
