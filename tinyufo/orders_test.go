//go:build invariants

package tinyufo

import (
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// orders is how many orders of steps each scenario is run in.
func orders() int {
	if n, err := strconv.Atoi(os.Getenv("EDGE_ORDERS")); err == nil {
		return n
	}
	switch {
	case os.Getenv("EDGE_SOAK") != "":
		return 100_000
	case testing.Short():
		return 300
	}
	return 2000
}

// stage lets one of its actors act at a time, and decides before each step by its seed whether another goes on.
type stage struct {
	rng   *rand.Rand
	wake  []chan struct{}
	live  []int
	now   int // the actor that acts
	every int // one step in so many may be followed by another actor's
	steps int
}

// act runs the actors until all have ended.
func act(seed uint64, actors ...func()) {
	s := &stage{rng: rand.New(rand.NewPCG(seed, 7))}
	s.every = 1 + s.rng.IntN(12)
	end := make(chan struct{})
	for i := range actors {
		s.wake = append(s.wake, make(chan struct{}, 1))
		s.live = append(s.live, i)
	}
	for i, actor := range actors {
		go func() {
			<-s.wake[i]
			actor()
			s.live = slices.DeleteFunc(s.live, func(n int) bool { return n == i })
			if len(s.live) == 0 {
				close(end)
				return
			}
			s.now = s.live[s.rng.IntN(len(s.live))]
			s.wake[s.now] <- struct{}{}
		}()
	}
	step := s.step
	beforeStep.Store(&step)
	s.wake[s.now] <- struct{}{}
	<-end
	beforeStep.Store(nil)
}

func (s *stage) step() {
	if s.steps++; s.steps > 1_000_000 {
		panic("the actors do not end")
	}
	if s.rng.IntN(s.every) != 0 {
		return
	}
	me, next := s.now, s.live[s.rng.IntN(len(s.live))]
	if me != next {
		s.now = next
		s.wake[next] <- struct{}{}
		<-s.wake[me]
	}
}

// event is one operation of a history, with when it was called and when it returned.
type event struct {
	key          uint64
	name         string
	set          uint64 // what it was given to set, 0 for nothing
	got          uint64 // the value that it found, 0 for none
	began, ended int
	begun, loads int // of a load: when it had joined, and when its loader had returned
}

func (e event) String() string {
	return fmt.Sprintf("%d…%d %s(%d, %d) found %d", e.began, e.ended, e.name, e.key, e.set, e.got)
}

// next is the value of the key after e, when it was value before; ok is false when e cannot have found what it did. A
// cache may forget a value at any time: only what is found must be right.
func (e event) next(value uint64) (after uint64, ok bool) {
	if e.got != 0 && e.got != value {
		return 0, false
	}
	switch e.name {
	case "get":
		return e.got, true
	case "getOrSet":
		if e.got != 0 {
			return e.got, true
		}
	case "delete":
		return 0, true
	case "loaded": // and not cached
		return value, true
	}
	return e.set, true
}

// outdatedBy reports whether other has changed the key while e was loading its value.
func (e event) outdatedBy(other event) bool {
	switch other.name {
	case "set", "swap", "compute":
		return e.begun < other.ended && other.ended < e.loads
	case "delete", "deleted", "computeAway":
		return e.begun < other.began && other.ended < e.loads
	}
	return false
}

// linear reports whether the events of one key, of which done have been put into an order, can be.
func linear(events []event, done uint, value uint64) bool {
	if done == 1<<len(events)-1 {
		return true
	}
	first := 1 << 62 // the earliest end of what is not done: what begins after it comes after it
	for i, e := range events {
		if done>>i&1 == 0 {
			first = min(first, e.ended)
		}
	}
	for i, e := range events {
		if done>>i&1 != 0 || e.began > first {
			continue
		}
		if after, ok := e.next(value); ok && linear(events, done|1<<i, after) {
			return true
		}
	}
	return false
}

// history is what actors did in a cache, and saw.
type history struct {
	clock  int // of events
	serial uint64
	events []event
}

func (h *history) tick() int {
	h.clock++
	return h.clock
}

// byKey returns the events of each key.
func (h *history) byKey() map[uint64][]event {
	all := make(map[uint64][]event)
	for _, e := range h.events {
		all[e.key] = append(all[e.key], e)
	}
	return all
}

// checkOrder fails when the events of a key, in whatever order, are not those of a cache.
func (h *history) checkOrder(t *testing.T) {
	for _, events := range h.byKey() {
		if !linear(events, 0, 0) {
			t.Errorf("no order of these is that of a cache:")
			for _, e := range events {
				t.Log(e)
			}
		}
	}
}

// perform does some operations, and then has the actors do theirs at once, in the order of a seed.
func perform(seed uint64, before string, actors []string, do func(line string)) {
	all := func(lines string) {
		for _, line := range operations(lines) {
			do(line)
		}
	}
	all(before)
	var acts []func()
	for _, lines := range actors {
		acts = append(acts, func() { all(lines) })
	}
	act(seed, acts...)
}

// play is a cache in which actors act.
type play struct {
	history
	c      *Cache[uint64, uint64]
	ledger *ledger
	time   int64
}

// value is a new value for key.
func (p *play) value(key uint64) uint64 {
	p.serial++
	return p.serial*100 + key
}

// do runs one operation, a word like "get 1", and adds it to the history.
func (p *play) do(line string) {
	name, arg, _ := strings.Cut(line, " ")
	key, err := strconv.ParseUint(arg, 10, 64)
	if err != nil {
		panic(line)
	}
	e := event{key: key, name: name, began: p.tick()}
	switch name {
	case "resize":
		p.c.Resize(int64(key))
		return
	case "pass":
		p.time += int64(key)
		return
	case "expire":
		p.c.Expire()
		return
	case "get", "delete":
	default:
		e.set = p.value(key)
	}
	switch name {
	case "get":
		e.got, _ = p.c.Get(key)
	case "delete":
		if p.c.Delete(key) {
			e.name = "deleted"
		}
	case "set":
		p.ledger.take(e.set)
		p.c.Set(key, e.set)
	case "swap":
		p.ledger.take(e.set)
		e.got, _ = p.c.Swap(key, e.set)
	case "getOrSet":
		if v, present := p.c.GetOrSet(key, e.set); present {
			e.got = v
		} else {
			p.ledger.take(e.set)
		}
	case "compute":
		p.ledger.take(e.set)
		p.c.Compute(key, func(old uint64, _ bool) (uint64, Op) { e.got = old; return e.set, Store })
	case "computeAway":
		e.set = 0
		p.c.Compute(key, func(old uint64, _ bool) (uint64, Op) { e.got = old; return 0, Remove })
	case "load":
		if !p.load(&e) {
			return
		}
	default:
		panic(line)
	}
	e.ended = p.tick()
	p.events = append(p.events, e)
}

// load is Load without the goroutine of the loader. It fails when somebody else loads.
func (p *play) load(e *event) bool {
	hash := p.c.hasher.of(e.key)
	l, isNew := p.c.loads.join(hash, e.key)
	e.begun = p.tick()
	if !isNew {
		return false
	}
	if value, err, ok, stale := p.c.cached(hash, e.key); ok && !stale {
		e.name, e.got = "get", value
		p.c.loads.end(hash, e.key, l, value, err)
		return true
	}
	p.ledger.take(e.set)
	e.loads = p.tick()
	p.c.finish(hash, e.key, l, e.set, nil)
	return true
}

// check fails when the history is not that of a cache.
func (p *play) check(t *testing.T) {
	for i := range p.events {
		e := &p.events[i]
		_, left := p.ledger.left[e.set]
		if e.name == "load" && !left && !slices.Contains(slices.Collect(p.c.values), e.set) {
			e.name = "loaded"
			delete(p.ledger.taken, e.set)
		}
		if e.got != 0 && e.got%100 != e.key {
			t.Errorf("the value of another key: %v", e)
		}
	}
	for _, events := range p.byKey() {
		for _, e := range events {
			if e.name == "load" && slices.ContainsFunc(events, func(other event) bool {
				return e.outdatedBy(other)
			}) {
				t.Errorf("cached, though the key was changed meanwhile: %v in %v", e, events)
			}
		}
	}
	p.checkOrder(t)
	p.c.audit(t)
	p.ledger.check(t, p.c.values)
}

// scenario is a cache, what is done before, and what the actors do at once.
type scenario struct {
	options Options[uint64, uint64]
	before  string
	actors  []string // operations with ", " between
}

// one weighs each value 1, so that the table grows.
func one(uint64, uint64) uint32 { return 1 }

var (
	tiny    = Options[uint64, uint64]{Entries: 2, Shards: 1}
	small   = Options[uint64, uint64]{Entries: 8, Shards: 2}
	growing = Options[uint64, uint64]{Weight: 1000, Weigher: one, Shards: 1}
	apart   = Options[uint64, uint64]{Weight: 1000, Weigher: one, Shards: 4}
	roomy   = Options[uint64, uint64]{Entries: 100, Shards: 1}
	mortal  = Options[uint64, uint64]{Entries: 8, Shards: 1, TTL: 64 << 20, Clock: func() int64 { return 0 }}
	tooMuch = Options[uint64, uint64]{Weight: 24, Shards: 1,
		Weigher: func(_, v uint64) uint32 { return uint32(v/100) * 7 % 14 }}
)

const five = "set 11, set 12, set 13, set 14, set 15"

// scenarios are the meetings that doc.go argues about, by its numbers.
var scenarios = map[string]scenario{
	"1 a reader, where a key goes and another comes": {tiny, "set 1", []string{
		"get 1, get 2, get 1", "delete 1, set 2, set 1", "set 3, get 2"}},
	"2 two add one key": {tiny, "", []string{
		"set 1, get 1", "getOrSet 1, get 1", "swap 1, get 1"}},
	"2 replace against remove": {small, "set 1", []string{
		"swap 1, swap 1", "delete 1, get 1", "compute 1, get 1"}},
	"2 compute against compute": {small, "set 1", []string{
		"compute 1, computeAway 1", "compute 1, compute 1"}},
	"4 delete before admission": {small, "set 1, set 2", []string{
		"set 3, set 4", "set 5, get 5", "delete 5, delete 3, set 3"}},
	"4 victim against delete": {tiny, "set 1, set 2", []string{
		"set 3, set 4, set 5", "delete 2, delete 1", "set 1, delete 4"}},
	"5 victim against replace": {tiny, "set 1, set 2", []string{
		"set 3, set 4", "swap 1, swap 2", "swap 2, swap 1"}},
	"5 weights against replace": {tooMuch, "set 1, set 2", []string{
		"set 1, set 2", "swap 1, set 3", "swap 2, delete 1"}},
	"6 hits against the hand": {tiny, "set 1, set 2", []string{
		"get 1, get 2, get 1", "get 1, get 2", "set 3, set 4, set 5"}},
	"7 reader against move": {growing, five, []string{
		"get 11, get 12, get 13, get 14", "set 16, set 17", "get 15, get 16"}},
	"7 replace against move": {growing, five, []string{
		"swap 11, swap 12", "set 16, set 17", "swap 12, compute 11"}},
	"7 add, replace, move": {growing, five, []string{
		"swap 1, get 1", "swap 1, swap 1", "set 16, set 17", "compute 1"}},
	"7 remove against move": {growing, five, []string{
		"delete 11, set 11", "set 16, set 17", "set 12, delete 12, get 11"}},
	"7 two shards move a chain": {apart, five, []string{
		"set 16, set 17", "set 18, set 19", "set 20, delete 11"}},
	"7 move twice": {growing, five, []string{
		"set 16, set 17, set 18", "set 19, set 20, set 21", "swap 11, get 11"}},
	"8 drain against unlock": {small, "", []string{
		"set 1, set 2", "set 3, set 4", "set 5, set 6", "set 7, get 3"}},
	"8 more than there are cells": {tiny, "", []string{
		"set 1", "set 2", "set 3", "set 4", "set 5, get 1"}},
	"a load against changes": {roomy, "", []string{
		"load 1, get 1", "set 1, get 1", "delete 1, get 1"}},
	"a load against swap and compute": {roomy, "set 1", []string{
		"delete 1, load 1", "swap 1, delete 1", "compute 1, load 1"}},
	"expiry against replace": {mortal, "set 1, set 2, pass 60000000", []string{
		"pass 10000000, expire 0, get 1", "set 1, get 1, set 3", "delete 2, swap 2, pass 64000000, get 2"}},
	"two resizes": {small, "set 1, set 2, set 3, set 4", []string{
		"resize 2", "resize 40", "set 5, set 6, set 7"}},
	"resize against all": {small, "set 1, set 2, set 3", []string{
		"resize 2, resize 40", "set 4, swap 1", "delete 2, get 3",
		"set 5, resize 8"}},
}

// operations cuts a line into its operations.
func operations(line string) []string {
	if line == "" {
		return nil
	}
	return strings.Split(line, ", ")
}

// run plays a scenario in the order of one seed.
func (s scenario) run(t *testing.T, seed uint64) {
	o := s.options
	p := &play{ledger: follow(&o)}
	if o.Clock != nil {
		o.Clock = func() int64 { return p.time }
		o.OnEvict = func(_, v uint64, cause Cause) {
			p.ledger.leave(v)
			if cause == Expired && p.time < p.ledger.taken[v]+int64(o.TTL) {
				t.Errorf("value %d has expired early", v)
			}
		}
		p.ledger.clock = o.Clock
	}
	p.c = New(o)
	p.c.hasher.seeds[0] = seed
	for i := range p.c.shards {
		p.c.shards[i].random = seed | 1
	}
	perform(seed, s.before, s.actors, p.do)
	p.check(t)
	if t.Failed() {
		t.Fatalf("EDGE_SEED=%d", seed)
	}
}

func TestOrders(t *testing.T) {
	for name, s := range scenarios {
		t.Run(name, func(t *testing.T) {
			for seed := range uint64(orders()) {
				s.run(t, seed)
			}
		})
	}
}
