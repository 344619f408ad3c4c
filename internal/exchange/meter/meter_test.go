package meter

import (
	"math/rand/v2"
	"sort"
	"testing"
	"time"

	"github.com/edge-proxy/edge/internal/test/testutil"
	"github.com/edge-proxy/edge/message"
)

// bucketOf is the bucket of a duration as a person would look for it.
func bucketOf(ns int64) int {
	return sort.Search(len(Bounds), func(i int) bool { return ns <= int64(Bounds[i]) })
}

func TestHistogram_bucketsAreExact(t *testing.T) {
	check := func(ns int64) {
		t.Helper()
		var h Histogram
		h.observe(ns)
		if want := bucketOf(max(ns, 0)); h.counts[want] != 1 || h.Sum() != time.Duration(max(ns, 0)) || h.Count() != 1 {
			t.Fatalf("%d ns: %v, sum %d; want bucket %d", ns, h.counts, h.sum, want)
		}
	}
	for _, b := range Bounds {
		for d := int64(-2); d <= 2; d++ {
			check(int64(b) + d)
		}
	}
	for i := range 63 {
		for d := int64(-2); d <= 2; d++ {
			check(int64(1)<<i + d)
		}
	}
	for range 100_000 {
		check(rand.Int64() >> rand.IntN(63))
	}
	check(-1 << 63)
	check(1<<63 - 1)
}

func TestStatuses(t *testing.T) {
	for status, want := range map[int][2]string{
		200: {"2xx", "200"}, 599: {"5xx", "other"}, 499: {"4xx", "499"}, 100: {"1xx", "100"}, 99: {"other", "other"},
		0: {"other", "other"}, 600: {"other", "other"}, 999: {"other", "other"}, 306: {"3xx", "other"},
	} {
		for i, s := range []*Statuses{ByClass, Exact} {
			if got := s.Labels[s.columns[status]]; got != want[i] {
				t.Errorf("%d: %s, want %s", status, got, want[i])
			}
		}
	}
	if n := len(Exact.Labels); n > 65 || n > 1<<columnBits {
		t.Errorf("%d statuses are told apart", n)
	}
}

// cell is what the model counts requests by.
type cell struct {
	route           int32
	listener, verb  int
	status, reactor int
}

// model counts what Meters count, and what Take has returned.
type model struct {
	t         *testing.T
	m         *Meters
	up        *Upstream
	want, got map[cell]uint64
	times     [2]Histogram // wanted, got
	phases    [2]Histogram
	retries   [2][Retries]uint64
}

// take takes at most n routes and upstreams.
func (m *model) take(reactor, n int) (done bool) {
	all, done := m.m.Take(reactor, nil, n)
	for _, d := range all {
		key, timed := d.Duration()
		why, again := d.Retry()
		switch p, inPhase := d.Phase(); {
		case d.Of == m.up.Number && again:
			m.retries[1][why] += d.N
		case d.Of == m.up.Number && p == Body:
			m.phases[1].Merge(inPhase, d.N)
		case d.Of == m.up.Number:
			m.t.Fatalf("a duration of phase %d", p)
		case timed:
			m.times[1].Merge(key, d.N)
		default:
			l, verb, column := d.Requests()
			m.got[cell{d.Of, l, int(verb), column, reactor}] += d.N
		}
	}
	return done
}

// count counts anything.
func (m *model) count(r *Route, reactor, listener int) {
	verb, status, ns := rand.IntN(Methods), rand.IntN(1200)-100, rand.Int64N(1e10)-1
	r.Count(reactor, m.m.Listener(listener, r), message.Verb(verb), status, ns)
	column := 0
	if status >= 0 && status < statusMax {
		column = int(m.m.Statuses().columns[status])
	}
	m.want[cell{r.Number, listener, verb, column, reactor}]++
	if ns >= 0 && !r.untimed {
		m.times[0].observe(ns)
	}
	if rand.IntN(10) == 0 {
		m.up.Observe(reactor, Body, ns)
		m.phases[0].observe(ns)
	}
	if rand.IntN(10) == 0 {
		why := rand.IntN(Retries)
		m.up.CountRetry(reactor, Retry(why))
		m.retries[0][why]++
	}
}

// Nothing that is counted is missing or comes twice, in parts of any size.
func TestMeters_takeEverythingOnce(t *testing.T) {
	const reactors, listeners = 2, 3
	for _, s := range []*Statuses{ByClass, Exact} {
		meters := New(reactors, s)
		m := &model{t: t, m: meters, up: meters.Upstream(), want: make(map[cell]uint64), got: make(map[cell]uint64)}
		var routes []*Route
		for i := range 8 {
			routes = append(routes, meters.Route(i == 7))
		}
		for range 20_000 {
			m.count(routes[rand.IntN(len(routes))], rand.IntN(reactors), rand.IntN(listeners))
			if rand.IntN(50) == 0 {
				m.take(rand.IntN(reactors), 1+rand.IntN(4))
			}
		}
		for reactor := range reactors {
			for range 2 { // a Take that has begun ends before another one begins
				for !m.take(reactor, 3) {
				}
			}
			if all, done := meters.Take(reactor, nil, 100); len(all) > 0 || !done {
				t.Errorf("%v was not taken", all)
			}
		}
		if len(m.got) != len(m.want) {
			t.Errorf("%d cells, want %d", len(m.got), len(m.want))
		}
		for c, n := range m.want {
			if m.got[c] != n {
				t.Errorf("%+v: %d, want %d", c, m.got[c], n)
			}
		}
		if m.times[0] != m.times[1] || m.phases[0] != m.phases[1] || m.retries[0] != m.retries[1] {
			t.Errorf("durations, wanted and got: %v; phases %v; retries %v", m.times, m.phases, m.retries)
		}
	}
}

func TestRoute_countAllocatesNothing(t *testing.T) {
	m := New(1, ByClass)
	by := m.Listener(0, m.Route(false))
	r, u := m.Route(false), m.Upstream()
	var into []Delta
	if n := testutil.Allocs(1000, func() {
		r.Count(0, by, message.VerbGet, 200, 1e6)
		u.Observe(0, FirstByte, 1e6)
		into, _ = m.Take(0, into[:0], 10)
	}); n != 0 || len(into) == 0 {
		t.Errorf("%v allocations, %d deltas", n, len(into))
	}
}

func BenchmarkRoute_count(b *testing.B) {
	m := New(2, ByClass)
	by := m.Listener(0, m.Route(false))
	r := m.Route(false)
	ns := int64(0)
	for b.Loop() {
		ns = (ns + 1_234_567) & (1<<30 - 1)
		r.Count(1, by, message.VerbGet, 200, ns)
	}
}

func BenchmarkMeters_take1000(b *testing.B) {
	m := New(1, ByClass)
	by := m.Listener(0, m.Route(false))
	var routes []*Route
	for range 1000 {
		routes = append(routes, m.Route(false))
	}
	var into []Delta
	b.ReportAllocs()
	for b.Loop() {
		for _, r := range routes {
			r.Count(0, by, message.VerbGet, 200, 1e6)
			r.Count(0, by, message.VerbPost, 503, 1e7)
		}
		into = into[:0]
		for done := false; !done; {
			into, done = m.Take(0, into, 256)
		}
	}
}
