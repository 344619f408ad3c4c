package dynamic

import (
	"cmp"
	"context"
	"log/slog"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/edge-proxy/edge/backend"
	"github.com/edge-proxy/edge/backend/discovery"
	"github.com/edge-proxy/edge/engine"
	"github.com/edge-proxy/edge/internal/base/invariant"
	"github.com/edge-proxy/edge/internal/exchange/meter"
	"github.com/edge-proxy/edge/internal/forward/retry"
	"github.com/edge-proxy/edge/internal/route/target"
	"github.com/edge-proxy/edge/internal/tls/tlsconn"
	"github.com/edge-proxy/edge/internal/upstream"
	"github.com/edge-proxy/edge/lang"
	"github.com/edge-proxy/edge/proxy"
)

// Options describe where requests may lead.
type Options struct {
	Template *target.Template
	Allow    *target.List

	// Upstream is how connections to each destination are made and kept. Name is what logs call all of them. Backends
	// and TLS.On are not looked at.
	Upstream upstream.Options
	// To is how requests are sent to them; View, Key and Outliers are not looked at. Its Retry nil stands for
	// retry.Default with one budget for all.
	To proxy.ToOptions
	// GRPC is needed on a route that passes gRPC: calls go over HTTP/2.
	GRPC bool
	// Names finds addresses; nil: the servers of the machine.
	Names discovery.Names
	// Own reports whether this process itself listens at an address: requests that lead there are refused. Called on
	// goroutines of look-ups. nil: it listens nowhere.
	Own func(at netip.AddrPort) bool
	// Max is how many destinations there are at one time; 0: 1024.
	Max int
}

// Bounds of Destinations.
const (
	destinationsMax = 1024
	lookupsMax      = 256
	lookupBytes     = 2 << 20 // of memory, at most: two answers of 64 KiB, and all records in them
)

// Destinations leads requests to the destinations that they name.
// Safe for any goroutine, except Stats.
type Destinations struct {
	opts   Options
	max    int
	looks  int // look-ups at one time
	engine *engine.Engine
	local  []*local     // by Reactor.Index
	shed   *destination // what requests get for which there is no look-up

	ctx     context.Context // of look-ups
	cancel  context.CancelFunc
	running sync.WaitGroup

	evicted, lookups atomic.Uint64
	count            atomic.Int64 // of all

	mu      sync.Mutex
	all     map[string]*destination // by canonical form; guarded by mu
	looking int                     // look-ups under way; guarded by mu
	retired bool                    // guarded by mu
}

// local is what one reactor knows.
// Owned by its reactor.
//
//	known[one.key] == one
//	known[key] has an answer
type local struct {
	known      map[string]*destination
	pools      map[*upstream.Upstream]bool // of destinations that have not left
	gone       upstream.Stats              // of those that have
	text, form []byte                      // scratch: of the present request
	stats      Stats
	told       int64 // reactor time of the last line of the log about a refusal
}

// destination is one place that requests have named, or a request's ticket for it: a place of its own as long as the
// request waits, which then says what the place is.
// Safe for any goroutine.
//
//	looking  =>  it is in Destinations.all, and the goroutine of its look-up owns pools and member
//	len(waiting) > 0  =>  looking
type destination struct {
	key    string // canonical form
	target target.Target
	answer atomic.Pointer[answer] // nil: there was no look-up yet
	used   atomic.Int64           // reactor time of the last request
	asked  atomic.Bool            // its look-up is asked for, while its answer is used
	left   atomic.Bool            // it is in Destinations.all no more; written with Destinations.mu held

	is    *destination // of a ticket, once its request goes on; immutable then
	since int64        // of a ticket: reactor time from which on its request waits; immutable

	looking bool      // guarded by Destinations.mu
	waiting []waiting // guarded by Destinations.mu
	pools   []*upstream.Upstream
	member  []*backend.Member // of each pool
}

// waiting is a request that waits for a look-up.
type waiting struct {
	request proxy.Ref
	ticket  *destination
}

// answer is what a look-up has found.
// Immutable.
type answer struct {
	to, call  proxy.Destination // where requests go, and calls of gRPC
	good      bool              // that is a backend
	why       Refusal           // why not
	cause     error             // of that
	until     int64             // reactor time up to which it is used
	refreshAt int64             // reactor time from which it is asked for again meanwhile
	stale     int64             // reactor time up to which it is used where that fails
}

// chosen is the destination of an exchange, and which Destinations chose it.
var chosen = proxy.NewLocal[struct {
	by  *Destinations
	one *destination
}]()

// choose leads x to one.
func (d *Destinations) choose(x *proxy.Exchange, one *destination) {
	c := chosen.Of(x)
	c.by, c.one = d, one
}

// New makes Destinations for the reactors of e.
func New(e *engine.Engine, o Options) *Destinations {
	d := &Destinations{
		opts: o, max: cmp.Or(o.Max, destinationsMax), engine: e,
		looks: int(min(max(engine.MemoryLimit()/lookupBytes, 8), lookupsMax)),
		all:   make(map[string]*destination),
	}
	if o.Names == nil {
		d.opts.Names = discovery.NamesBy(nil)
	}
	if o.To.Retry == nil {
		d.opts.To.Retry = &retry.Policy{
			On: retry.Default(), Budget: retry.NewBudget(len(e.Reactors()), retry.RatioDefault),
		}
	}
	if o.Upstream.Handshaker == nil {
		d.opts.Upstream.Handshaker = tlsconn.NewHandshaker(e, tlsconn.HandshakerOptions{})
	}
	d.opts.To.View, d.opts.To.Key, d.opts.To.Outliers = nil, nil, nil
	d.ctx, d.cancel = context.WithCancel(context.Background())
	for range e.Reactors() {
		d.local = append(d.local, &local{
			known: make(map[string]*destination), pools: make(map[*upstream.Upstream]bool),
		})
	}
	d.shed = &destination{}
	d.shed.answer.Store(&answer{to: failing{proxy.Overload}, call: failing{proxy.Overload}, why: notRefused})
	return d
}

// Lead makes r lead where each of its requests says: it sets To and GRPCTo, and adds a filter, which is to stay the
// last one of r.
func (d *Destinations) Lead(r *proxy.Route) {
	r.To = proxy.DestinationFunc(func(x *proxy.Exchange) proxy.Destination { return d.of(x, false) })
	r.GRPCTo = proxy.DestinationFunc(func(x *proxy.Exchange) proxy.Destination { return d.of(x, d.opts.GRPC) })
	r.Filters = append(r.Filters, &proxy.Filter{
		Name: "dest", Request: d.find, NamesMatch: d.opts.Template.NamesMatch(),
	})
}

// find finds the destination of x, which waits for a look-up where there is no answer that is still good.
func (d *Destinations) find(x *proxy.Exchange) proxy.Verdict {
	r := x.Reactor()
	l, now := d.local[r.Index()], r.Now()
	var path []byte
	if d.opts.Template.NeedsPath() {
		path = x.Path()
	}
	var v *lang.X
	if d.opts.Template.NeedsView() {
		v = proxy.View(x)
	}
	l.text = d.opts.Template.Append(l.text[:0], &x.Request, path, v)
	var err error
	if l.form, err = target.Append(l.form[:0], l.text); err != nil {
		return d.refuse(x, Malformed, err)
	}
	one := l.known[string(l.form)]
	if one == nil {
		t, err := target.Parse(string(l.form))
		if err == nil {
			err = d.opts.Allow.Check(&t)
		}
		if err != nil {
			return d.refuse(x, Unlisted, err)
		}
		return d.wait(x, l, &destination{key: t.String(), target: t})
	}
	// Reactors that use one destination at the same time share this cache line. It is written once in a tick.
	if one.used.Load() != now {
		one.used.Store(now)
	}
	a := one.answer.Load()
	if invariant.On {
		l.check()
	}
	if now >= a.until {
		return d.wait(x, l, &destination{key: one.key, target: one.target})
	}
	if now >= a.refreshAt && one.asked.CompareAndSwap(false, true) {
		d.offload(r, func() { d.refresh(one, now) })
	}
	d.choose(x, one)
	return proxy.Next
}

// wait makes x wait for the destination of a ticket. What takes the lock runs on a worker: its holder may be kept from
// running, and a reactor must not wait for that.
func (d *Destinations) wait(x *proxy.Exchange, l *local, ticket *destination) proxy.Verdict {
	ref, now := x.Ref(), x.Reactor().Now()
	ticket.since = now
	d.choose(x, ticket)
	if !d.offload(x.Reactor(), func() { d.join(waiting{ref, ticket}, now) }) {
		ticket.is = d.shed
		return proxy.Next
	}
	l.stats.Waited++
	return proxy.Park
}

// offload runs f, which is over soon, on a worker. It reports false where there is no room for that.
func (d *Destinations) offload(r *engine.Reactor, f func()) bool {
	job := &engine.Job{Do: func(context.Context) { f() }}
	job.Done.Run = func(*engine.Reactor) {}
	return r.Offload(job) == nil
}

// of returns where x leads. It has waited for that.
func (d *Destinations) of(x *proxy.Exchange, call bool) proxy.Destination {
	c := chosen.Of(x)
	if c.by != d {
		return nil // a filter has led x here, whose route leads elsewhere
	}
	one, l := c.one, d.local[x.Reactor().Index()]
	if one.is != nil {
		waited := x.Reactor().Now() - one.since
		proxy.LookedUp(x, time.Duration(waited))
		if one = one.is; one != d.shed && d.opts.To.Meter != nil {
			d.opts.To.Meter.Observe(x.Reactor().Index(), meter.DNS, waited)
		}
		l.remember(one)
	}
	a := one.answer.Load()
	switch {
	case a.good:
	case one == d.shed:
		l.stats.Shed++
	case a.why < notRefused:
		l.stats.Refused[a.why]++
		l.tell(d, x, one.key, a.cause)
	default:
		l.stats.Unresolved++
	}
	if call {
		return a.call
	}
	return a.to
}

// remember adds one to l, unless it has left: what makes it leave says so first, and makes each reactor forget it then.
func (l *local) remember(one *destination) {
	if one.key == "" {
		return // it stands for an overload
	}
	l.known[one.key] = one
	if one.left.Load() {
		delete(l.known, one.key)
	}
}

// check panics when an invariant of l does not hold.
func (l *local) check() {
	for key, one := range l.known {
		invariant.That(one.key == key, "%q is known as %q", one.key, key)
		invariant.That(one.answer.Load() != nil, "%q is known and has no answer", key)
	}
}

// refuse leads x to the answer that says so.
func (d *Destinations) refuse(x *proxy.Exchange, why Refusal, cause error) proxy.Verdict {
	one := &destination{key: string(d.local[x.Reactor().Index()].text)}
	one.answer.Store(&answer{to: failing{NotAllowed}, call: failing{NotAllowed}, why: why, cause: cause})
	d.choose(x, one)
	return proxy.Next
}

// Times and lengths of the lines about refusals.
const (
	tellEvery = 10 * time.Second // of one reactor
	quotedMax = 256
)

// tell tells of a request that was refused, not of each one.
func (l *local) tell(d *Destinations, x *proxy.Exchange, text string, cause error) {
	now := x.Reactor().Now()
	if l.told != 0 && now-l.told < int64(tellEvery) {
		return
	}
	l.told = now
	slog.Warn("a destination is not allowed", "upstream", d.opts.Upstream.Name,
		"dest", text[:min(len(text), quotedMax)], "error", cause, "client", x.ClientIP().String(), "request", x.ID())
}
