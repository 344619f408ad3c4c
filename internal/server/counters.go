package server

import (
	"maps"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/edge-proxy/edge/engine"
	"github.com/edge-proxy/edge/internal/observe"
	"github.com/edge-proxy/edge/internal/server/metrics"
	"github.com/edge-proxy/edge/proxy"
)

// Registry returns the counters as they are now. Its values change with the next call. It may be given more series.
// A reload that is under way delays it no longer than a moment, and a reactor that is stuck not above 100 ms.
func (s *Server) Registry() *observe.Registry {
	s.ledger.gather(false)
	return &s.counters.Registry
}

// Metrics returns the counters as a handler of HTTP: pages that Prometheus reads. It answers any path. Safe for any
// goroutine, also when the Server has ended.
func (s *Server) Metrics() http.Handler { return s.ledger.pages }

// Outcomes returns what became of the requests so far, by the name of the route: "" is what no route took.
func (s *Server) Outcomes() map[string]metrics.Outcomes {
	s.ledger.gather(false)
	return s.traffic.Outcomes()
}

// CountFailedReload counts a reload whose configuration never came to Apply.
func (s *Server) CountFailedReload() { s.counters.CountReload(false) }

// ledger is what has counters, for this configuration and for those before.
// Safe for any goroutine.
type ledger struct {
	nothing
	*shared
	parts []part // that describe themselves
	pages *metrics.Pages

	round    sync.Mutex        // held while reactors are asked
	gatherer *metrics.Gatherer // guarded by round
	loops    []metrics.Loop    // by Reactor.Index; guarded by round

	mu      sync.Mutex
	open    bool                          // reactors answer; guarded by mu, as all below
	rounds  int                           // that have begun
	entries map[any]*counting             // by what counts
	ports   map[string][]*engine.Listener // by the name of the listener
	bare    map[string]bool               // names of ports that are no HTTP
	looks   []func(*metrics.Sample)       // add what no reactor counts
	static  *metrics.Sample               // what looks added when a reload last let them
	waiting bool                          // a timer will gather, to be rid of entries that are over
}

func (l *ledger) init() {
	l.gatherer = metrics.NewGatherer(l.engine.Reactors(), l.traffic.Meters())
	l.loops = make([]metrics.Loop, l.Reactors())
	l.pages = metrics.NewPages(func() { l.gather(false) }, l.counters.Registry.AppendTo)
	l.entries, l.static = make(map[any]*counting), metrics.NewSample()
}

// counting is one thing that counts on each reactor. Guarded by ledger.mu.
type counting struct {
	metrics.Part
	over   func(counted *metrics.Sample) bool // nothing uses it any more; nil: it is as soon as it is not in use
	used   bool                               // by the present configuration
	left   int                                // the round after which it was not
	rename func()                             // gives it another name, after the next round; nil: the name stays
}

// overEvery is how often it is looked whether what a reload took away is over.
const overEvery = time.Minute

// retire makes the ledger follow what the parts before it have, and registers what they had not before, by name: when
// there is no room for all, the same ones have series of their own after each start.
func (l *ledger) retire() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.counters.Begin(l.reload.config.Metrics().SeriesMax)
	for _, e := range l.entries {
		if e.used {
			e.used, e.left = false, l.rounds
		}
	}
	follow(l, l.proxy, l.proxy.Stats, func(n *metrics.Sample) *proxy.Stats { return &n.Proxy }, nil)
	follow(l, l.engine, (*engine.Reactor).Stats, func(n *metrics.Sample) *engine.Stats { return &n.Engine }, nil)
	ports := l.ports
	l.ports, l.bare, l.looks = make(map[string][]*engine.Listener), make(map[string]bool), nil
	for _, p := range l.parts {
		p.describe(l)
	}
	l.keepPorts(ports)
	l.endSoon()
	l.traffic.Use(l.reload.config)
}

// look adds to l a function for what no reactor counts. l.mu is held.
func (l *ledger) look(add func(*metrics.Sample)) { l.looks = append(l.looks, add) }

// follow makes l follow what read returns on each reactor, under a key of its own, until the last over that was given
// says that nothing uses it any more; nil: until no configuration has it. l.mu is held.
func follow[S any](l *ledger, key any, read func(*engine.Reactor) S, into func(*metrics.Sample) *S,
	over func(*metrics.Sample) bool) *counting {
	e := l.entries[key]
	if e == nil {
		e = &counting{Part: metrics.NewPart(l.Reactors(), read, into)}
		l.entries[key] = e
	}
	e.used, e.over = true, over
	return e
}

// keepPorts follows the listeners that a reload has taken away, while they have connections. l.mu is held.
func (l *ledger) keepPorts(before map[string][]*engine.Listener) {
	present := slices.Concat(slices.Collect(maps.Values(l.ports))...)
	for name, all := range before {
		for _, one := range all {
			if !slices.Contains(present, one) { // it may have another name now
				l.ports[name] = append(l.ports[name], one)
			}
		}
	}
}

// countPorts adds the connections of listeners to a sample, and follows those no more that are over. l.mu is held.
func (l *ledger) countPorts(now *metrics.Sample) {
	for name, all := range l.ports {
		l.ports[name] = slices.DeleteFunc(all, func(one *engine.Listener) bool {
			closed := one.Closed() // before its connections are counted: no more come then
			n := one.Conns()
			if l.bare[name] {
				now.Bare(name).Conns += n
			} else {
				now.Listener(name).Conns += n
			}
			return closed && n == 0
		})
		if len(l.ports[name]) == 0 {
			delete(l.ports, name)
		}
	}
}

// gather brings the counters up to date, while reactors run. held says that shared.mu is held by the caller. Else a
// reload may hold it for as long as names are looked up: then what it guards is shown as it was.
func (l *ledger) gather(held bool) {
	l.round.Lock()
	defer l.round.Unlock()
	l.mu.Lock()
	if !l.open {
		l.mu.Unlock()
		return
	}
	parts := make([]metrics.Part, 0, len(l.entries))
	for _, e := range l.entries {
		parts = append(parts, e.Part)
	}
	l.rounds++
	l.mu.Unlock()
	l.gatherer.Gather(parts, l.traffic.Add, l.loops)
	l.traffic.Settle()

	free := held || l.shared.mu.TryLock()
	l.mu.Lock()
	defer l.mu.Unlock()
	if free {
		l.static = metrics.NewSample()
		for _, add := range l.looks {
			add(l.static)
		}
	}
	if free && !held {
		l.shared.mu.Unlock() // not before: what a reload takes away then must not be shown from l.static
	}
	l.show()
}

// show shows what was gathered. l.mu and round are held.
func (l *ledger) show() {
	l.end()
	now := l.static.Clone()
	for _, e := range l.entries {
		if e.rename != nil {
			counted := metrics.NewSample()
			e.AddTo(counted)
			l.counters.Retire(counted)
			e.Restart()
			e.rename()
			e.rename = nil
		}
		e.AddTo(now)
	}
	l.countPorts(now)
	now.Engine.OffloadRefused, now.Engine.OffloadPanics = l.engine.OffloadStats()
	now.AddLanguage(l.proxy.WorkerLanguage())
	now.TLS = l.secure.Stats()
	now.Loops = append([]metrics.Loop(nil), l.loops...)
	l.counters.Show(now)
}

// end remembers what things that are over have counted, and follows them no more. l.mu and round are held.
func (l *ledger) end() {
	for _, loop := range l.loops {
		if loop.Stale {
			return // what it has counted is not known
		}
	}
	for key, e := range l.entries {
		if e.used || e.left >= l.rounds { // it was in use when this round began
			continue
		}
		counted := metrics.NewSample()
		e.AddTo(counted)
		if e.over == nil || e.over(counted) {
			l.counters.Retire(counted)
			delete(l.entries, key)
		}
	}
}

// endSoon looks again, some time later, whether endings that were begun are over, and whether their series are to be
// removed: a process may have no Prometheus that asks. ledger.mu is held.
func (l *ledger) endSoon() {
	leaving := l.counters.Leaving()
	for _, e := range l.entries {
		leaving = leaving || !e.used
	}
	if l.waiting || !leaving {
		return
	}
	l.waiting = true
	time.AfterFunc(overEvery, func() {
		l.gather(false)
		l.mu.Lock()
		defer l.mu.Unlock()
		if l.waiting = false; l.open {
			l.endSoon()
		}
	})
}

// onReactors calls f on each reactor, one after the other, and waits.
func (s *shared) onReactors(f func(r *engine.Reactor)) {
	for _, r := range s.engine.Reactors() {
		done := make(chan struct{})
		r.Post(&engine.Task{Run: func(r *engine.Reactor) {
			defer close(done)
			f(r)
		}})
		<-done
	}
}

// answers says whether reactors answer.
func (l *ledger) answers(yes bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.open = yes
}

// forget remembers what the checks and ejections of a service have counted, which a reload takes away: a counter never
// falls.
func (l *ledger) forget(name string, counted *metrics.Sample) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.counters.Retire(counted)
	l.static.Forget(name)
}

// byName has a T for each name that was asked for. It outlives configurations. The zero value is good; safe for any
// goroutine.
type byName[T any] struct {
	mu   sync.Mutex
	kept map[string]*T // guarded by mu
}

func (b *byName[T]) of(name string) *T {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.kept == nil {
		b.kept = make(map[string]*T)
	}
	if b.kept[name] == nil {
		b.kept[name] = new(T)
	}
	return b.kept[name]
}

// each calls do for every one.
func (b *byName[T]) each(do func(name string, one *T)) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for name, one := range b.kept {
		do(name, one)
	}
}
