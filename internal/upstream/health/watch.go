package health

import (
	"log/slog"
	"sync"
	"sync/atomic"

	"github.com/edge-proxy/edge/backend"
	"github.com/edge-proxy/edge/engine"
	"github.com/edge-proxy/edge/internal/tls/tlsconn"
)

// Watch is the checks of the members of one set.
// Safe for any goroutine.
type Watch struct {
	monitor *Monitor
	set     *backend.Set
	stats   counters

	mu     sync.Mutex
	plan   *plan                      // guarded by mu
	probes map[*backend.Member]*probe // guarded by mu
}

// plan is what all members of a Watch are asked.
// Immutable, except what is guarded by mu.
type plan struct {
	*Options
	expected string
	mu       sync.Mutex
	secured  *tlsconn.ClientOptions // of the first member, for others to share what was read; guarded by mu
}

func newPlan(o Options) *plan {
	p := &plan{Options: o.withDefaults()}
	p.expected = p.Options.expected()
	return p
}

// secure returns how connections to a member at address are secured.
func (p *plan) secure(address string) (*tlsconn.ClientOptions, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	c, err := p.TLS.ClientOptions(address, p.secured, p.protocols()...)
	if err == nil && p.secured == nil {
		p.secured = c
	}
	return c, err
}

// Watch begins to check the members of set, and those that join it, until Stop. It writes the reason backend.Health.
// Where o says that a member does not serve before its first check, set.JoinWith has to have said so too.
func (m *Monitor) Watch(set *backend.Set, o Options) *Watch {
	w := &Watch{monitor: m, set: set, plan: newPlan(o), probes: make(map[*backend.Member]*probe)}
	set.Follow((*following)(w))
	return w
}

// Change makes o the way to check the members. What is known of them stays; their connections are opened anew. It does
// nothing where o says the same.
func (w *Watch) Change(o Options) {
	w.mu.Lock()
	defer w.mu.Unlock()
	next := newPlan(o)
	if next.Options.equal(w.plan.Options) {
		return
	}
	w.plan = next
	for _, p := range w.probes {
		p.local.reactor.Post(&engine.Task{Run: func(*engine.Reactor) { p.change(next) }})
	}
}

// Stop ends the checks. Members that were down because of them serve.
func (w *Watch) Stop() {
	w.set.Unfollow((*following)(w))
	w.mu.Lock()
	defer w.mu.Unlock()
	for m := range w.probes {
		w.end(m, true)
	}
}

// end ends the checks of m. Its reason is taken away where serves is set. w.mu is held.
func (w *Watch) end(m *backend.Member, serves bool) {
	p := w.probes[m]
	delete(w.probes, m)
	w.monitor.members.Add(-1)
	p.local.reactor.Post(&engine.Task{Run: func(*engine.Reactor) {
		p.end()
		switch {
		case !serves:
		case p.plan.Kind == Agent:
			forgetAgent(m)
		default:
			m.Mark(backend.Health, false, backend.Why{Facts: []slog.Attr{slog.String("by", "checks are off")}})
		}
	}})
}

// following is a Watch as its set sees it.
type following Watch

// Joined begins to check m: on the reactor that its identity is assigned to.
func (f *following) Joined(m *backend.Member) {
	w := (*Watch)(f)
	w.mu.Lock()
	defer w.mu.Unlock()
	id := hash(m.Address(), uint64(m.ID().Copy))
	p := &probe{watch: w, member: m, local: w.monitor.local[id%uint64(len(w.monitor.local))], plan: w.plan}
	p.seed = hash(m.Address(), id^mix(w.plan.Instance))
	p.timer.Run = p.due
	w.probes[m] = p
	w.monitor.members.Add(1)
	p.local.reactor.Post(&engine.Task{Run: func(r *engine.Reactor) { p.start(r.Now()) }})
}

// Left ends the checks of m.
func (f *following) Left(m *backend.Member) {
	w := (*Watch)(f)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.end(m, false)
}

// hash is FNV-1a of s, mixed with seed.
func hash(s string, seed uint64) uint64 {
	h := uint64(14695981039346656037)
	for i := range len(s) {
		h = (h ^ uint64(s[i])) * 1099511628211
	}
	return mix(h ^ seed)
}

// mix is SplitMix64 (Steele, Lea, Flood 2014): neighbours come far apart.
func mix(n uint64) uint64 {
	n += 0x9e3779b97f4a7c15
	n = (n ^ n>>30) * 0xbf58476d1ce4e5b9
	n = (n ^ n>>27) * 0x94d049bb133111eb
	return n ^ n>>31
}

// Stats is what a Watch has counted, and what it sees.
type Stats struct {
	Passed  uint64
	Failed  [len(words)]uint64 // by the word of the reason: see Words
	Excused uint64             // checks without an answer in time, for which the member may not be at fault
	Doubted uint64             // verdicts that waited, since many members failed together
	// Replaced is how many checks were left out, since requests had found out what they would have.
	Replaced uint64
	Delayed  uint64 // checks that waited for a slot to connect
	Fresh    uint64 // connections
	Downs    uint64 // verdicts
	Ups      uint64

	Members int64 // that are checked
	Down    int64 // that are down because of their checks
}

// counters are what a Watch counts. Safe for any goroutine.
type counters struct {
	passed, excused, doubted, replaced, delayed, fresh, downs, ups atomic.Uint64

	failed [len(words)]atomic.Uint64
}

// Stats returns what w has counted.
func (w *Watch) Stats() Stats {
	c := &w.stats
	s := Stats{
		Passed: c.passed.Load(), Excused: c.excused.Load(), Doubted: c.doubted.Load(), Delayed: c.delayed.Load(),
		Replaced: c.replaced.Load(), Fresh: c.fresh.Load(), Downs: c.downs.Load(), Ups: c.ups.Load(),
	}
	for i := range words {
		s.Failed[i] = c.failed[i].Load()
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for m := range w.probes {
		s.Members++
		if m.Reasons()&backend.Health != 0 {
			s.Down++
		}
	}
	return s
}

// Words returns the words that a check can fail with, in the order of Stats.Failed.
func Words() []string { return words[:] }
