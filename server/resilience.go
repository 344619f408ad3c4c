package server

import (
	"cmp"
	"fmt"
	"time"

	"github.com/edge-proxy/edge/backend"
	"github.com/edge-proxy/edge/backend/admission"
	"github.com/edge-proxy/edge/backend/ejection"
	"github.com/edge-proxy/edge/config"
	"github.com/edge-proxy/edge/internal/tally"
	"github.com/edge-proxy/edge/proxy/retry"
)

// resilience is what an upstream has for failures, as the last reload made it. One that fails puts back the one before.
// Guarded by shared.mu.
type resilience struct {
	retry retry.Policy // its budget lives on while its size stays the same
	ratio int          // of that budget; 0: there was no reload yet
	hedge *retry.Hedge // that was last used: what it knows lives on

	outlier  config.Outlier    // that outliers were made with
	outliers *backend.Outliers // nil: no backend is ejected

	limits  *admission.Limiter // nil: there never were any; it lives as long as the upstream
	limited bool               // it has limits
	bounds  admission.Options  // of limits
}

// setLimits bounds what is under way at the backends as u says, with the reload.
func (m *members) setLimits(u *config.Upstream, reactors int) {
	m.bounds = admission.Options{
		Requests: u.Breaker.MaxRequests, Retries: u.Breaker.MaxRetries,
		Pending: orNone(u.Pool.Queue), Wait: u.Pool.QueueTimeout, Adaptive: u.Breaker.Adaptive,
	}
	if m.limited = u.Breaker != (config.Breaker{}); m.limited && m.limits == nil {
		m.limits = admission.New(reactors, m.bounds)
	}
}

// limiter returns what bounds requests to the backends; nil: nothing does.
func (m *members) limiter() *admission.Limiter {
	if !m.limited {
		return nil
	}
	return m.limits
}

// addEjections adds what of ejects.
func (m *members) addEjections(sum *ejection.Counts) {
	tally.AddCounters(sum, &m.ejections)
	if m.watching != nil {
		n := m.watching.Ejections()
		tally.AddCounters(sum, &n)
	}
}

// setOutliers has the backends ejected as u says.
func (m *members) setOutliers(u *config.Upstream, reactors int) {
	if m.outlier == u.Outlier {
		return
	}
	m.outlier, m.outliers = u.Outlier, nil
	if o := u.Outlier; o.On {
		m.outliers = backend.NewOutliers(m.set, reactors, ejection.Options{
			Errors: o.Errors, Window: o.Window, Eject: o.Eject, MaxEjected: o.MaxEjected,
		})
	}
}

// commitOutliers ends the ejections of the outliers that were replaced.
func (m *members) commitOutliers() {
	if old := m.watching; old != m.outliers {
		m.watching = m.outliers
		if old != nil {
			old.Stop()
			n := old.Ejections()
			tally.AddCounters(&m.ejections, &n)
		}
	}
}

// setRetry makes the policy for u, whose backends are m.
func (m *members) setRetry(u *config.Upstream, reactors int) error {
	on, err := retry.Parse(u.Retry.Conditions()...)
	if err != nil {
		return fmt.Errorf("upstream %s: retry.on: %w", u.Name, err)
	}
	p := retry.Policy{On: on, PerTry: u.Retry.PerTry, Budget: m.retry.Budget}
	if ratio := cmp.Or(u.Retry.Budget, retry.RatioDefault); m.ratio != ratio {
		if m.ratio, p.Budget = ratio, nil; ratio > 0 {
			p.Budget = retry.NewBudget(reactors, ratio)
		}
	}
	p.Hedge = m.hedging(u.Retry.Hedge, reactors)
	m.retry = p
	return nil
}

// hedging returns how requests are hedged that wait for so long; nil: they are not. The budget, and what is known of
// the answers, are those of before.
func (m *members) hedging(after time.Duration, reactors int) *retry.Hedge {
	switch {
	case after == 0:
		return nil
	case m.hedge == nil:
		m.hedge = retry.NewHedge(reactors, after)
	case m.hedge.After != after:
		h := *m.hedge
		h.After = after
		m.hedge = &h
	}
	return m.hedge
}
