package metrics

import (
	"cmp"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/edge-proxy/edge/internal/config"
	"github.com/edge-proxy/edge/internal/exchange/meter"
	"github.com/edge-proxy/edge/internal/observe"
	"github.com/edge-proxy/edge/message"
)

// goneFor is how long the series of a route or upstream stay that a reload took away: rates over a quarter of an hour
// end by themselves.
const goneFor = time.Hour

const (
	durationLines = config.HistogramLines
	upstreamLines = (meter.Phases-1)*durationLines + meter.Retries // without the phase DNS, which few upstreams have
)

// statuses are the words of the key "codes".
var statuses = map[string]*meter.Statuses{"class": meter.ByClass, "exact": meter.Exact}

// Traffic is the series of requests by route and upstream. What it shows never falls.
//
//	meter.Meters ── deltas, of each reactor ──► Add ──► totals, by name ── AppendTo ──► a page
//
// A route of the same name continues the series after a reload. A route that is gone keeps them for an hour; then its
// counts are added to the route "other". So are requests for which there is no room below the limit of series.
//
// Safe for any goroutine.
type Traffic struct {
	meters *meter.Meters

	mu        sync.Mutex
	most      int                       // lines; guarded by mu, as all below
	lines     int                       // that there are
	listeners []string                  // by number
	routes    map[string]*routeTotal    // by name; "" is what no route takes
	upstreams map[string]*upstreamTotal // by name
	byRoute   map[int32]*routeTotal     // by number
	byUp      map[int32]*upstreamTotal  // by number
	order     []*routeTotal             // in which they came
	upOrder   []*upstreamTotal          // in which they came
	hosts     *hosts                    // nil: they are not counted
	now       func() time.Time
}

// routeTotal is what the requests of routes of one name have added up to.
type routeTotal struct {
	name      string
	meter     *meter.Route
	requests  []requestLine // in the order in which they came
	places    map[place]int // of requests
	durations meter.Histogram
	lines     *observe.HistogramLines // nil: it has no durations
	gone      time.Time               // zero: a route of the present configuration has the name
}

// place is what one series of a route counts.
type place struct {
	listener, column int
	method           message.Verb
}

type requestLine struct {
	line  []byte
	place place
	n     uint64
}

// upstreamTotal is what the requests of upstreams of one name have added up to.
type upstreamTotal struct {
	meter      *meter.Upstream
	phases     [meter.Phases]meter.Histogram
	lines      [meter.Phases]*observe.HistogramLines
	retries    [meter.Retries]uint64
	retryLines [meter.Retries][]byte
	looked     bool      // it has lines for the phase DNS
	gone       time.Time // as of a routeTotal
}

const (
	requestsName = "edge_requests_total"
	requestsHelp = "Requests answered, or given up; route is empty where none took them."
	durationName = "edge_request_duration_seconds"
	durationHelp = "Time from the head of a request to the end of its answer, without tunnels."
	upstreamName = "edge_upstream_duration_seconds"
	upstreamHelp = "Time that requests spent with backends, by phase."
	retriesName  = "edge_retries_total"
	retriesHelp  = "Further attempts of requests, by what made them necessary."
)

// bounds are the bounds of all histograms.
var bounds = func() []string {
	seconds := make([]float64, len(meter.Bounds))
	for i, b := range meter.Bounds {
		seconds[i] = b.Seconds()
	}
	return observe.HistogramBounds(seconds...)
}()

var phaseLabels = [meter.Phases]string{
	meter.Queue: "queue", meter.DNS: "dns", meter.Connect: "connect", meter.TLS: "tls",
	meter.FirstByte: "first_byte", meter.Body: "body",
}

var retryLabels = [meter.Retries]string{
	meter.AfterConnect: "connect", meter.AfterRefusedStream: "refused_stream", meter.AfterReset: "reset",
	meter.AfterTimeout: "timeout", meter.After4xx: "4xx", meter.After5xx: "5xx", meter.AfterGRPC: "grpc",
	meter.AfterFilter: "filter",
}

// NewTraffic makes Traffic for a proxy with that number of reactors, as c says.
func NewTraffic(reactors int, c *config.Config) *Traffic {
	section := c.Metrics()
	t := &Traffic{
		meters: meter.New(reactors, statuses[section.Codes]), most: section.SeriesMax,
		routes:    make(map[string]*routeTotal),
		upstreams: make(map[string]*upstreamTotal), byRoute: make(map[int32]*routeTotal),
		byUp: make(map[int32]*upstreamTotal), now: time.Now,
	}
	if section.Hosts > 0 {
		t.hosts = newHosts(t.meters, section.Hosts)
	}
	t.route("", true)
	t.route(others, true)
	t.upstream(others)
	return t
}

// Meters returns what counts.
func (t *Traffic) Meters() *meter.Meters { return t.meters }

// Listener returns what counts the requests of the listener with that name.
func (t *Traffic) Listener(name string) *meter.Listener {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.meters.Listener(t.listener(name), t.routes[""].meter)
}

// listener returns the number of a listener. t.mu is held.
func (t *Traffic) listener(name string) int {
	if i := slices.Index(t.listeners, name); i >= 0 {
		return i
	}
	t.listeners = append(t.listeners, name)
	return len(t.listeners) - 1
}

// Route returns what counts the requests of the routes with that name. An untimed one has no durations, unless routes
// of that name had some before. It is for a configuration that may never come to Use: a route that was gone has an hour
// again, so that its series are there when it is used.
func (t *Traffic) Route(name string, untimed bool) *meter.Route {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.route(name, untimed).meter
}

// route returns the total of a name, a new one where there is none. t.mu is held.
func (t *Traffic) route(name string, untimed bool) *routeTotal {
	r := t.routes[name]
	if r == nil {
		untimed = untimed || t.lines+durationLines > t.most
		r = &routeTotal{name: name, meter: t.meters.Route(untimed), places: make(map[place]int), gone: t.now()}
		if !untimed {
			r.time()
			t.lines += durationLines
		}
		t.routes[name], t.byRoute[r.meter.Number] = r, r
		t.order = append(t.order, r)
	}
	t.renew(&r.gone)
	return r
}

// renew begins the hour of what is gone anew. t.mu is held.
func (t *Traffic) renew(gone *time.Time) {
	if !gone.IsZero() {
		*gone = t.now()
	}
}

func (r *routeTotal) time() {
	r.lines = observe.NewHistogramLines(durationName, bounds, observe.Label{Name: "route", Value: r.name})
}

// Upstream returns what counts durations of the upstreams with that name.
func (t *Traffic) Upstream(name string) *meter.Upstream {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.upstream(name).meter
}

// upstream returns the total of a name, a new one where there is none, or the total of others where there is no room
// for one. t.mu is held.
func (t *Traffic) upstream(name string) *upstreamTotal {
	u := t.upstreams[name]
	if u == nil && name != others && t.lines+upstreamLines > t.most {
		return t.upstreams[others]
	}
	if u == nil {
		u = &upstreamTotal{meter: t.meters.Upstream(), gone: t.now()}
		for p, phase := range phaseLabels {
			u.lines[p] = observe.NewHistogramLines(upstreamName, bounds,
				observe.Label{Name: "upstream", Value: name}, observe.Label{Name: "phase", Value: phase})
		}
		for why, reason := range retryLabels {
			u.retryLines[why] = observe.AppendLine(nil, retriesName,
				observe.Label{Name: "upstream", Value: name}, observe.Label{Name: "reason", Value: reason})
		}
		t.lines += upstreamLines
		t.upstreams[name], t.byUp[u.meter.Number] = u, u
		t.upOrder = append(t.upOrder, u)
	}
	t.renew(&u.gone)
	return u
}

// Outcomes is what became of the requests of a route.
type Outcomes struct {
	Requests, Failed uint64 // those with a status of 500 or more
}

// Since returns what came after earlier.
func (o Outcomes) Since(earlier Outcomes) Outcomes {
	return Outcomes{o.Requests - min(o.Requests, earlier.Requests), o.Failed - min(o.Failed, earlier.Failed)}
}

// Outcomes returns what was added so far, by the name of the route: "" is what no route took.
func (t *Traffic) Outcomes() map[string]Outcomes {
	t.mu.Lock()
	defer t.mu.Unlock()
	all := make(map[string]Outcomes, len(t.routes))
	for name, r := range t.routes {
		var o Outcomes
		for i := range r.requests {
			o.Requests += r.requests[i].n
			if strings.HasPrefix(t.meters.Statuses().Labels[r.requests[i].place.column], "5") {
				o.Failed += r.requests[i].n
			}
		}
		all[name] = o
	}
	return all
}

// Use says that c is the configuration from now on. The series of routes and upstreams that it has not stay for an
// hour.
func (t *Traffic) Use(c *config.Config) {
	routes, upstreams := map[string]bool{"": true, others: true}, map[string]bool{others: true}
	for i := range c.Routes {
		routes[c.Routes[i].Name] = true
	}
	if rest, needed := c.Rest(); needed {
		routes[rest.Name] = true
	}
	for i := range c.Upstreams {
		upstreams[c.Upstreams[i].Name] = true
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.hosts != nil {
		t.hosts.use(hostsOf(c))
	}
	t.most = c.Metrics().SeriesMax
	for name, r := range t.routes {
		t.mark(&r.gone, routes[name])
	}
	for name, u := range t.upstreams {
		t.mark(&u.gone, upstreams[name])
	}
}

// hostsOf returns the hosts that routes name, without those that stand for several.
func hostsOf(c *config.Config) map[string]bool {
	all := make(map[string]bool)
	for i := range c.Routes {
		host := strings.ToLower(c.Routes[i].Rule().Host)
		if host != "" && !strings.ContainsRune(host, '*') {
			all[host] = true
		}
	}
	return all
}

// mark notes whether something is in use.
func (t *Traffic) mark(gone *time.Time, used bool) {
	switch {
	case used:
		*gone = time.Time{}
	case gone.IsZero():
		*gone = t.now()
	}
}

// Add adds what was counted on a reactor. Not while a Take is under way there.
func (t *Traffic) Add(reactor int, all []meter.Delta) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.hosts != nil {
		t.hosts.rank(reactor)
	}
	for i := range all {
		d := &all[i]
		if id, class, ok := d.Host(); ok {
			t.hosts.add(id, class, d.N, t.now())
			continue
		}
		if u := t.byUp[d.Of]; u != nil {
			t.roomFor(u, d).add(d)
			continue
		}
		r := t.byRoute[d.Of]
		if r == nil {
			t.addGone(d)
			continue
		}
		if key, ok := d.Duration(); ok {
			r.durations.Merge(key, d.N)
			continue
		}
		listener, method, column := d.Requests()
		t.count(r, place{listener, column, method}, d.N)
	}
}

// roomFor returns u, or the total of others where d is of the phase DNS and there is no room for that. t.mu is held.
func (t *Traffic) roomFor(u *upstreamTotal, d *meter.Delta) *upstreamTotal {
	if _, again := d.Retry(); again {
		return u
	}
	if p, _ := d.Phase(); p != meter.DNS || u.looked {
		return u
	}
	if t.lines+durationLines > t.most {
		u = t.upstreams[others]
	}
	t.look(u)
	return u
}

// look gives u lines for the phase DNS. t.mu is held.
func (t *Traffic) look(u *upstreamTotal) {
	if !u.looked {
		u.looked = true
		t.lines += durationLines
	}
}

func (u *upstreamTotal) add(d *meter.Delta) {
	if why, ok := d.Retry(); ok {
		u.retries[why] += d.N
		return
	}
	p, key := d.Phase()
	u.phases[p].Merge(key, d.N)
}

// Settle ends a round in which reactors were asked: hosts that are asked for most get series of their own.
func (t *Traffic) Settle() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.hosts != nil {
		t.hosts.settle(t.now())
	}
}

// addGone adds what requests have counted that ended more than an hour after their route, or their upstream, was gone.
// Which of these it was is not known any more: durations are left out. t.mu is held.
func (t *Traffic) addGone(d *meter.Delta) {
	if _, timed := d.Duration(); !timed && d.Of > 0 {
		_, _, column := d.Requests()
		t.count(t.routes[others], place{t.listener(others), column, message.VerbOther}, d.N)
	}
}

// count adds requests to a series, or to the series of others where there is no room for one more. t.mu is held.
func (t *Traffic) count(r *routeTotal, at place, n uint64) {
	i, known := r.places[at]
	if !known {
		if other := t.routes[others]; t.lines >= t.most && r != other {
			t.count(other, place{t.listener(others), at.column, message.VerbOther}, n)
			return
		}
		i = len(r.requests)
		r.places[at] = i
		r.requests = append(r.requests, requestLine{line: t.render(r.name, at), place: at})
		t.lines++
	}
	r.requests[i].n += n
}

// labels returns the labels of a series. t.mu is held.
func (t *Traffic) labels(route string, at place) []observe.Label {
	method := cmp.Or(at.method.String(), others)
	return []observe.Label{
		{Name: "listener", Value: t.listeners[at.listener]}, {Name: "route", Value: route},
		{Name: "method", Value: method}, {Name: "code", Value: t.meters.Statuses().Labels[at.column]},
	}
}

// render makes the beginning of a line. t.mu is held.
func (t *Traffic) render(route string, at place) []byte {
	return observe.AppendLine(nil, requestsName, t.labels(route, at)...)
}

// forget adds up what is gone for long. t.mu is held.
func (t *Traffic) forget() {
	before := t.now().Add(-goneFor)
	long := func(gone time.Time) bool { return !gone.IsZero() && gone.Before(before) }
	t.order = slices.DeleteFunc(t.order, func(r *routeTotal) bool {
		if !long(r.gone) {
			return false
		}
		delete(t.routes, r.name)
		delete(t.byRoute, r.meter.Number)
		t.lines -= len(r.requests)
		if r.lines != nil {
			t.lines -= durationLines
			t.keepDurations(r)
		}
		for i := range r.requests {
			at := r.requests[i].place
			t.count(t.routes[others], place{t.listener(others), at.column, message.VerbOther}, r.requests[i].n)
		}
		return true
	})
	t.upOrder = slices.DeleteFunc(t.upOrder, func(u *upstreamTotal) bool {
		if !long(u.gone) {
			return false
		}
		for p := range u.phases {
			t.upstreams[others].phases[p].Add(&u.phases[p])
		}
		if u.looked {
			t.lines -= durationLines
			t.look(t.upstreams[others])
		}
		for why, n := range u.retries {
			t.upstreams[others].retries[why] += n
		}
		delete(t.byUp, u.meter.Number)
		for name, other := range t.upstreams {
			if other == u {
				delete(t.upstreams, name)
			}
		}
		t.lines -= upstreamLines
		return true
	})
}

// keepDurations adds the durations of a route that is forgotten to the durations of others. t.mu is held.
func (t *Traffic) keepDurations(r *routeTotal) {
	other := t.routes[others]
	if other.lines == nil {
		other.time()
		t.lines += durationLines
	}
	other.durations.Add(&r.durations)
}

// AppendTo appends the series to a page: observe.Source. Series of routes and upstreams that never were in use are left
// out until they have counted something.
func (t *Traffic) AppendTo(e *observe.Exposition) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.forget()
	e.Family(requestsName, requestsHelp, observe.KindCounter)
	for _, r := range t.order {
		for i := range r.requests {
			e.Count(r.requests[i].line, r.requests[i].n)
		}
	}
	if t.hosts != nil {
		t.hosts.appendTo(e)
	}
	e.Family(durationName, durationHelp, observe.KindHistogram)
	for _, r := range t.order {
		if r.lines != nil && (r.gone.IsZero() || r.durations.Count() > 0) {
			e.Histogram(r.lines, r.durations.Counts(), r.durations.Sum().Seconds())
		}
	}
	e.Family(upstreamName, upstreamHelp, observe.KindHistogram)
	for _, u := range t.upOrder {
		for p := range u.phases {
			if h := &u.phases[p]; h.Count() > 0 {
				e.Histogram(u.lines[p], h.Counts(), h.Sum().Seconds())
			}
		}
	}
	e.Family(retriesName, retriesHelp, observe.KindCounter)
	for _, u := range t.upOrder {
		for why, n := range u.retries {
			if n > 0 || u.gone.IsZero() {
				e.Count(u.retryLines[why], n)
			}
		}
	}
}

// Each yields the requests by code, of all routes together, and the retries by reason, of all upstreams:
// observe.Source. It is for logs.
func (t *Traffic) Each(yield func(observe.Sample)) {
	t.mu.Lock()
	defer t.mu.Unlock()
	codes := t.meters.Statuses().Labels
	sums := make([]uint64, len(codes))
	for _, r := range t.order {
		for i := range r.requests {
			sums[r.requests[i].place.column] += r.requests[i].n
		}
	}
	for i, n := range sums {
		yield(observe.Sample{Name: requestsName, Help: requestsHelp, Kind: observe.KindCounter,
			Labels: []observe.Label{{Name: "code", Value: codes[i]}}, Value: float64(n)})
	}
	var again [meter.Retries]uint64
	for _, u := range t.upOrder {
		for why, n := range u.retries {
			again[why] += n
		}
	}
	for why, n := range again {
		yield(observe.Sample{Name: retriesName, Help: retriesHelp, Kind: observe.KindCounter,
			Labels: []observe.Label{{Name: "reason", Value: retryLabels[why]}}, Value: float64(n)})
	}
}
