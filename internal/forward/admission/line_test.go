package admission_test

import (
	"math/rand/v2"
	"sync/atomic"
	"testing"
	"time"

	"github.com/edge-proxy/edge/backend"
	"github.com/edge-proxy/edge/backend/balance"
	"github.com/edge-proxy/edge/engine"
	"github.com/edge-proxy/edge/internal/forward/admission"
	"github.com/edge-proxy/edge/internal/test/testutil"
)

// A line that holds requests for long, while many places came free, is a standing one: what comes to it waits briefly.
func TestLine_patience(t *testing.T) {
	const ms = time.Millisecond
	for _, c := range []struct {
		name  string
		held  time.Duration // since when it is not empty
		freed int
		want  time.Duration
	}{
		{"new", 0, 0, time.Second},
		{"a burst", 90 * ms, 5000, time.Second},
		{"few places, and slow ones", 10 * time.Second, 100, time.Second},
		{"standing", 101 * ms, 101, 5 * ms},
		{"standing, one place each 10 ms", 1010 * ms, 101, 50 * ms},
		{"standing, one place each second", 101 * time.Second, 101, time.Second},
		{"nothing comes free", time.Hour, 0, time.Second},
	} {
		var l admission.Line
		l.Join(1000)
		for range c.freed {
			l.Freed()
		}
		now := 1000 + int64(c.held)
		l.Join(now)
		if got := l.Patience(now, time.Second); got != c.want {
			t.Errorf("%s: %v, want %v", c.name, got, c.want)
		}
		if got := l.Patience(now, 2*ms); got != 2*ms {
			t.Errorf("%s: %v, want the 2 ms that there are at the most", c.name, got)
		}
		l.Leave()
		l.Leave()
		if l.Join(now); l.Patience(now+int64(50*ms), time.Second) != time.Second {
			t.Errorf("%s: it was empty, and stands", c.name)
		}
	}
}

// request is one that asks for a place, holds it for some time and comes again.
// Owned by its reactor.
type request struct {
	*crowd
	reactor *engine.Reactor
	waiter  admission.Waiter
	member  *backend.Member
	timer   engine.Timer
	random  *rand.Rand
	left    int
	class   admission.Class
}

var unknown balance.Request

// crowd is requests on all reactors that want places at the members of a set.
type crowd struct {
	limiter *admission.Limiter
	view    *backend.View
	most    int
	served  atomic.Int64
	refused atomic.Int64
	running atomic.Int64
	over    atomic.Int64 // places held above the limit
}

func (q *request) begin() {
	if q.left--; q.left < 0 {
		q.running.Add(-1)
		return
	}
	if q.limiter.Admits(q.reactor, q.class, false) && q.Choose() == admission.Chosen {
		q.hold()
		return
	}
	if err := q.limiter.Wait(q.reactor, &q.waiter, q.class); err != nil {
		q.refused.Add(1)
		q.later(q.begin)
	}
}

func (q *request) Choose() admission.Choice {
	if q.member = q.view.Find(q.reactor, &unknown, q.limiter.Hold); q.member == nil {
		return admission.Full
	}
	if q.member.Held() > q.most {
		q.over.Add(1)
	}
	return admission.Chosen
}

func (q *request) OnTurn() { q.hold() }

func (q *request) OnRefused(error) {
	q.refused.Add(1)
	q.begin()
}

// hold keeps the place for a while.
func (q *request) hold() {
	q.served.Add(1)
	q.limiter.Enter(q.reactor)
	q.later(func() {
		q.limiter.Leave(q.reactor, q.member)
		q.begin()
	})
}

func (q *request) later(do func()) {
	q.timer.Run = func(*engine.Reactor) { do() }
	q.reactor.Arm(&q.timer, q.reactor.Now()+q.random.Int64N(int64(200*time.Microsecond)))
}

// Whatever reactors do at the same time: no member has more requests than it may, each request is served or refused,
// and none is forgotten in the line.
func TestLimiter_onManyReactors(t *testing.T) {
	const reactors, each = 3, 6
	for name, c := range map[string]struct {
		admission.Options
		rounds   int
		refusing bool
	}{
		// Less than 100 places come free: the line does not stand, and a request that is forgotten waits for a minute.
		"one at a time": {admission.Options{Requests: 1, Wait: time.Minute, Pending: 1000}, 5, false},
		"few":           {admission.Options{Requests: 3, Wait: time.Minute, Pending: 1000}, 5, false},
		"standing":      {admission.Options{Requests: 1, Wait: time.Minute, Pending: 1000}, 12, true},
		"short line":    {admission.Options{Requests: 2, Wait: time.Minute, Pending: 5}, 8, true},
		"no line":       {admission.Options{Requests: 2, Pending: -1}, 8, true},
		"no patience":   {admission.Options{Requests: 1, Wait: 100 * time.Microsecond}, 8, true},
	} {
		t.Run(name, func(t *testing.T) {
			e, err := engine.New(engine.Options{Reactors: reactors})
			testutil.Must(t, err)
			defer e.Stop()
			e.Start()
			set := backend.Of("10.0.0.1:80", "10.0.0.2:80")
			view := set.View(reactors, nil)
			for round := range uint64(2) {
				g := &crowd{limiter: admission.New(reactors, c.Options), view: view, most: c.Requests}
				g.running.Store(reactors * each)
				for i, r := range e.Reactors() {
					r.Post(&engine.Task{Run: func(r *engine.Reactor) {
						for k := range uint64(each) {
							q := &request{crowd: g, reactor: r, left: c.rounds, class: admission.Class(k % 4),
								random: rand.New(rand.NewPCG(round, uint64(i)<<32|k))}
							q.waiter.Init(q)
							q.begin()
						}
					}})
				}
				testutil.Eventually(t, testutil.Patience, func() bool { return g.running.Load() == 0 })
				g.check(t, reactors*each*c.rounds, c.refusing)
			}
			for _, m := range set.Members() {
				if m.Held() != 0 {
					t.Errorf("%s: %d places are held", m.Address(), m.Held())
				}
			}
		})
	}
}

func (g *crowd) check(t *testing.T, all int, refusing bool) {
	t.Helper()
	served, refused := int(g.served.Load()), int(g.refused.Load())
	if served+refused != all || served == 0 || g.over.Load() > 0 {
		t.Errorf("%d served and %d refused of %d; %d above the limit", served, refused, all, g.over.Load())
	}
	if !refusing && refused > 0 {
		t.Errorf("%d were refused", refused)
	}
	if g.limiter.Crowded() {
		t.Error("the line is not empty")
	}
}
