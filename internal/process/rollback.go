package process

import (
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/edge-proxy/edge/internal/config"
	"github.com/edge-proxy/edge/internal/process/versions"
	"github.com/edge-proxy/edge/internal/server/admin"
)

// versionBytes are kept of texts of configurations.
const versionBytes = 32 << 20

var errNoVersions = errors.New("no versions are kept: the process was not started from files, or versions = 0")

// begin keeps the configuration that the process has started with, and begins to watch its files. The process has the
// rights that it will keep.
func (r *reloads) begin() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.files == nil || r.load == nil {
		return
	}
	cfg := r.config()
	o := versions.Options{Dir: versions.Dir(&cfg.Global), Most: cfg.Global.Versions, Bytes: versionBytes}
	if o.Most == 0 {
		o.Dir = ""
	}
	store, err := versions.Open(o)
	if err != nil {
		slog.Warn("versions of the configuration cannot be read", "folder", o.Dir, "error", err)
	}
	r.store.Store(store)
	r.watch.use(r.files, cfg, view{})
	cause := "start"
	if kept := r.differs.Load(); kept != nil {
		r.files, cause = kept, "upgrade"
		slog.Warn("this process "+keepsConfiguration+": the files on the disk differ, and the next reload applies them",
			"file", kept.Main)
	}
	r.keep(r.files, cause)
	r.watch.set(cfg.Global.Watch, r.look)
}

// keep keeps files as the version in force. r.mu is held.
func (r *reloads) keep(files *config.Files, cause string) {
	store := r.store.Load()
	if r.files == nil || store == nil {
		return
	}
	r.files = files
	store.Limit(r.config().Global.Versions, versionBytes)
	if _, err := store.Add(files, cause, time.Now()); err != nil {
		slog.Warn("a version of the configuration was not written, and will not outlive the process", "error", err)
	}
}

// version returns the number of the version in force; 0: none is kept. It waits for no reload.
func (r *reloads) version() int {
	if store := r.store.Load(); store != nil {
		return store.Present()
	}
	return 0
}

// inForce returns the version in force; nil: none is kept. It waits for no reload.
func (r *reloads) inForce() *versions.Version {
	list, present := r.versions()
	for i := range list {
		if list[i].Number == present {
			return &list[i]
		}
	}
	return nil
}

// versions returns what is kept, the oldest first, and the number of the version in force. It waits for no reload.
func (r *reloads) versions() (list []versions.Version, present int) {
	if store := r.store.Load(); store != nil {
		return store.List(), store.Present()
	}
	return nil, 0
}

// rollback applies the texts of a version; 0: of the one before that in force. They become a version of their own.
// differs reports whether the files on the disk say otherwise: the next reload applies those.
func (r *reloads) rollback(number int, cause string) (o *outcome, differs bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.rollbackTo(number, cause)
}

// rollbackTo is rollback. r.mu is held.
func (r *reloads) rollbackTo(number int, cause string) (o *outcome, differs bool) {
	store := r.store.Load()
	if store == nil || r.config().Global.Versions == 0 {
		return &outcome{Err: errNoVersions}, false
	}
	v, err := store.Find(number)
	if err != nil {
		return &outcome{Err: err, Version: r.version()}, false
	}
	defer r.spare.borrow(r.server.Reactors())()
	cfg, report := r.load(Reading{Kept: v.Files})
	o = r.apply(cfg, report, v.Files, fmt.Sprintf("%s to version %d", cause, v.Number))
	if o.Err != nil {
		return o, false
	}
	r.guard = nil // what takes something back is not taken back itself
	r.differs.Store(nil)
	if differs = !v.Files.Unchanged(); differs {
		r.differs.Store(v.Files)
		slog.Warn("rolled back: the files on the disk differ, and the next reload applies them",
			"version", v.Number, "applied", v.At.Format(time.RFC3339), "file", v.Files.Main)
	}
	return o, differs
}

func (a *administration) Plan() (*admin.Plan, error) {
	p := a.parts.Load()
	if p.reloads.load == nil {
		return nil, fmt.Errorf("%w: %w", admin.ErrConflict, errNoFile)
	}
	defer p.reloads.spare.borrow(p.server.Reactors())()
	files := &config.Files{}
	cfg, report := p.reloads.load(Reading{Record: files})
	p.reloads.checkReach(cfg, report, files)
	plan := &admin.Plan{Applicable: report.OK(), Findings: findings(report)}
	if plan.Applicable {
		plan.Diff = p.server.Plan(cfg)
	}
	return plan, nil
}

func findings(report *config.Report) []config.Problem {
	return slices.Concat(report.Errors, report.Warnings, report.Notes)
}

func (a *administration) Versions() []admin.Version {
	list, present := a.parts.Load().reloads.versions()
	all := make([]admin.Version, len(list))
	for i, v := range list {
		all[i] = admin.Version{
			Version: v.Number, Applied: v.At, Cause: v.Cause, Bytes: v.Files.Size(), InForce: v.Number == present,
		}
		for _, text := range v.Files.Texts {
			all[i].Files = append(all[i].Files, text.Path)
		}
	}
	return all
}

func (a *administration) Rollback(version int) (*admin.Reloaded, error) {
	if a.draining.Load() {
		return nil, fmt.Errorf("%w: %w", admin.ErrConflict, errDrains)
	}
	o, differs := a.parts.Load().reloads.rollback(version, "rollback")
	switch {
	case errors.Is(o.Err, versions.ErrUnknown), errors.Is(o.Err, versions.ErrNone):
		return nil, fmt.Errorf("%w: %w", admin.ErrNoVersion, o.Err)
	case errors.Is(o.Err, errNoVersions):
		return nil, fmt.Errorf("%w: %w", admin.ErrConflict, o.Err)
	}
	done, err := a.reloaded(o)
	if err == nil {
		done.Differs = differs
	}
	return done, err
}
