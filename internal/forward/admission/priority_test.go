package admission_test

import (
	"cmp"
	"container/heap"
	"math"
	"math/rand/v2"
	"os"
	"strconv"
	"testing"
	"time"

	"github.com/edge-proxy/edge/backend"
	"github.com/edge-proxy/edge/engine"
	"github.com/edge-proxy/edge/internal/forward/admission"
	"github.com/edge-proxy/edge/internal/test/testutil"
	"github.com/edge-proxy/edge/poller"
)

// kernel is a clock of a simulation, and nothing to wait for.
type kernel struct {
	poller.Kernel // nil
	now           *int64
	until         int64 // what Wait was asked to wait for
}

func (k *kernel) Now() int64 { return *k.now }
func (k *kernel) Wake()      {}
func (k *kernel) Shut()      {}

func (k *kernel) Wait(_ []poller.Event, until int64) int {
	k.until = until
	return 0
}

// task is a request of a class, to a service that is simulated. What holds it back is a real Limiter.
type task struct {
	*shed
	reactor  *engine.Reactor
	waiter   admission.Waiter
	member   *backend.Member
	class    admission.Class
	came     int64
	admitted int64
	ends     int64
	counted  bool // it came while all are counted
}

// tasks are those in work, the first to end first.
type tasks []*task

func (e tasks) Len() int           { return len(e) }
func (e tasks) Less(i, j int) bool { return e[i].ends < e[j].ends }
func (e tasks) Swap(i, j int)      { e[i], e[j] = e[j], e[i] }
func (e *tasks) Push(x any)        { *e = append(*e, x.(*task)) }
func (e *tasks) Pop() any {
	old := *e
	x := old[len(old)-1]
	*e = old[:len(old)-1]
	return x
}

// fate is what became of the requests of a class.
type fate struct{ offered, good, late, refused int }

// shed is a service of some workers with a Limiter before it, requests of several classes, and the reactors of an
// engine whose time is that of the simulation.
// Owned by the goroutine of its test.
type shed struct {
	loads    [4]float64 // by class: parts of what the workers can do
	workers  int
	mean     float64 // s of a worker for a request; lognormal, σ 1
	deadline int64
	now      int64
	random   *rand.Rand
	kernels  []*kernel
	engine   *engine.Engine
	asked    uint64 // tasks that the reactors have run for each other
	limiter  *admission.Limiter
	member   *backend.Member
	work     tasks
	queue    []*task // inside the service
	fates    [4]fate
	from, to int64 // requests that come meanwhile are counted
	draw     func(*rand.Rand, float64) float64
}

func newShed(t *testing.T, reactors int, o admission.Options, seed uint64) *shed {
	t.Helper()
	s := &shed{workers: 64, mean: 0.01, deadline: 500e6, now: 1e9, draw: lognormal(0.01, 1),
		random: rand.New(rand.NewPCG(seed, 7)), limiter: admission.New(reactors, o)}
	e, err := engine.New(engine.Options{Reactors: reactors, ReadSize: 64, Kernel: func(int) (poller.Kernel, error) {
		s.kernels = append(s.kernels, &kernel{now: &s.now})
		return s.kernels[len(s.kernels)-1], nil
	}})
	testutil.Must(t, err)
	t.Cleanup(e.Stop)
	s.engine, s.member = e, backend.Of("10.0.0.1:80").Members()[0]
	return s
}

// run simulates some seconds, of which those from a time on are counted.
func (s *shed) run(from, seconds float64) {
	sum := 0.0
	for _, load := range s.loads {
		sum += load
	}
	begin, rate := s.now, sum*float64(s.workers)/s.mean/1e9
	end := begin + int64(seconds*1e9)
	s.from, s.to = begin+int64(from*1e9), end-s.deadline
	for next := begin; s.now < end; {
		due := s.settle()
		at := min(next, due)
		if len(s.work) > 0 {
			at = min(at, s.work[0].ends)
		}
		s.now = at
		s.settle() // the reactors know the time
		for len(s.work) > 0 && s.work[0].ends == at {
			s.finish(heap.Pop(&s.work).(*task))
		}
		if at == next {
			next += int64(s.random.ExpFloat64()/rate) + 1
			s.arrive(sum)
		}
	}
}

// settle has the reactors do what is to be done now, what they ask each other for too, and returns when they have
// something to do next.
func (s *shed) settle() (due int64) {
	for round, asked := 0, s.asked; ; round++ {
		before := asked
		due, asked = math.MaxInt64, 0
		for i, r := range s.engine.Reactors() {
			r.Tick()
			asked += r.Stats().Tasks
			if until := s.kernels[i].until; until >= 0 {
				due = min(due, until)
			}
		}
		// What a reactor asks one for that had its tick before it is done in the next round.
		if (round > 0 || len(s.kernels) == 1) && asked == before && due > s.now {
			s.asked = asked
			return due
		}
	}
}

func (s *shed) arrive(sum float64) {
	q := &task{shed: s, came: s.now, reactor: s.engine.Reactors()[s.random.IntN(len(s.kernels))],
		counted: s.now >= s.from && s.now < s.to}
	part := s.random.Float64() * sum
	for part -= s.loads[q.class]; part >= 0 && q.class < admission.Last; part -= s.loads[q.class] {
		q.class++
	}
	q.waiter.Init(q)
	q.count(func(f *fate) { f.offered++ })
	if s.limiter.Admits(q.reactor, q.class, false) && s.limiter.Hold(s.member) {
		q.member = s.member
		q.OnTurn()
		return
	}
	if err := s.limiter.Wait(q.reactor, &q.waiter, q.class); err != nil {
		q.OnRefused(err)
	}
}

func (q *task) count(what func(f *fate)) {
	if q.counted {
		what(&q.fates[q.class])
	}
}

// Choose implements admission.Asker, as package proxy does.
func (q *task) Choose() admission.Choice {
	if !q.limiter.Admits(q.reactor, q.class, true) || !q.limiter.Hold(q.shed.member) {
		return admission.Full
	}
	q.member = q.shed.member
	return admission.Chosen
}

// OnTurn sends the request to the service.
func (q *task) OnTurn() {
	q.limiter.Enter(q.reactor)
	q.admitted = q.now
	q.queue = append(q.queue, q)
	q.begin()
}

// OnRefused ends the request.
func (q *task) OnRefused(error) { q.count(func(f *fate) { f.refused++ }) }

// begin has workers that are idle begin with what is in the queue of the service.
func (s *shed) begin() {
	for len(s.work) < s.workers && len(s.queue) > 0 {
		q := s.queue[0]
		s.queue = s.queue[1:]
		q.ends = s.now + int64(1e9*s.draw(s.random, 0)) + 1
		heap.Push(&s.work, q)
	}
}

func (s *shed) finish(q *task) {
	s.limiter.Answered(q.reactor, time.Duration(s.now-q.admitted))
	s.limiter.Leave(q.reactor, q.member)
	if s.now-q.came <= s.deadline {
		q.count(func(f *fate) { f.good++ })
	} else {
		q.count(func(f *fate) { f.late++ })
	}
	s.begin()
}

// At twice as many requests as the workers take, those of a class are served in time while they fit together with the
// classes before theirs. The next class shares what is left, and the classes after that get hardly anything.
func TestLimiter_prioritiesUnderOverload(t *testing.T) {
	testutil.OnlyPlain(t)
	seed, _ := strconv.ParseUint(cmp.Or(os.Getenv("EDGE_SEED"), "1"), 10, 64)
	warm, seconds, reactors := 2.0, 5.0, 1
	if os.Getenv("EDGE_SOAK") == "1" {
		warm, seconds, reactors = 20, 140.5, 4
	}
	adaptive, fixed := admission.Options{Adaptive: true}, admission.Options{Requests: 80}
	both := admission.Options{Adaptive: true, Requests: 70}
	// Loads and bars stand by class: First, Usual, Later, Last.
	order := [4]admission.Class{admission.First, admission.Usual, admission.Later, admission.Last}
	for _, c := range []struct {
		name  string
		o     admission.Options
		loads [4]float64
		least [4]float64 // part of the requests of a class that is served in time
		all   float64    // the same, of what the workers can do
	}{
		{"one class", adaptive, [4]float64{0, 2, 0, 0}, [4]float64{0, 0.47, 0, 0}, 0.94},
		{"high 50 %", adaptive, [4]float64{0.5, 1, 0.5, 0}, [4]float64{0.99, 0.43, 0, 0}, 0.94},
		{"high 90 %", adaptive, [4]float64{0.9, 0.6, 0.5, 0}, [4]float64{0.99, 0, 0, 0}, 0.94},
		{"high and normal fit", adaptive, [4]float64{0.3, 0.5, 1.2, 0}, [4]float64{0.99, 0.99, 0, 0}, 0.94},
		{"four classes", adaptive, [4]float64{0.2, 0.3, 0.3, 1.2}, [4]float64{0.99, 0.99, 0.97, 0}, 0.94},
		{"high does not fit", adaptive, [4]float64{1.5, 0.3, 0.2, 0}, [4]float64{0.62, 0, 0, 0}, 0.94},
		{"max_requests, high 50 %", fixed, [4]float64{0.5, 1, 0.5, 0}, [4]float64{0.99, 0.43, 0, 0}, 0.94},
		{"max_requests, high 90 %", fixed, [4]float64{0.9, 0.6, 0.5, 0}, [4]float64{0.98, 0, 0, 0}, 0.94},
		{"both, high 50 %", both, [4]float64{0.5, 1, 0.5, 0}, [4]float64{0.99, 0.42, 0, 0}, 0.92},
	} {
		s := newShed(t, reactors, c.o, seed)
		for i, class := range order {
			s.loads[class] = c.loads[i]
		}
		s.run(warm, seconds)
		good := 0
		for i, class := range order {
			f := s.fates[class]
			if good += f.good; f.offered == 0 {
				continue
			}
			all := float64(f.offered)
			t.Logf("%-24s priority %d, load %3.0f %%: %6.2f %% in time, %6.2f %% refused, %.2f %% late", c.name, i,
				100*c.loads[i], 100*float64(f.good)/all, 100*float64(f.refused)/all, 100*float64(f.late)/all)
			if float64(f.good) < c.least[i]*all {
				t.Errorf("%s: of priority %d, %.2f %% are served in time, want %.0f", c.name, i,
					100*float64(f.good)/all, 100*c.least[i])
			}
		}
		possible := float64(s.to-s.from) / 1e9 * float64(s.workers) / s.mean
		_, limit := s.limiter.Concurrency()
		t.Logf("%-24s all: %.1f %% of what is possible, limit %d", c.name, 100*float64(good)/possible, limit)
		if float64(good) < c.all*possible {
			t.Errorf("%s: %.1f %% of what is possible", c.name, 100*float64(good)/possible)
		}
	}
}
