package meter

import (
	"sync/atomic"

	"github.com/edge-proxy/edge/message"
)

// Methods is how many methods are told apart: the methods of message.Verb, all others together.
const Methods = int(message.VerbCount)

// Keys of a Delta. Those below keysPerHistogram are buckets of a histogram, or its sum.
const (
	sumKey           = uint32(Buckets)
	keysPerHistogram = uint32(Buckets + 1)
	columnBits       = 7 // of a key: see Route.take
)

// Delta is how much something was counted since the last Take.
type Delta struct {
	Of  int32 // the Number of a Route, which is above 0, or of an Upstream, which is below; 0: see Host
	key uint32
	N   uint64
}

// Phase is the Phase of an Upstream's duration that d counts, and the key of Histogram.Merge.
func (d *Delta) Phase() (p Phase, key uint32) {
	return Phase(d.key / keysPerHistogram), d.key % keysPerHistogram
}

// Duration reports whether d counts durations of a Route, and the key of Histogram.Merge.
func (d *Delta) Duration() (key uint32, ok bool) { return d.key, d.key < keysPerHistogram }

// Requests returns which requests of a Route d counts, where it does not count durations: those by the listener with
// that number, with a method, and with a status of that column of the Statuses.
func (d *Delta) Requests() (listener int, method message.Verb, column int) {
	cell := d.key - keysPerHistogram
	row := int(cell >> columnBits)
	return row / Methods, message.Verb(row % Methods), int(cell & (1<<columnBits - 1))
}

// Meters makes counters for one proxy. Safe for any goroutine, Take aside.
type Meters struct {
	statuses *Statuses
	routes   atomic.Int32 // the largest Number of a Route
	ups      atomic.Int32 // the least one of an Upstream
	hosts    *Hosts       // nil: hosts are not counted
	local    []shelf      // by Reactor.Index
}

// shelf is what was touched on one reactor since the last Take. Owned by its reactor.
type shelf struct {
	touched []taker
	walked  []taker // that a Take in several parts goes through
	at      int     // of walked
	_       [64]byte
}

// taker is a Route or an Upstream.
type taker interface {
	take(reactor int, into []Delta) []Delta
}

// New makes Meters for a proxy with that number of reactors, which tell statuses apart as s does.
func New(reactors int, s *Statuses) *Meters {
	return &Meters{statuses: s, local: make([]shelf, reactors)}
}

// Statuses returns what tells statuses apart.
func (m *Meters) Statuses() *Statuses { return m.statuses }

// Take appends what was counted on the reactor with that index since the last Take, of at most n routes and upstreams.
// It reports false when there are more, for another Take. On that reactor.
func (m *Meters) Take(reactor int, into []Delta, n int) (all []Delta, done bool) {
	l := &m.local[reactor]
	if l.at == len(l.walked) {
		clear(l.walked)
		l.walked, l.touched, l.at = l.touched, l.walked[:0], 0
	}
	for ; l.at < len(l.walked) && n > 0; n-- {
		into = l.walked[l.at].take(reactor, into)
		l.at++
	}
	done = l.at == len(l.walked)
	if done && m.hosts != nil {
		into = m.hosts.take(reactor, into)
	}
	return into, done
}

// Listener is where requests came in, and the requests that no route took.
// Immutable.
type Listener struct {
	row      int
	unrouted *Route
	hosts    *Hosts
}

// Listener makes one with that number, from 0. The requests that no route takes are counted by unrouted.
func (m *Meters) Listener(number int, unrouted *Route) *Listener {
	return &Listener{number * Methods, unrouted, m.hosts}
}

// CountHost counts a request for authority that ended with a status, where hosts are counted. On the reactor with that
// index.
func (l *Listener) CountHost(reactor int, authority []byte, status int) {
	if l.hosts != nil {
		l.hosts.count(reactor, authority, status)
	}
}

// Unrouted returns what counts the requests that no route takes.
func (l *Listener) Unrouted() *Route { return l.unrouted }

// Route counts the requests of a route. Each reactor counts for itself.
type Route struct {
	Number   int32
	meters   *Meters
	untimed  bool
	statuses *[statusMax]uint8
	local    []routeLocal // by Reactor.Index
}

// routeLocal is what a route has counted on one reactor. Owned by its reactor. It fills whole cache lines.
type routeLocal struct {
	touched   bool       // the next Take looks at it: it is in a list of the shelf
	rows      [][]uint64 // by listener and method, then by column; nil: none of that method came
	durations Histogram
	_         [32]byte
}

// Route makes a counter with a number of its own. An untimed one has no durations.
func (m *Meters) Route(untimed bool) *Route {
	return &Route{
		Number: m.routes.Add(1), meters: m, untimed: untimed, statuses: &m.statuses.columns,
		local: make([]routeLocal, len(m.local)),
	}
}

// Untimed is the duration of a request that is not to be among the durations: the duration of a tunnel says nothing of
// how long requests take.
const Untimed = -1

// Count counts a request that has ended with a status, after a time in nanoseconds or Untimed. On the reactor with that
// index.
func (c *Route) Count(reactor int, by *Listener, method message.Verb, status int, ns int64) {
	l := &c.local[reactor]
	if !l.touched {
		c.touch(reactor)
	}
	at, column := by.row+int(method), uint8(columnOther)
	if uint(status) < statusMax {
		column = c.statuses[status]
	}
	if at >= len(l.rows) || l.rows[at] == nil {
		c.grow(l, at)
	}
	l.rows[at][column]++
	if ns >= 0 && !c.untimed {
		l.durations.observe(ns)
	}
}

// touch makes the next Take look at c.
func (c *Route) touch(reactor int) {
	c.local[reactor].touched = true
	s := &c.meters.local[reactor]
	s.touched = append(s.touched, c) // up to the number of routes and upstreams
}

// grow makes a row: for the first request of a method by a listener.
func (c *Route) grow(l *routeLocal, at int) {
	for len(l.rows) <= at {
		l.rows = append(l.rows, nil)
	}
	n := len(c.meters.statuses.Labels)
	l.rows[at] = make([]uint64, n, (n+7)&^7) // whole cache lines
}

func (c *Route) take(reactor int, into []Delta) []Delta {
	l := &c.local[reactor]
	l.touched = false
	into = l.durations.take(into, c.Number, 0)
	for at, row := range l.rows {
		for column, n := range row {
			if n > 0 {
				key := keysPerHistogram + uint32(at)<<columnBits + uint32(column)
				into = append(into, Delta{c.Number, key, n})
				row[column] = 0
			}
		}
	}
	return into
}

// Phase is a part of the time of a request that was sent to a backend.
type Phase uint8

// The phases. Queue, DNS, Connect and TLS are phases of requests that had to wait for a connection or for the addresses
// of their destination, to connect, and to shake hands; FirstByte and Body are phases of all requests that were
// answered.
const (
	Queue Phase = iota
	DNS
	Connect
	TLS
	FirstByte
	Body
	phases
)

// Phases is how many there are.
const Phases = int(phases)

// Upstream counts durations of the requests of an upstream, and its retries. Each reactor counts for itself.
type Upstream struct {
	Number int32
	meters *Meters
	local  []upstreamLocal // by Reactor.Index
}

// upstreamLocal is what an upstream has counted on one reactor. Owned by its reactor. It fills whole cache lines.
type upstreamLocal struct {
	touched bool // as in a routeLocal
	phases  [Phases]Histogram
	retries [Retries]uint64
}

// Upstream makes a counter with a number of its own.
func (m *Meters) Upstream() *Upstream {
	return &Upstream{Number: m.ups.Add(-1), meters: m, local: make([]upstreamLocal, len(m.local))}
}

// Observe counts a duration in nanoseconds. On the reactor with that index.
func (u *Upstream) Observe(reactor int, p Phase, ns int64) {
	l := &u.local[reactor]
	if !l.touched {
		u.touch(reactor)
	}
	l.phases[p].observe(ns)
}

// touch makes the next Take look at u.
func (u *Upstream) touch(reactor int) {
	u.local[reactor].touched = true
	s := &u.meters.local[reactor]
	s.touched = append(s.touched, u) // up to the number of routes and upstreams
}

func (u *Upstream) take(reactor int, into []Delta) []Delta {
	l := &u.local[reactor]
	l.touched = false
	for p := range l.phases {
		into = l.phases[p].take(into, u.Number, uint32(p)*keysPerHistogram)
	}
	return u.takeRetries(reactor, into)
}
