package report

import (
	"context"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/edge-proxy/edge/internal/config"
	"github.com/edge-proxy/edge/internal/observe"
	"github.com/edge-proxy/edge/internal/process"
	"github.com/edge-proxy/edge/internal/server"
	"github.com/edge-proxy/edge/internal/server/admin"
	"github.com/edge-proxy/edge/internal/server/inspect"
	"github.com/edge-proxy/edge/internal/server/metrics"
)

// Reporter sends events to the project of [sentry]. Its Handler is for any goroutine.
//
//	New ─► Prepare, for each configuration ─► Serve ─► Close
type Reporter struct {
	version string
	now     atomic.Pointer[reporting] // nil: there is no [sentry]
	once    once
	counts  counts
	listed  sync.Once // the counters are registered
	ending  sync.WaitGroup

	mu     sync.Mutex
	server *server.Server // nil before Serve; guarded by mu
}

// reporting is the work for one [sentry].
type reporting struct {
	settings *Sentry
	sender   *sender
	stop     context.CancelFunc // nil: it does not look for bursts yet
	watching sync.WaitGroup
}

// New makes a Reporter for a program of that version.
func New(version string) *Reporter { return &Reporter{version: version} }

// Prepare makes the Reporter ready to follow a configuration. It is a server.Options.Prepare.
func (r *Reporter) Prepare(c *config.Config) (commit, undo func(), err error) {
	settings, old := of(c), r.now.Load()
	if settings == nil && old == nil || settings != nil && old != nil && *settings == *old.settings {
		return func() {}, func() {}, nil
	}
	var next *reporting
	undo = func() {}
	if settings != nil {
		n, err := newSender(settings, r.version, &r.counts, &r.once)
		if err != nil {
			return nil, nil, err
		}
		next, undo = &reporting{settings: settings, sender: n}, n.close
	}
	commit = func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.now.Store(next)
		r.begin(&watch{})
		if old != nil {
			r.ending.Go(old.end)
		}
	}
	return commit, undo, nil
}

// Serve lets the Reporter look for bursts at s.
func (r *Reporter) Serve(s *server.Server) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.server = s
	r.begin(&watch{past: []map[string]metrics.Outcomes{{}}}) // what has failed by now has failed lately
}

// begin starts the search of w for bursts, where that is asked for and does not happen. r.mu is held.
func (r *Reporter) begin(w *watch) {
	n, s := r.now.Load(), r.server
	if n == nil || s == nil || n.stop != nil {
		return
	}
	ctx, stop := context.WithCancel(context.Background())
	n.stop = stop
	n.watching.Go(func() { r.watch(ctx, n, s, w) })
}

// watch makes w look for bursts until ctx ends.
func (r *Reporter) watch(ctx context.Context, n *reporting, s *server.Server, w *watch) {
	r.listed.Do(func() { r.list(s.Registry()) })
	inspector := inspect.New(s)
	w.settings, w.outcomes = n.settings, s.Outcomes
	w.requests = func(ctx context.Context) ([]admin.Request, error) {
		return inspector.Requests(ctx, &admin.RequestQuery{Most: askedFor}, func(uint16) int { return 0 })
	}
	tick := time.NewTicker(n.settings.Within / looksWithin)
	defer tick.Stop()
	for {
		for _, b := range w.look(ctx, time.Now()) {
			if kind := b.kind(); r.once.pass(kind, time.Now()) {
				n.sender.offer(b.event(kind, n.settings))
			}
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// list registers the counters.
func (r *Reporter) list(registry *observe.Registry) {
	for result, n := range map[string]*atomic.Uint64{"sent": &r.counts.sent, "failed": &r.counts.failed,
		"dropped": &r.counts.dropped} {
		registry.CounterFunc("edge_sentry_events_total", "Events for Sentry: those that it has taken, that it did not "+
			"take, or that found no room or were too many for it.", n.Load,
			observe.Label{Name: "result", Value: result})
	}
}

// end stops looking for bursts, and sends the events that wait.
func (n *reporting) end() {
	if n.stop != nil {
		n.stop()
		n.watching.Wait()
	}
	n.sender.close()
}

// Close sends what waits, as long as 2 s. Lines that come later are no events.
func (r *Reporter) Close() {
	r.mu.Lock()
	n := r.now.Swap(nil)
	r.mu.Unlock()
	if n != nil {
		n.end()
	}
	r.ending.Wait()
}

// Handler returns the handler for lines of the error log.
func (r *Reporter) Handler() slog.Handler { return &lineHandler{reporter: r} }

// lineHandler makes events of errors. Safe for any goroutine.
type lineHandler struct {
	reporter *Reporter
	attrs    []slog.Attr // with the names of their groups
	group    string      // of further attributes: "" or ends with "."
}

// Enabled implements slog.Handler.
func (h *lineHandler) Enabled(_ context.Context, level slog.Level) bool {
	return level >= slog.LevelError && h.reporter.now.Load() != nil
}

// Handle implements slog.Handler. Lines about mistakes in a configuration quote it, with what may be a secret; the line
// of the reload that failed comes after them.
func (h *lineHandler) Handle(_ context.Context, rec slog.Record) error {
	n := h.reporter.now.Load()
	if n == nil || strings.HasPrefix(rec.Message, process.MistakePrefix) {
		return nil
	}
	l := &line{Record: rec, attrs: h.attrs[:len(h.attrs):len(h.attrs)]}
	rec.Attrs(func(a slog.Attr) bool {
		l.add(h.group, a)
		return true
	})
	if kind := l.kind(); h.reporter.once.pass(kind, time.Now()) {
		n.sender.offer(l.event(kind, n.settings.ClientIP))
	}
	return nil
}

// WithAttrs implements slog.Handler.
func (h *lineHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	l := &line{attrs: h.attrs[:len(h.attrs):len(h.attrs)]}
	for _, a := range attrs {
		l.add(h.group, a)
	}
	return &lineHandler{h.reporter, l.attrs, h.group}
}

// WithGroup implements slog.Handler.
func (h *lineHandler) WithGroup(name string) slog.Handler {
	return &lineHandler{h.reporter, h.attrs, h.group + name + "."}
}
