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

// subject is a Wheel or a Slots, with numbered timers.
type subject interface {
	init(m *model, timers int, now int64)
	arm(i int, at int64)
	disarm(i int)
	move(from, to int) (ok bool) // not ok: it cannot
	advance(now int64, limit int) int
	next() int64
	len() int
	armed(i int) bool
	at(i int) int64
	// due is the granule by which a timer fires that was just armed for at and shows the deadline kept. put is the
	// granule that a deadline which is past is put off to, unless the timer was armed and due already.
	due(kept, at, put int64, armed bool) (tick int64, ok bool)
	check()
}

// model runs a subject beside a plain list of deadlines and fails t where the two disagree.
type model struct {
	t      *testing.T
	s      subject
	from   decisions
	now    int64
	high   int64 // the latest now that Advance was given
	done   bool  // the last Advance left nothing due
	round  int   // counts Advances
	timers []guarded
	armed  int
	fired  int
}

// guarded is what the list knows of a timer.
type guarded struct {
	armed bool
	asked int64 // the deadline
	kept  int64 // what it is shown as
	due   int64 // the granule by which it must have fired
	round int   // of the model, when it was last armed from disarmed
}

func newModel(t *testing.T, s subject, from decisions, timers int, now int64) *model {
	m := &model{t: t, s: s, from: from, now: now, high: now, timers: make([]guarded, timers)}
	s.init(m, timers, now)
	for i := range m.timers {
		m.timers[i].kept = s.at(i)
	}
	return m
}

// pointers is a Wheel as a subject.
type pointers struct {
	w      Wheel
	m      *model
	timers []Timer
}

func (p *pointers) init(m *model, timers int, now int64) {
	p.m, p.timers = m, make([]Timer, timers)
	for i := range p.timers {
		p.timers[i].Owner = p
	}
	p.w.Init(now)
}

func (p *pointers) OnTimer(t *Timer, now int64) {
	for i := range p.timers {
		if t == &p.timers[i] {
			p.m.onFire(i, now)
			return
		}
	}
	p.m.t.Fatalf("an unknown timer fired at %d", now)
}

func (p *pointers) arm(i int, at int64)              { p.w.Arm(&p.timers[i], at) }
func (p *pointers) disarm(i int)                     { p.w.Disarm(&p.timers[i]) }
func (p *pointers) advance(now int64, limit int) int { return p.w.Advance(now, limit) }
func (p *pointers) next() int64                      { return p.w.Next() }
func (p *pointers) len() int                         { return p.w.Len() }
func (p *pointers) armed(i int) bool                 { return p.timers[i].Armed() }
func (p *pointers) at(i int) int64                   { return p.timers[i].At() }
func (p *pointers) move(from, to int) bool           { return false }

func (p *pointers) due(kept, at, put int64, _ bool) (tick int64, ok bool) {
	return max(tickOf(at), put), kept == at
}

func (p *pointers) check() {
	p.w.check()
	for i := range p.timers {
		p.timers[i].check()
	}
}

// indices is a Slots as a subject.
type indices struct {
	s Slots
	m *model
}

func (x *indices) init(m *model, timers int, now int64) {
	x.m = m
	x.s.Init(now)
	x.s.Grow((timers + 1) / 2)
}

// grow makes room for i as an owner does, when it is needed first.
func (x *indices) grow(i int) uint32 {
	if i >= x.s.Cap() {
		x.s.Grow(2 * x.s.Cap())
	}
	return uint32(i)
}

func (x *indices) arm(i int, at int64) { x.s.Arm(x.grow(i), at) }
func (x *indices) disarm(i int)        { x.s.Disarm(x.grow(i)) }
func (x *indices) next() int64         { return x.s.Next() }
func (x *indices) len() int            { return x.s.Len() }
func (x *indices) armed(i int) bool    { return x.s.Armed(x.grow(i)) }
func (x *indices) at(i int) int64      { return x.s.At(x.grow(i)) }
func (x *indices) check()              { x.s.check() }

func (x *indices) move(from, to int) bool {
	x.s.Move(x.grow(from), x.grow(to))
	return true
}

func (x *indices) advance(now int64, limit int) int {
	return x.s.Advance(now, limit, func(i uint32, now int64) { x.m.onFire(int(i), now) })
}

func (x *indices) due(kept, at, put int64, armed bool) (tick int64, ok bool) {
	if asked := tickOf(at); armed && asked < put && kept == timeOf(asked) {
		return put, true
	}
	tick = max(tickOf(at), put)
	if tick-x.s.tick > nearMask {
		const far = 1 << farBits
		tick = (tick + far - 1) / far * far
	}
	return tick, kept == timeOf(tick)
}

// run takes decisions until there are none left, then fires all that remains.
func (m *model) run() {
	for {
		v, ok := m.from.next()
		if !ok {
			break
		}
		switch op := v % 16; {
		case op < 7:
			m.arm(v >> 4)
		case op < 8:
			m.move(v >> 4)
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
	i := int(v % uint64(len(m.timers)))
	g := &m.timers[i]
	v /= uint64(len(m.timers))
	at := later(m.now, distance(v, 64))
	if g.armed && v>>9&1 == 1 { // close to where it is: the lazy path and its edge
		at = later(g.asked, distance(v, 24))
	}
	put := m.high>>granuleBits + 1
	armed := g.armed
	if !armed {
		m.armed++
		g.round = m.round
	}
	m.s.arm(i, at)
	g.armed, g.asked, g.kept = true, at, m.s.at(i)
	var ok bool
	if g.due, ok = m.s.due(g.kept, at, put, armed); !ok {
		m.t.Fatalf("armed for %d at %d, put off to granule %d, it shows %d", at, m.now, put, g.kept)
	}
}

func (m *model) disarm(v uint64) {
	i := int(v % uint64(len(m.timers)))
	m.s.disarm(i)
	m.forget(i)
}

// forget makes the list say that i is disarmed.
func (m *model) forget(i int) {
	g := &m.timers[i]
	if g.armed {
		m.armed--
	}
	g.armed, g.kept = false, m.s.at(i)
}

func (m *model) move(v uint64) {
	n := uint64(len(m.timers))
	from, to := int(v%n), int(v/n%n)
	if !m.s.move(from, to) || from == to {
		return
	}
	moved := m.timers[from]
	m.forget(to)
	m.forget(from)
	if !moved.armed {
		return
	}
	if at := m.s.at(to); at != moved.kept {
		m.t.Fatalf("moved from %d to %d, it shows %d: %+v", from, to, at, moved)
	}
	m.armed++
	m.timers[to] = moved
}

// onFire checks that i was to fire, and arms and disarms others, itself included.
func (m *model) onFire(i int, now int64) {
	g := &m.timers[i]
	if now != m.now || !g.armed || g.asked > now || m.s.armed(i) {
		m.t.Fatalf("timer %d fired at %d: %+v", i, now, g)
	}
	if g.round == m.round {
		m.t.Fatalf("timer %d fired in the Advance it was armed in: %+v", i, g)
	}
	m.forget(i)
	m.fired++
	for {
		v, ok := m.from.next()
		switch {
		case !ok || v%4 == 0:
			return
		case v%8 == 1:
			m.move(v >> 4)
		case v%8 == 5:
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
		if next := m.s.next(); next >= 0 && next-m.now < 1<<jumpBits {
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
	n = m.s.advance(m.now, limit)
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
	m.s.check()
	if m.s.len() != m.armed {
		m.t.Fatalf("Len %d, armed %d", m.s.len(), m.armed)
	}
	next := m.s.next()
	if (next < 0) != (m.armed == 0) {
		m.t.Fatalf("Next %d, armed %d", next, m.armed)
	}
	if m.done && next >= 0 && next <= m.high {
		m.t.Fatalf("nothing is left, but Next is %d at %d", next, m.high)
	}
	for i := range m.timers {
		g := &m.timers[i]
		if m.s.armed(i) != g.armed || m.s.at(i) != g.kept {
			m.t.Fatalf("wheel and list disagree on timer %d: %+v", i, g)
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
		next := m.s.next()
		if next < 0 || next == math.MaxInt64 {
			break
		}
		if steps > (levels+1)*len(m.timers) {
			m.t.Fatalf("%d steps and still %d timers", steps, m.s.len())
		}
		m.now = max(m.now, next)
	}
	for i := range m.timers {
		if g := &m.timers[i]; g.armed && g.due < tickNever {
			m.t.Fatalf("never fired: %+v", g)
		}
	}
}

func testAgainstList(t *testing.T, subjectOf func() subject) {
	runs := 400
	if testing.Short() {
		runs = 50
	}
	fired := 0
	for seed := range uint64(runs) {
		rng := rand.New(rand.NewPCG(seed, 1))
		m := newModel(t, subjectOf(), &seeded{rng, 2000}, 1+rng.IntN(60), rng.Int64()>>(1+rng.IntN(62)))
		t.Logf("seed %d", seed)
		m.run()
		fired += m.fired
	}
	if fired < runs*200 {
		t.Fatalf("only %d timers fired: the runs test little", fired)
	}
}

func TestWheel_agreesWithAList(t *testing.T) {
	testAgainstList(t, func() subject { return new(pointers) })
}

func TestSlots_agreesWithAList(t *testing.T) {
	testAgainstList(t, func() subject { return new(indices) })
}

func fuzzAgainstList(f *testing.F, subjectOf func() subject) {
	for seed := range uint64(4) {
		rng := rand.New(rand.NewPCG(seed, 2))
		b := make([]byte, 256)
		for i := range b {
			b[i] = byte(rng.Uint32())
		}
		f.Add(int64(1)<<(seed*20), b)
	}
	f.Fuzz(func(t *testing.T, now int64, b []byte) {
		newModel(t, subjectOf(), &input{b}, 12, max(now, 0)&math.MaxInt64>>1).run()
	})
}

func FuzzWheel(f *testing.F) { fuzzAgainstList(f, func() subject { return new(pointers) }) }
func FuzzSlots(f *testing.F) { fuzzAgainstList(f, func() subject { return new(indices) }) }
