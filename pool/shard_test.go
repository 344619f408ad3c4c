package pool

import (
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/edge-proxy/edge/internal/test/testutil"
)

type conn struct {
	node    Node[string, *conn]
	key     string
	evicted int
}

func newConn(key string) *conn {
	c := &conn{key: key}
	c.node.Conn = c
	return c
}

func evictConn(c *conn) { c.evicted++ }

func TestShard_takesTheOneParkedLast(t *testing.T) {
	s := New[string](10, evictConn)
	a, b := s.Group("a"), s.Group("b")
	a1, a2, b1 := newConn("a"), newConn("a"), newConn("b")
	s.Park(a, &a1.node)
	s.Park(a, &a2.node)
	s.Park(b, &b1.node)
	for _, want := range []*conn{a2, a1, nil} {
		if got, ok := s.Take(a); got != want || ok != (want != nil) {
			t.Fatalf("got %v, want %v", got, want)
		}
	}
	if s.Len() != 1 || b.Len() != 1 || a.Len() != 0 {
		t.Fatalf("idle %d: a %d, b %d", s.Len(), a.Len(), b.Len())
	}
}

func TestShard_popsTheOldestOfTheKey(t *testing.T) {
	s := New[string](10, evictConn)
	a, b := s.Group("a"), s.Group("b")
	b1, a1, a2 := newConn("b"), newConn("a"), newConn("a")
	s.Park(b, &b1.node)
	s.Park(a, &a1.node)
	s.Park(a, &a2.node)
	if got, _ := s.PopOldest(a); got != a1 {
		t.Fatal("not the oldest of its key")
	}
	if got, _ := s.Oldest(); got != b1 {
		t.Fatal("the oldest of all moved")
	}
}

func TestShard_evictsTheOldestOfAllKeys(t *testing.T) {
	s := New[string](2, evictConn)
	a, b := s.Group("a"), s.Group("b")
	a1, b1, b2 := newConn("a"), newConn("b"), newConn("b")
	s.Park(a, &a1.node)
	s.Park(b, &b1.node)
	s.Park(b, &b2.node)
	if a1.evicted != 1 || b1.evicted != 0 || a1.node.Parked() || s.Len() != 2 {
		t.Fatalf("evicted a1 %d, b1 %d", a1.evicted, b1.evicted)
	}
}

func TestShard_ofNoCapacityKeepsNothing(t *testing.T) {
	s := New[string](0, evictConn)
	c := newConn("a")
	s.Park(s.Group("a"), &c.node)
	if c.evicted != 1 || s.Len() != 0 || c.node.Parked() {
		t.Fatalf("evicted %d, idle %d", c.evicted, s.Len())
	}
}

func TestShard_droppedGroupCollectsNothing(t *testing.T) {
	s := New[string](10, evictConn)
	g := s.Group("a")
	idle, busy := newConn("a"), newConn("a")
	s.Park(g, &idle.node)
	s.DropGroup(g)
	s.DropGroup(g)
	s.Park(g, &busy.node)
	if idle.evicted != 1 || busy.evicted != 1 || s.Len() != 0 || s.Groups() != 0 {
		t.Fatalf("evicted %d and %d, idle %d, groups %d", idle.evicted, busy.evicted, s.Len(), s.Groups())
	}
	if again := s.Group("a"); again == g {
		t.Fatal("a dropped group came back")
	}
}

func TestShard_evictMayRemoveOthers(t *testing.T) {
	a, b := newConn("a"), newConn("a")
	var s *Shard[string, *conn]
	s = New[string](10, func(c *conn) {
		c.evicted++
		s.Remove(&a.node)
		s.Remove(&b.node)
	})
	g := s.Group("a")
	s.Park(g, &a.node)
	s.Park(g, &b.node)
	s.SetCapacity(0)
	if a.evicted != 1 || b.evicted != 0 || s.Len() != 0 {
		t.Fatalf("evicted %d and %d, idle %d", a.evicted, b.evicted, s.Len())
	}
}

func TestShard_panicsWhenParkedTwice(t *testing.T) {
	s := New[string](10, evictConn)
	c := newConn("a")
	s.Park(s.Group("a"), &c.node)
	testutil.Panics(t, "a second Park", func() { s.Park(s.Group("b"), &c.node) })
}

func TestShard_doesNotAllocate(t *testing.T) {
	s := New[string](10, evictConn)
	g := s.Group("a")
	c := newConn("a")
	s.Park(g, &c.node)
	if n := testutil.Allocs(1000, func() {
		c, _ := s.Take(s.Group("a"))
		s.Park(g, &c.node)
		s.Remove(&c.node)
		s.Park(g, &c.node)
	}); n != 0 {
		t.Fatalf("%v allocations", n)
	}
}

// model is a shard beside a plain slice of connections in the order of parking.
type model struct {
	t        *testing.T
	s        *Shard[string, *conn]
	idle     []*conn // oldest first
	busy     []*conn
	evicted  []*conn // since the last comparison
	capacity int
	want     Counters
}

// decisions is where a run takes its choices from: a seeded generator, or the input of a fuzzer.
type decisions interface{ IntN(n int) int }

// input makes decisions of a fuzzer's bytes, one of each, and none when they have run out.
type input struct{ b []byte }

// IntN returns 0 when there is nothing left.
func (in *input) IntN(n int) int {
	if len(in.b) == 0 {
		return 0
	}
	v := int(in.b[0])
	in.b = in.b[1:]
	return v % n
}

func newModel(t *testing.T, from decisions, keys []string) *model {
	m := &model{t: t, capacity: from.IntN(20)}
	m.s = New[string](m.capacity, func(c *conn) { m.evicted = append(m.evicted, c) })
	for range 40 {
		m.busy = append(m.busy, newConn(keys[from.IntN(len(keys))]))
	}
	return m
}

var allKeys = []string{"a", "b", "c", "d"}

func TestShard_agreesWithAList(t *testing.T) {
	for seed := range uint64(200) {
		t.Logf("seed %d", seed)
		rng := rand.New(rand.NewPCG(seed, 1))
		keys := allKeys[:1+rng.IntN(4)]
		m := newModel(t, rng, keys)
		for range 2000 {
			m.step(rng, keys[rng.IntN(len(keys))])
		}
	}
}

func FuzzShard(f *testing.F) {
	for seed := range uint64(4) {
		rng := rand.New(rand.NewPCG(seed, 2))
		b := make([]byte, 512)
		for i := range b {
			b[i] = byte(rng.Uint32())
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		in := &input{b}
		m := newModel(t, in, allKeys)
		for len(in.b) > 0 {
			m.step(in, allKeys[in.IntN(len(allKeys))])
		}
	})
}

// of returns where in the list the oldest and the newest connection of key are, or -1.
func (m *model) of(key string) (oldest, newest int) {
	oldest = slices.IndexFunc(m.idle, func(c *conn) bool { return c.key == key })
	for newest = len(m.idle) - 1; newest >= 0 && m.idle[newest].key != key; newest-- {
	}
	return oldest, newest
}

func (m *model) step(from decisions, key string) {
	oldest, newest := m.of(key)
	var evicted []*conn
	over := func() { // what goes when the capacity is exceeded
		n := max(len(m.idle)-m.capacity, 0)
		evicted = append(evicted, m.idle[:n]...)
		m.idle = slices.Delete(m.idle, 0, n)
	}
	switch op := from.IntN(32); {
	case op < 12 && len(m.busy) > 0:
		c := m.busy[0]
		m.busy = m.busy[1:]
		m.s.Park(m.s.Group(c.key), &c.node)
		m.want.Parked++
		m.idle = append(m.idle, c)
		over()
	case op < 20:
		c, ok := m.s.Take(m.s.Group(key))
		m.left(c, ok, newest, &m.want.Taken)
	case op < 23:
		c, ok := m.s.PopOldest(m.s.Group(key))
		m.left(c, ok, oldest, &m.want.Given)
	case op < 28 && len(m.idle) > 0:
		i := from.IntN(len(m.idle))
		m.left(m.idle[i], m.s.Remove(&m.idle[i].node), i, &m.want.Removed)
	case op == 28 && len(m.busy) > 0 && m.s.Remove(&m.busy[0].node):
		m.t.Fatal("removed what was not parked")
	case op == 29:
		m.capacity = from.IntN(20)
		m.s.SetCapacity(m.capacity)
		over()
	case op == 30:
		if m.s.EvictOldest() != (len(m.idle) > 0) {
			m.t.Fatal("EvictOldest disagrees")
		}
		n := min(len(m.idle), 1)
		evicted = append(evicted, m.idle[:n]...)
		m.idle = slices.Delete(m.idle, 0, n)
	case op == 31:
		m.s.DropGroup(m.s.Group(key))
		m.idle = slices.DeleteFunc(m.idle, func(c *conn) bool {
			if c.key == key {
				evicted = append(evicted, c)
			}
			return c.key == key
		})
	}
	m.compare(evicted)
}

// left moves the connection at place i of the list to the busy ones: c is what the shard gave.
func (m *model) left(c *conn, ok bool, i int, count *int) {
	if ok != (i >= 0) || ok && c != m.idle[i] {
		m.t.Fatalf("got %v, %v; want place %d", c, ok, i)
	}
	if ok {
		m.idle = slices.Delete(m.idle, i, i+1)
		m.busy = append(m.busy, c)
		*count++
	}
}

func (m *model) compare(evicted []*conn) {
	m.t.Helper()
	if !slices.Equal(m.evicted, evicted) {
		m.t.Fatalf("evicted %d, want %d, or others", len(m.evicted), len(evicted))
	}
	m.want.Evicted += len(evicted)
	m.busy = append(m.busy, evicted...)
	m.evicted = nil
	if m.s.Len() != len(m.idle) || m.s.Counters() != m.want {
		m.t.Fatalf("idle %d, want %d; %+v, want %+v", m.s.Len(), len(m.idle), m.s.Counters(), m.want)
	}
	c, ok := m.s.Oldest()
	if ok != (len(m.idle) > 0) || ok && c != m.idle[0] {
		m.t.Fatal("another one is the oldest")
	}
	for _, c := range m.idle {
		if !c.node.Parked() {
			m.t.Fatal("an idle connection is not parked")
		}
	}
}
