package ejection_test

import (
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"testing"
	"time"

	"github.com/edge-proxy/edge/internal/forward/ejection"
	"github.com/edge-proxy/edge/internal/test/testutil"
)

const second = int64(time.Second)

// service is members for a test.
func service(n int) func() []ejection.Member {
	list := make([]ejection.Member, n)
	for i := range list {
		list[i] = ejection.Member{Slot: i, Which: i, Open: true}
	}
	return func() []ejection.Member { return list }
}

// The rule finds a member by its failures beside those of the others, and never one that all resemble.
func TestOutlier(t *testing.T) {
	for _, c := range []struct {
		n, failed, total, totalFailed int
		want                          bool
	}{
		{n: 19, failed: 19, total: 1000, totalFailed: 19},
		{n: 20, failed: 20, total: 1000, totalFailed: 20, want: true},
		{n: 1000, failed: 0, total: 4000, totalFailed: 0},
		{n: 1000, failed: 1000, total: 4000, totalFailed: 4000},
		{n: 1000, failed: 100, total: 4000, totalFailed: 100, want: true},
		{n: 1000, failed: 40, total: 100_000, totalFailed: 40},       // less than the margin
		{n: 1000, failed: 300, total: 4000, totalFailed: 300 + 600},  // 30 % beside 20 %
		{n: 1000, failed: 750, total: 4000, totalFailed: 750 + 1200}, // 75 % beside 40 %: not twice as many
		{n: 1000, failed: 850, total: 4000, totalFailed: 850 + 1200, want: true},
		{n: 1000, failed: 1000, total: 1000, totalFailed: 1000}, // nobody to compare it with
	} {
		if got := ejection.Outlier(c.n, c.failed, c.total, c.totalFailed); got != c.want {
			t.Errorf("%+v: %v", c, got)
		}
	}
}

// docs/resilience.md says how many failures in a row eject a backend, by the good requests that the others had.
func TestDetector_rowsAreAsLongAsTheDocsSay(t *testing.T) {
	page := testutil.ReadFile(t, filepath.Join(testutil.Root(t), "docs", "resilience.md"))
	rows := regexp.MustCompile(`(?m)^\| (\d+) good requests[^|]*\| (\d+) \|$`).FindAllSubmatch(page, -1)
	if len(rows) < 4 {
		t.Fatalf("the page has %d rows", len(rows))
	}
	for _, row := range rows {
		good, _ := strconv.Atoi(string(row[1]))
		want, _ := strconv.Atoi(string(row[2]))
		d, now := ejection.New(1, ejection.Options{}, service(2)), 1000*second
		d.Good(0, 1, 1, now) // the detector learns of its members
		now += 100 * second
		d.Good(0, 1, 1, now) // the first one after a pause is not counted
		for range good {
			d.Good(0, 1, 1, now)
		}
		failed := 1
		for len(d.Bad(0, 0, 0, ejection.Failed{Fault: true}, now)) == 0 && failed < 100 {
			failed++
		}
		if failed != want {
			t.Errorf("after %d good requests to others it takes %d failures, the page says %d", good, failed, want)
		}
	}
}

// world is requests to a service whose members fail by chance.
type world struct {
	d       *ejection.Detector
	rng     *rand.Rand
	members int
	now     int64
	out     map[int]bool
	actions []ejection.Action
}

func newWorld(members, reactors int, seed uint64) *world {
	w := &world{rng: rand.New(rand.NewPCG(seed, 3)), members: members, now: 1000 * second, out: map[int]bool{}}
	w.d = ejection.New(reactors, ejection.Options{Random: w.rng.Uint64}, service(members))
	return w
}

func (w *world) do(all []ejection.Action) {
	for _, a := range all {
		if a.Eject {
			w.out[a.Member.Slot] = true
		} else {
			delete(w.out, a.Member.Slot)
		}
	}
	w.actions = append(w.actions, all...)
}

// request makes one, of which a share fails.
func (w *world) request(slot, reactors int, fails float64) {
	if w.out[slot] {
		return
	}
	switch w.d.Admit(slot, slot, false) {
	case ejection.Refused:
		return
	case ejection.Counted:
		defer w.d.Leave(slot, slot)
	}
	r := w.rng.IntN(reactors)
	if w.rng.Float64() >= fails {
		w.do(w.d.Good(r, slot, slot, w.now))
		return
	}
	f := ejection.Failed{Fault: w.rng.IntN(2) == 0, Route: string(rune('a' + w.rng.IntN(3)))}
	w.do(w.d.Bad(r, slot, slot, f, w.now))
}

// run makes rate requests a second to each member for a time. fails is the share that fails of a member.
func (w *world) run(seconds, rate, reactors int, fails func(slot int) float64) {
	for range seconds * rate {
		for slot := range w.members {
			w.request(slot, reactors, fails(slot))
		}
		w.now += second / int64(rate)
	}
}

// Members that are all alike are never ejected, whatever the share that fails of all. EDGE_SOAK=1 simulates ten hours
// of each.
func TestDetector_noise(t *testing.T) {
	for _, c := range []struct {
		members, rate, seconds int
	}{{4, 20, 3600}, {10, 20, 1200}, {100, 10, 200}, {1000, 10, 25}} {
		c.seconds = testutil.RaceRounds(c.seconds)
		if os.Getenv("EDGE_SOAK") != "" {
			c.seconds = 36_000
		}
		for _, fails := range []float64{0.1, 0.05, 0.01, 0.001, 0.0001} {
			w := newWorld(c.members, 4, 1)
			w.run(c.seconds, c.rate, 4, func(int) float64 { return fails })
			if len(w.actions) > 0 {
				t.Errorf("%+v, %g fail: %d ejections, %+v", c, fails, len(w.actions), w.actions[0])
			}
		}
	}
}

// A member of whose requests 15 % fail, or more, is found within two windows.
func TestDetector_finds(t *testing.T) {
	for _, c := range []struct {
		members, rate int
		base, bad     float64
	}{
		{4, 20, 0.0001, 0.15}, {4, 20, 0, 0.3}, {10, 20, 0.001, 0.15}, {100, 100, 0.01, 0.15}, {100, 10, 0.001, 0.3},
		{1000, 10, 0.0001, 0.3}, {10, 100, 0.05, 0.3}, {10, 20, 0.4, 0.95},
	} {
		found, times := 0, testutil.RaceRounds(10)
		for seed := range uint64(times) {
			w := newWorld(c.members, 4, seed)
			fails := func(slot int) float64 {
				if slot == 1 {
					return c.bad
				}
				return c.base
			}
			w.run(10, c.rate, 4, func(int) float64 { return c.base })
			w.run(20, c.rate, 4, fails)
			if len(w.actions) > 0 && w.actions[0].Member.Slot == 1 {
				found++
			}
		}
		if found < times {
			t.Errorf("%+v: found %d of %d times", c, found, times)
		}
	}
}

// Five faults in a row eject at once, over all reactors; many requests of one connection count once, and a good
// answer ends the row. Answers that say that the member cannot serve count if they are of more than a route or moment.
func TestDetector_inARow(t *testing.T) {
	fault := ejection.Failed{Fault: true}
	for _, c := range []struct {
		name   string
		bad    func(i int) ejection.Failed
		step   int64
		goodAt int
		want   int // after how many; 0: never
	}{
		{name: "faults", bad: func(int) ejection.Failed { return fault }, want: 5},
		{name: "a good answer", bad: func(int) ejection.Failed { return fault }, goodAt: 4, want: 8},
		{name: "one connection", bad: func(int) ejection.Failed { return ejection.Failed{Fault: true, Once: "c"} }},
		{name: "one route, at once", bad: func(int) ejection.Failed { return ejection.Failed{Route: "a"} }},
		{name: "one route, for a second", step: second / 4, want: 5,
			bad: func(int) ejection.Failed { return ejection.Failed{Route: "a"} }},
		{name: "routes", want: 5,
			bad: func(i int) ejection.Failed { return ejection.Failed{Route: string(rune('a' + i%2))} }},
	} {
		w := newWorld(4, 2, 1)
		w.run(10, 100, 2, func(int) float64 { return 0 })
		got := 0
		for i := 1; i <= 15 && got == 0; i++ {
			if i == c.goodAt {
				w.do(w.d.Good(0, 1, 1, w.now))
				continue
			}
			w.do(w.d.Bad(i%2, 1, 1, c.bad(i), w.now))
			w.now += c.step
			if len(w.actions) > 0 {
				got = i
			}
		}
		if c.goodAt > 0 && got > 0 {
			got-- // the good one
		}
		if got != c.want {
			t.Errorf("%s: ejected after %d, want %d", c.name, got, c.want)
		}
	}
}

// No more than the allowed part is ejected, and never the last one that serves.
func TestDetector_maxEjected(t *testing.T) {
	for members, want := range map[int]int{1: 0, 2: 1, 3: 1, 4: 2, 10: 5} {
		w := newWorld(members, 1, 1)
		w.run(10, 100, 1, func(int) float64 { return 0 })
		for range 40 {
			for slot := range members {
				w.do(w.d.Bad(0, slot, slot, ejection.Failed{Fault: true}, w.now))
			}
		}
		if len(w.out) > want || members <= 4 && len(w.out) != want {
			t.Errorf("%d of %d are ejected, want %d", len(w.out), members, want)
		}
	}
	down := service(2)()
	down[0].Open = false
	d := ejection.New(1, ejection.Options{}, func() []ejection.Member { return down })
	for range 50 {
		if len(d.Bad(0, 1, 1, ejection.Failed{Fault: true}, 5*second)) > 0 {
			t.Fatal("the last one that serves is ejected")
		}
	}
}

// An ejected member comes back on trial, by 1, 2, 4, 8 and 16 requests at once, and stays out for twice as long when it
// fails.
func TestDetector_trial(t *testing.T) {
	w := newWorld(4, 1, 1)
	fails := 1.0
	of := func(slot int) float64 {
		if slot == 1 {
			return fails
		}
		return 0
	}
	w.run(10, 100, 1, func(int) float64 { return 0 })
	w.run(120, 100, 1, of)
	var lengths []time.Duration
	for _, a := range w.actions {
		if a.Member.Slot != 1 {
			t.Fatalf("%+v", a)
		}
		if a.Eject {
			lengths = append(lengths, a.For)
		}
	}
	if len(lengths) != 3 {
		t.Fatalf("%v", lengths)
	}
	for i, d := range lengths {
		if most := 30 * time.Second << i; d > most || d < most*8/10 {
			t.Errorf("ejection %d lasts %v", i, d)
		}
	}
	fails = 0
	w.run(130, 100, 1, of)
	if len(w.out) > 0 {
		t.Fatal("it does not come back")
	}
	// What it gets on trial.
	w = onTrial(t)
	underWay := 0
	for _, want := range []int{1, 2, 4, 8, 16} {
		for range 100 {
			if w.d.Admit(1, 1, false) == ejection.Counted {
				underWay++
			}
		}
		if underWay != want || !w.d.Trying() {
			t.Errorf("%d requests on trial, want %d", underWay, want)
		}
		w.d.Leave(1, 1)
		underWay--
		if got := w.d.Admit(1, 1, false); got != ejection.Counted {
			t.Errorf("after one of %d has ended the next one is %d", want, got)
		}
		underWay++
		if got := w.d.Admit(1, 1, false); got != ejection.Refused {
			t.Errorf("one more than %d is %d", want, got)
		}
		w.do(w.d.Good(0, 1, 1, w.now))
	}
	if w.d.Trying() || w.d.Admit(1, 1, false) != ejection.Free {
		t.Error("the trial does not end")
	}
}

// onTrial is a world in which member 1 is on trial.
func onTrial(t *testing.T) *world {
	w := newWorld(4, 1, 1)
	w.run(10, 100, 1, func(int) float64 { return 0 })
	for range 5 {
		w.do(w.d.Bad(0, 1, 1, ejection.Failed{Fault: true}, w.now))
	}
	for range 40 {
		w.now += second
		w.do(w.d.Good(0, 2, 2, w.now))
	}
	if len(w.actions) != 2 || !w.d.Trying() {
		t.Fatalf("%+v", w.actions)
	}
	return w
}

// What is under way at a member that fails on trial counts in its next trial, too. One that must get a request, since
// there is no other, gets more than it may.
func TestDetector_trialCountsWhatIsUnderWay(t *testing.T) {
	w := onTrial(t)
	admit := func(must bool, want ejection.Admission) {
		t.Helper()
		if got := w.d.Admit(1, 1, must); got != want {
			t.Errorf("%d, want %d", got, want)
		}
	}
	admit(false, ejection.Counted)
	admit(true, ejection.Counted)
	admit(false, ejection.Refused)
	w.do(w.d.Bad(0, 1, 1, ejection.Failed{Fault: true}, w.now))
	if w.d.Trying() || !w.out[1] {
		t.Fatal("it is not ejected again")
	}
	for range 60 {
		w.now += second
		w.do(w.d.Good(0, 2, 2, w.now))
	}
	admit(false, ejection.Refused)
	w.d.Leave(1, 1)
	admit(false, ejection.Refused)
	w.d.Leave(1, 1)
	admit(false, ejection.Counted)
}

// A check that passes ends an ejection for faults, and no other one.
func TestDetector_checkEndsAnEjection(t *testing.T) {
	for _, c := range []struct {
		name string
		bad  func(i int) ejection.Failed
		want bool
	}{
		{"faults", func(int) ejection.Failed { return ejection.Failed{Fault: true} }, true},
		{"answers", func(i int) ejection.Failed { return ejection.Failed{Route: string(rune('a' + i))} }, false},
	} {
		list := service(4)()
		d := ejection.New(1, ejection.Options{}, func() []ejection.Member { return list })
		now := 100 * second
		for i := range 4000 {
			d.Good(0, i%4, i%4, now)
			now += second / 100
		}
		ejected := false
		for i := range 5 {
			for _, a := range d.Bad(0, 1, 1, c.bad(i), now) {
				ejected = a.Eject
			}
		}
		if !ejected {
			t.Fatalf("%s: it is not ejected", c.name)
		}
		now += 2 * second
		if all := d.Good(0, 0, 0, now); len(all) > 0 {
			t.Errorf("%s: before a check: %+v", c.name, all)
		}
		list[1].Checked = true
		now += 2 * second
		if all := d.Good(0, 0, 0, now); (len(all) == 1 && !all[0].Eject) != c.want || d.Trying() != c.want {
			t.Errorf("%s: %+v", c.name, all)
		}
	}
}

// A member that takes the slot of another one begins without its failures, and what comes late of the other one does
// not count for it.
func TestDetector_slotsAreUsedAgain(t *testing.T) {
	list := service(4)()
	d := ejection.New(2, ejection.Options{}, func() []ejection.Member { return list })
	now := 100 * second
	fault := ejection.Failed{Fault: true}
	for i := range 400 {
		d.Good(0, i%4, i%4, now)
	}
	for range 4 {
		d.Bad(0, 1, 1, fault, now)
	}
	list[1].Which = "another"
	if all := d.Bad(0, 1, "another", fault, now); len(all) > 0 {
		t.Errorf("failures of the one before: %+v", all)
	}
	for range 20 {
		if all := d.Bad(0, 1, 1, fault, now); len(all) > 0 {
			t.Errorf("late failures of the one before: %+v", all)
		}
	}
	d.Good(0, 1, 1, now) // of the one before: it ends no row
	for i := range 4 {
		if all := d.Bad(0, 1, "another", fault, now); (len(all) == 1) != (i == 3) {
			t.Errorf("after %d of its own: %+v", i+2, all)
		}
	}
}

// What a reactor has counted of a member that has gone since does not count for its successor.
func TestDetector_countsOfTheOneBefore(t *testing.T) {
	list := service(4)()
	d := ejection.New(2, ejection.Options{Errors: 1000}, func() []ejection.Member { return list })
	now := 100 * second
	for r := range 2 {
		for i := range 400 {
			d.Good(r, i%4, i%4, now)
		}
	}
	// Reactor 1 has told all within this second, and keeps what comes now.
	for range 100 {
		d.Good(1, 1, 1, now)
	}
	list[1].Which = "another"
	now += 2 * second
	d.Good(0, 0, 0, now) // learns of it
	d.Good(1, 0, 0, now) // tells what was kept
	for range 19 {
		d.Bad(0, 1, "another", ejection.Failed{}, now)
	}
	now += 2 * second
	if all := d.Bad(0, 1, "another", ejection.Failed{}, now); len(all) != 1 || all[0].Asked != 20 {
		t.Errorf("%+v", all)
	}
}

// A good outcome allocates nothing, and reactors may tell of them at the same time.
func TestDetector_good(t *testing.T) {
	w := newWorld(4, 2, 1)
	w.run(5, 10, 2, func(int) float64 { return 0 })
	if n := testutil.Allocs(1000, func() { w.d.Good(0, 2, 2, w.now) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
	done := make(chan bool)
	for r := range 2 {
		go func() {
			for i := range int64(20_000) {
				now := w.now + i*second/1000
				slot := int(i % 4)
				if i%50 == 0 {
					w.d.Bad(r, slot, slot, ejection.Failed{Fault: true}, now)
				} else if a := w.d.Admit(slot, slot, false); a != ejection.Refused {
					w.d.Good(r, slot, slot, now)
					if a == ejection.Counted {
						w.d.Leave(slot, slot)
					}
				}
			}
			done <- true
		}()
	}
	<-done
	<-done
}
