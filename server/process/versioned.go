package process

import (
	"errors"
	"fmt"
	"slices"

	"github.com/edge-proxy/edge/admin"
	"github.com/edge-proxy/edge/config"
	"github.com/edge-proxy/edge/server/process/versions"
)

// Plan is for admin.Process.
func (a *administration) Plan() (*admin.Plan, error) {
	p := a.parts.Load()
	if p.reloads.load == nil {
		return nil, fmt.Errorf("%w: %w", admin.ErrConflict, errNoFile)
	}
	cfg, report := p.reloads.load(Reading{})
	plan := &admin.Plan{Applicable: report.OK(), Findings: findings(report)}
	if plan.Applicable {
		plan.Diff = p.server.Plan(cfg)
	}
	return plan, nil
}

// findings returns all that a report has.
func findings(report *config.Report) []config.Problem {
	return slices.Concat(report.Errors, report.Warnings, report.Notes)
}

// Versions is for admin.Process.
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

// Rollback is for admin.Process.
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
