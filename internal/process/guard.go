package process

import (
	"fmt"
	"log/slog"
	"time"

	"github.com/edge-proxy/edge/internal/config"
	"github.com/edge-proxy/edge/internal/server"
	"github.com/edge-proxy/edge/internal/server/metrics"
)

// guardEvery is how often it is looked whether routes fail after a reload.
const guardEvery = time.Second

// guard looks for a while after a reload whether a route fails that did not before, and takes the reload back then.
// Guarded by reloads.mu; what it was made with does not change.
type guard struct {
	begun   time.Time
	within  time.Duration
	errors  int                         // more of 100 requests are too many
	least   uint64                      // requests of a route that say something
	back    int                         // the version to go back to
	earlier map[string]metrics.Outcomes // at the reload before, by the name of the route
	before  map[string]metrics.Outcomes // at this one, before a request met what it has changed
	diff    server.Diff                 // what it has changed
}

// failing is a route that fails since a reload.
type failing struct {
	route            string
	requests, failed uint64
}

// worstRoute returns the route that fails most, nil where none does. now is what was counted until now. Between the two
// reloads before it must not have failed as well: then this one is not the cause.
func (g *guard) worstRoute(now map[string]metrics.Outcomes) (worst *failing) {
	for route, n := range now {
		since, then := n.Since(g.before[route]), g.before[route].Since(g.earlier[route])
		if !g.tooMany(since) || g.tooMany(then) {
			continue
		}
		if worst == nil || since.Failed*worst.requests > worst.failed*since.Requests {
			worst = &failing{route, since.Requests, since.Failed}
		}
	}
	return worst
}

// tooMany reports whether so many requests say that a route fails.
func (g *guard) tooMany(n metrics.Outcomes) bool {
	return n.Requests >= g.least && n.Failed*100 > n.Requests*uint64(g.errors)
}

// guardReload begins to look after the reload from version back to cfg, if cfg asks for it: now is what was counted
// until cfg came, nil where it does not ask. After a reload of the same texts, it goes on with the one before. r.mu is
// held.
func (r *reloads) guardReload(cfg *config.Config, back int, now map[string]metrics.Outcomes) {
	if now == nil {
		r.guard = nil
		return
	}
	if back != 0 && back == r.version() && r.outcomes != nil {
		return
	}
	r.guard = nil
	g := &guard{
		begun: time.Now(), within: cfg.Global.Rollback.Within, errors: cfg.Global.Rollback.Errors,
		least: uint64(cfg.Global.Rollback.Requests), back: back, earlier: r.outcomes, before: now,
	}
	r.outcomes = now
	if back != 0 && back != r.version() {
		r.guard = g
		time.AfterFunc(guardEvery, func() { r.checkRoutes(g) })
	}
}

// checkRoutes takes the reload of g back if a route fails; after an upgrade that is under way, unless that succeeds.
func (r *reloads) checkRoutes(g *guard) {
	now := r.server.Outcomes()
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.guard != g {
		return // another reload came meanwhile
	}
	if r.upgrades.busy() {
		time.AfterFunc(guardEvery, func() { r.checkRoutes(g) })
		return
	}
	worst := g.worstRoute(now)
	if worst == nil {
		if time.Since(g.begun) < g.within {
			time.AfterFunc(guardEvery, func() { r.checkRoutes(g) })
		} else {
			r.guard = nil
			r.upgradeForRestart(&g.diff)
		}
		return
	}
	r.undoReload(g, worst)
}

// undoReload applies the version before the reload of g, because of a route that fails. r.mu is held.
func (r *reloads) undoReload(g *guard, worst *failing) {
	r.guard = nil
	slog.Error("a route fails since the reload: the one before is applied again", "route", worst.route,
		"requests", worst.requests, "failed", fmt.Sprintf("%d%%", worst.failed*100/worst.requests), "version", g.back)
	if o, _ := r.rollbackTo(g.back, "automatic rollback"); o.Err != nil {
		slog.Error("the automatic rollback failed: the reload stays in force", "version", g.back, "error", o.Err)
	}
}
