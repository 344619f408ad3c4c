package timerwheel

import (
	"encoding/binary"
	"math"
	"math/rand/v2"
	"testing"
)

// decisions is where a run takes its choices from: a seeded generator, or the input of a fuzzer.
type decisions interface {
	next() (v uint64, ok bool)
}

type seeded struct {
	rng  *rand.Rand
	left int
}

func (s *seeded) next() (uint64, bool) {
	s.left--
	return s.rng.Uint64(), s.left >= 0
}

type input struct{ b []byte }

func (in *input) next() (uint64, bool) {
	if len(in.b) < 4 {
		return 0, false
	}
	v := binary.LittleEndian.Uint32(in.b)
	in.b = in.b[4:]
	// Spread, so that four bytes reach every field a decision is cut into.
	return uint64(v) * 0x9e3779b97f4a7c15, true
}

// model runs a wheel beside a plain list of deadlines and fails t where the two disagree.
type model struct {
	t      *testing.T
	w      Wheel
	from   decisions
	now    int64
	high   int64 // the latest now that Advance was given
	done   bool  // the last Advance left nothing due
	round  int   // counts Advances
	timers []guarded
	armed  int
	fired  int
}

// guarded is a timer with what the list knows of it.
type guarded struct {
	m     *model
	timer Timer
	armed bool
	at    int64
	due   int64 // the granule by which it must have fired
	round int   // of the model, when it was last armed from disarmed
}

func newModel(t *testing.T, from decisions, timers int, now int64) *model {
	m := &model{t: t, from: from, now: now, high: now, timers: make([]guarded, timers)}
	m.w.Init(now)
	for i := range m.timers {
		g := &m.timers[i]
		g.m = m
		g.timer.Owner = g
	}
	return m
}

// run takes decisions until there are none left, then fires all that remains.
func (m *model) run() {
	for {
		v, ok := m.from.next()
		if !ok {
			break
		}
		switch op := v % 16; {
		case op < 8:
			m.arm(v >> 4)
		case op < 11:
			m.disarm(v >> 4)
		default:
			m.advance(v >> 4)
		}
		m.compare()
	}
	m.finish()
}

// jumpBits keeps the clock of a run from reaching the end of time, where all deadlines are alike.
const jumpBits = 48

// distance is up to 2^scale ns, even shares for each power of two, a quarter of them into the past.
func distance(v uint64, scale uint) int64 {
	d := int64(v * 0x9e3779b97f4a7c15 >> 1 & (1<<(v>>2%uint64(scale)) - 1))
	if v&3 == 0 {
		return -d
	}
	return d
}

func later(at, d int64) int64 {
	if d > 0 && at > math.MaxInt64-d {
		return math.MaxInt64
	}
	return at + d
}

func (m *model) arm(v uint64) {
	g := &m.timers[v%uint64(len(m.timers))]
	v /= uint64(len(m.timers))
	at := later(m.now, distance(v, 64))
	if g.armed && v>>9&1 == 1 { // close to where it is: the lazy path and its edge
		at = later(g.at, distance(v, 24))
	}
	if !g.armed {
		m.armed++
		g.round = m.round
	}
	g.armed, g.at = true, at
	g.due = max(tickOf(at), m.high>>granuleBits+1)
	m.w.Arm(&g.timer, at)
}

func (m *model) disarm(v uint64) {
	g := &m.timers[v%uint64(len(m.timers))]
	if g.armed {
		m.armed--
	}
	g.armed = false
	m.w.Disarm(&g.timer)
}

// OnTimer checks that g was to fire, and arms and disarms others, itself included.
func (g *guarded) OnTimer(t *Timer, now int64) {
	m := g.m
	if t != &g.timer || now != m.now || !g.armed || g.at > now || t.Armed() {
		m.t.Fatalf("fired at %d: %+v", now, g)
	}
	if g.round == m.round {
		m.t.Fatalf("fired in the Advance it was armed in: %+v", g)
	}
	g.armed = false
	m.armed--
	m.fired++
	for {
		v, ok := m.from.next()
		switch {
		case !ok || v%4 == 0:
			return
		case v%4 == 1:
			m.disarm(v >> 4)
		default:
			m.arm(v >> 4)
		}
	}
}

func (m *model) advance(v uint64) {
	switch v & 7 {
	case 0: // the clock jumps, also back
		m.now = max(later(m.now, distance(v>>3, jumpBits)), 0)
	case 1, 2, 3:
		if next := m.w.Next(); next >= 0 && next-m.now < 1<<jumpBits {
			m.now = max(m.now, next)
		}
	default:
		m.now = later(m.now, int64(v>>3)&(1<<28-1))
	}
	limit := int(v >> 40 & 15)
	if limit > 8 {
		limit = 1 << 20
	}
	m.advanceTo(limit)
}

func (m *model) advanceTo(limit int) (n int) {
	before := m.high
	m.high = max(m.high, m.now)
	m.round++
	n = m.w.Advance(m.now, limit)
	m.round++
	if n > limit {
		m.t.Fatalf("touched %d of at most %d", n, limit)
	}
	if n == limit {
		m.done = false
	}
	if n == limit || m.now < before {
		return n
	}
	m.done = true
	for i := range m.timers {
		if g := &m.timers[i]; g.armed && g.due <= m.now>>granuleBits {
			m.t.Fatalf("at %d, granule %d, this did not fire: %+v", m.now, m.now>>granuleBits, g)
		}
	}
	return n
}

func (m *model) compare() {
	m.w.check()
	if m.w.Len() != m.armed {
		m.t.Fatalf("Len %d, armed %d", m.w.Len(), m.armed)
	}
	next := m.w.Next()
	if (next < 0) != (m.armed == 0) {
		m.t.Fatalf("Next %d, armed %d", next, m.armed)
	}
	if m.done && next >= 0 && next <= m.high {
		m.t.Fatalf("nothing is left, but Next is %d at %d", next, m.high)
	}
	for i := range m.timers {
		g := &m.timers[i]
		g.timer.check()
		if g.timer.Armed() != g.armed || g.timer.At() != g.at {
			m.t.Fatalf("wheel and list disagree: %+v", g)
		}
		if g.armed && g.due < tickNever && g.due<<granuleBits < next {
			m.t.Fatalf("Next %d is after %+v", next, g)
		}
	}
}

// finish goes from Next to Next until all but what never fires has fired.
func (m *model) finish() {
	m.now = m.high
	for steps := 0; ; steps++ {
		m.advanceTo(1 << 20)
		m.compare()
		next := m.w.Next()
		if next < 0 || next == math.MaxInt64 {
			break
		}
		if steps > (levels+1)*len(m.timers) {
			m.t.Fatalf("%d steps and still %d timers", steps, m.w.Len())
		}
		m.now = max(m.now, next)
	}
	for i := range m.timers {
		if g := &m.timers[i]; g.armed && tickOf(g.at) != tickNever {
			m.t.Fatalf("never fired: %+v", g)
		}
	}
}

func TestWheel_agreesWithAList(t *testing.T) {
	runs := 400
	if testing.Short() {
		runs = 50
	}
	fired := 0
	for seed := range uint64(runs) {
		rng := rand.New(rand.NewPCG(seed, 1))
		m := newModel(t, &seeded{rng, 2000}, 1+rng.IntN(60), rng.Int64()>>(1+rng.IntN(62)))
		t.Logf("seed %d", seed)
		m.run()
		fired += m.fired
	}
	if fired < runs*200 {
		t.Fatalf("only %d timers fired: the runs test little", fired)
	}
}

func FuzzWheel(f *testing.F) {
	for seed := range uint64(4) {
		rng := rand.New(rand.NewPCG(seed, 2))
		b := make([]byte, 256)
		for i := range b {
			b[i] = byte(rng.Uint32())
		}
		f.Add(int64(1)<<(seed*20), b)
	}
	f.Fuzz(func(t *testing.T, now int64, b []byte) {
		newModel(t, &input{b}, 12, max(now, 0)&math.MaxInt64>>1).run()
	})
}
