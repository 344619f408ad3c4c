package report

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/getsentry/sentry-go"

	"github.com/edge-proxy/edge/internal/server/admin"
	"github.com/edge-proxy/edge/internal/server/metrics"
)

const (
	looksWithin  = 6               // in Sentry.Within
	rememberTime = 5 * time.Second // to ask for requests
	askedFor     = 1000            // of the requests that are remembered
	shownMost    = 3               // of the requests of a burst
)

// watch looks for bursts. Owned by one goroutine.
type watch struct {
	settings *Sentry
	outcomes func() map[string]metrics.Outcomes                 // since the start, by the name of a route
	requests func(ctx context.Context) ([]admin.Request, error) // the last ones that failed, the last one first
	past     []map[string]metrics.Outcomes                      // of the last looks, the oldest first
}

// burst is many failed requests of a route.
type burst struct {
	metrics.Outcomes
	route    string          // "": no route took them
	reason   string          // the most frequent one of those remembered; "": it is not known
	requests []admin.Request // the last ones of them
	unknown  string          // why there are none
}

// look returns the bursts that there are now.
func (w *watch) look(ctx context.Context, now time.Time) (all []*burst) {
	present := w.outcomes()
	if len(w.past) > 0 {
		for route, n := range present {
			n = n.Since(w.past[0][route])
			if n.Failed >= uint64(w.settings.Failures) && n.Failed*100 > n.Requests*uint64(w.settings.Share) {
				all = append(all, &burst{Outcomes: n, route: route})
			}
		}
	}
	w.past = append(w.past, present)
	w.past = w.past[max(0, len(w.past)-looksWithin):]
	if len(all) > 0 {
		w.remember(ctx, all, now)
	}
	return all
}

// remember adds to bursts what is known of their requests.
func (w *watch) remember(ctx context.Context, all []*burst, now time.Time) {
	ctx, cancel := context.WithTimeout(ctx, rememberTime)
	defer cancel()
	requests, err := w.requests(ctx)
	for _, b := range all {
		if err != nil {
			b.unknown = err.Error()
			continue
		}
		often := map[string]int{}
		for i := range requests {
			r := &requests[i]
			ended := r.Began.Add(time.Duration(r.Took))
			if r.Route != b.route || r.Status < 500 || r.Protocol == "TCP" || now.Sub(ended) > 2*w.settings.Within {
				continue
			}
			if len(b.requests) < shownMost {
				b.requests = append(b.requests, *r)
			}
			if often[r.Reason]++; often[r.Reason] > often[b.reason] {
				b.reason = r.Reason
			}
		}
	}
}

func (b *burst) kind() []string { return []string{"burst", text(b.route), text(b.reason)} }

// event returns b as an event of that kind.
func (b *burst) event(kind []string, s *Sentry) *sentry.Event {
	e := sentry.NewEvent()
	e.Level, e.Logger, e.Fingerprint = sentry.LevelError, "edge", kind
	of := "route " + b.route
	if b.route == "" {
		of = "no route"
	}
	e.Message = text(fmt.Sprintf("%d of %d requests of %s failed within %s", b.Failed, b.Requests, of, s.Within))
	e.Tags = map[string]string{}
	burst := sentry.Context{"requests": b.Requests, "failed": b.Failed, "within": s.Within.String()}
	for name, value := range map[string]string{"route": b.route, "reason": b.reason} {
		if value != "" {
			e.Tags[name], burst[name] = text(value), text(value)
		}
	}
	if b.unknown != "" {
		burst["unknown"] = text(b.unknown)
	}
	e.Contexts = map[string]sentry.Context{"burst": burst}
	for i := range b.requests {
		e.Contexts[fmt.Sprintf("request %d", i+1)] = contextOf(&b.requests[i], s.ClientIP)
	}
	return e
}

// contextOf returns what an event says of a request.
func contextOf(r *admin.Request, withClient bool) sentry.Context {
	c := sentry.Context{"began": r.Began, "took": time.Duration(r.Took).String(), "status": r.Status,
		"attempts": r.Attempts}
	explained, tried := r.Explained, r.Tries
	if strings.Contains(r.Upstream, "{") {
		explained, tried = "", nil // these name the backend, and it was the request that named it
	}
	for name, value := range map[string]string{"id": r.ID, "upstream": r.Upstream, "reason": r.Reason, "try": r.Try,
		"explained": explained} {
		if value != "" {
			c[name] = text(value)
		}
	}
	var phases, tries []string
	for _, p := range r.Phases {
		if p.At > 0 {
			phases = append(phases, p.Name+" at "+time.Duration(p.At).String())
		} else {
			phases = append(phases, p.Name+" "+time.Duration(p.Took).String())
		}
	}
	for _, t := range tried {
		tries = append(tries, fmt.Sprintf("%d: %s %s", t.Attempt, t.Backend, t.Outcome))
	}
	c["phases"], c["tries"] = strings.Join(phases, ", "), text(strings.Join(tries, ", "))
	if withClient {
		c["client"] = r.Client
	}
	return c
}
