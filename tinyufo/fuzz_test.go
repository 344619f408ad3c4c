package tinyufo

import (
	"fmt"
	"testing"
	"time"
)

// modelled is a cache beside a map that never forgets: what the cache has must be what the map has.
type modelled struct {
	*testing.T
	c      *Cache[uint8, uint64]
	model  map[uint8]modelEntry
	ledger *ledger
	now    int64
	budget int64
	serial uint64
}

type modelEntry struct {
	value  uint64
	expiry int64
}

const modelTick = 500 * time.Millisecond

// FuzzCache runs operations on a cache of one of several kinds: three bytes each, what, which key, and how much.
func FuzzCache(f *testing.F) {
	f.Add([]byte("\x00set1set2get1get2"))
	fuzzOperations(f, 8, func(t *testing.T, ops []byte) {
		m := newModelled(t, ops[0], int64(ops[1]%64)+1)
		for ops = ops[2:]; len(ops) >= 3 && !t.Failed(); ops = ops[3:] {
			m.do(ops[0]%16, ops[1]%48, ops[2])
			m.checkBudget()
		}
		m.c.audit(t)
		m.ledger.check(t, m.c.values)
	})
}

// fuzzOperations fuzzes bytes: the kind of a cache, its budget, and operations of three bytes each. The seeds are
// of so many kinds.
func fuzzOperations(f *testing.F, kinds byte, run func(t *testing.T, ops []byte)) {
	for kind := range kinds {
		ops := []byte{kind, 3}
		for i := range byte(240) {
			ops = append(ops, i*7, i*13%23, i)
		}
		f.Add(ops)
	}
	f.Fuzz(func(t *testing.T, ops []byte) {
		if len(ops) >= 2 && len(ops) <= 3000 {
			run(t, ops)
		}
	})
}

// newModelled makes a cache. The bits of kind say whether it has weights, times, and times since the last use.
func newModelled(t *testing.T, kind byte, budget int64) *modelled {
	m := &modelled{T: t, model: make(map[uint8]modelEntry), budget: budget}
	o := Options[uint8, uint64]{Shards: 1}
	if kind&1 == 0 {
		o.Entries = int(budget)
	} else {
		o.Weight = budget
		o.Weigher = func(key uint8, value uint64) uint32 { return uint32(value>>8+uint64(key)) % 9 }
	}
	switch kind >> 1 & 3 {
	case 1:
		o.TTL, o.Clock = 8*modelTick, func() int64 { return m.now }
	case 2:
		o.TTI, o.Clock = 8*modelTick, func() int64 { return m.now }
	}
	m.ledger = follow(&o)
	m.c = New(o)
	return m
}

// want is what the model has for key.
func (m *modelled) want(key uint8) (value uint64, ok bool) {
	e, ok := m.model[key]
	if !ok || e.expiry <= m.now {
		return 0, false
	}
	return e.value, true
}

// saw compares what the cache has with the model, where what is missing is forgotten.
func (m *modelled) saw(what string, key uint8, got uint64, ok bool) {
	want, present := m.want(key)
	if ok && (!present || got != want) {
		m.Errorf("%s of %d: %d; the model has %d %v", what, key, got, want, present)
	}
	if !ok {
		delete(m.model, key)
	}
}

// used makes an entry live longer, if it lives from its last use. The cache may be late by a 64th.
func (m *modelled) used(key uint8) {
	if e, ok := m.model[key]; ok && m.c.tti > 0 {
		m.model[key] = modelEntry{e.value, later(m.now, m.c.tti)}
	}
}

// set notes that key has a new value.
func (m *modelled) set(key uint8, value uint64, ttl time.Duration) {
	if m.c.tti > 0 {
		ttl = m.c.tti
	}
	m.model[key] = modelEntry{value, later(m.now, ttl)}
}

func (m *modelled) value(key uint8) uint64 {
	m.serial++
	v := m.serial<<8 | uint64(key)
	m.ledger.take(v)
	return v
}

func (m *modelled) do(op, key, arg byte) {
	c := m.c
	switch op {
	case 0, 1, 2:
		v, ok := c.Get(key)
		m.saw("Get", key, v, ok)
		m.used(key)
	case 3, 4, 5:
		v := m.value(key)
		c.Set(key, v)
		m.set(key, v, c.ttl)
	case 6:
		if !c.timed || c.tti > 0 {
			return
		}
		v := m.value(key)
		c.SetTTL(key, v, time.Duration(int(arg)+1)*modelTick)
		m.set(key, v, time.Duration(int(arg)+1)*modelTick)
	case 7:
		if _, present := m.want(key); c.Delete(key) && !present {
			m.Errorf("Delete of %d, which is not in the model", key)
		}
		delete(m.model, key)
	case 8:
		v := m.value(key)
		old, ok := c.Swap(key, v)
		m.saw("Swap", key, old, ok)
		m.set(key, v, c.ttl)
	case 9:
		v := m.value(key)
		got, present := c.GetOrSet(key, v)
		m.saw("GetOrSet", key, got, present)
		m.used(key)
		if !present {
			m.set(key, v, c.ttl)
		} else {
			delete(m.ledger.taken, v)
		}
	case 10:
		m.compute(key, Op(arg%3))
	case 11, 12:
		m.now += int64(arg%8) * int64(modelTick)
	default:
		m.whole(op, int64(arg))
	}
}

func (m *modelled) compute(key uint8, op Op) {
	var v uint64
	if op == Store {
		v = m.value(key)
	}
	got, ok := m.c.Compute(key, func(old uint64, ok bool) (uint64, Op) {
		m.saw("Compute", key, old, ok)
		return v, op
	})
	switch op {
	case Keep:
		m.saw("Compute", key, got, ok)
	case Store:
		m.set(key, v, m.c.ttl)
	case Remove:
		delete(m.model, key)
		if ok {
			m.Errorf("Compute removed %d, and has %d", key, got)
		}
	}
}

// whole does what is about all entries.
func (m *modelled) whole(op byte, arg int64) {
	c := m.c
	switch {
	case op == 13 && arg%8 == 0:
		c.Purge()
		clear(m.model)
	case op == 13:
		n := c.Len()
		if got := c.DeleteFunc(func(key uint8, _ uint64) bool { return int64(key)%8 == arg%8 }); got > n {
			m.Errorf("%d of %d entries deleted", got, n)
		}
		for key := range m.model {
			if int64(key)%8 == arg%8 {
				delete(m.model, key)
			}
		}
	case op == 14:
		m.budget = arg%96 + 1
		c.Resize(m.budget)
	default:
		c.Expire()
		seen := make(map[uint8]bool)
		for key, v := range c.All() {
			m.saw("All", key, v, true)
			if seen[key] {
				m.Errorf("%d comes twice", key)
			}
			seen[key] = true
		}
	}
}

func (m *modelled) checkBudget() {
	if w := m.c.Weight(); w > m.budget {
		m.Errorf("weight %d of %d", w, m.budget)
	}
}

// The policy keeps its queues, whatever weights and budgets it is given.
func FuzzPolicy(f *testing.F) {
	f.Add([]byte("0123456789abcdefghijklmnopqrstuvwxyz"), uint8(10))
	f.Fuzz(func(t *testing.T, ops []byte, capacity uint8) {
		c := New(Options[int, uint32]{Weight: int64(capacity) + 1, Shards: 1,
			Weigher: func(_ int, w uint32) uint32 { return w }})
		s := &c.shards[0]
		for i, op := range ops {
			key := int(op & 31)
			switch op >> 5 {
			case 0, 1:
				c.Get(key)
			case 2:
				c.Resize(int64(op&31)*4 + 1)
			case 3:
				c.Delete(key)
			default:
				c.Set(key, uint32(i+int(op>>5))%12)
			}
			if s.small+s.main > s.capacity || s.target < 1 || s.target > s.capacity {
				t.Fatal(fmt.Sprintf("small %d, main %d, target %d, capacity %d", s.small, s.main, s.target, s.capacity))
			}
		}
		c.audit(t)
	})
}
