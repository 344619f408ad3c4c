package backend

import (
	"time"

	"github.com/edge-proxy/edge/backend/balance"
	"github.com/edge-proxy/edge/engine"
)

// load is what one reactor knows of the load of the members of a Set. It is published at the end of each tick in which
// it has changed.
// Owned by its reactor.
type load struct {
	balance.Local
	publisher engine.Task
	armed     bool // publisher is on its way
}

// loadsFor makes sure that there is a load for each of so many reactors. mu is held.
func (s *Set) loadsFor(reactors int) {
	list := append([]*load(nil), *s.local.Load()...)
	for i := len(list); i < reactors; i++ {
		l := &load{Local: *balance.NewLocal(s.loads, uint64(i)+1)}
		l.publisher.Run = l.publish
		list = append(list, l)
	}
	s.local.Store(&list)
}

func (s *Set) loadOn(r *engine.Reactor) *load { return (*s.local.Load())[r.Index()] }

// publish tells the other reactors what has changed in this tick.
func (l *load) publish(*engine.Reactor) {
	l.armed = false
	l.Publish()
}

// changed publishes l at the end of the tick.
func (l *load) changed(r *engine.Reactor) {
	if !l.armed && l.Dirty() {
		l.armed = true
		r.Defer(&l.publisher)
	}
}

// msOf returns the time of r in milliseconds, of which the low 32 bits are enough.
func msOf(r *engine.Reactor) uint32 { return uint32(r.Now() / int64(time.Millisecond)) }

// Enter counts a request that is sent to m, or a tunnel to it: each is to Leave on the same reactor. On r only, one of
// those that a View of the set was made for.
func (m *Member) Enter(r *engine.Reactor, tunnel bool) {
	l := m.set.loadOn(r)
	l.Enter(m.slot, tunnel)
	l.changed(r)
}

// Leave counts the end of what has entered. On r only.
func (m *Member) Leave(r *engine.Reactor, tunnel bool) {
	l := m.set.loadOn(r)
	l.Leave(m.slot, tunnel)
	l.changed(r)
}

// Become counts a request that has entered as a tunnel: m has agreed to it. On r only.
func (m *Member) Become(r *engine.Reactor) {
	l := m.set.loadOn(r)
	l.Become(m.slot)
	l.changed(r)
}

// Answered counts an answer of m, whose head came d after the request was sent. On r only.
func (m *Member) Answered(r *engine.Reactor, d time.Duration) {
	m.set.loadOn(r).Answered(m.slot, uint32(min(max(d.Microseconds(), 0), 1<<31)), msOf(r))
}

// Failed counts a failure that is m's: methods that look at latency send it less. On r only.
func (m *Member) Failed(r *engine.Reactor) {
	if at, ever := m.set.loads.AnsweredAt(m.slot); ever && millis(at)|everBit != millis(m.faultAt.Load()) {
		m.answeredAt.Store(uint64(at) | everBit) // the failure takes its place
	}
	now := msOf(r)
	m.faultAt.Store(uint64(now) | everBit)
	m.set.loadOn(r).Failed(m.slot, now)
}

// InFlight returns how many requests are under way at m and how many tunnels to it are open, over all reactors and as
// of the end of their last ticks.
func (m *Member) InFlight() (requests, tunnels int) { return m.set.loads.InFlight(m.slot) }

// Latency returns how long m takes to the head of an answer, as the weighted mean of the last answers, 0 when there was
// none; and by how much it counts as slower than the others, 1 when it does not.
func (m *Member) Latency() (d time.Duration, slow float64) {
	us, slow := m.set.loads.Latency(m.slot)
	return time.Duration(us) * time.Microsecond, slow
}

// SameTier reports whether m and other are members of the same tier.
func (m *Member) SameTier(other *Member) bool {
	for _, t := range m.set.now.Load().tiers {
		if v := t.view; m.slot < v.Len() && v.Weight(m.slot) > 0 {
			return other.slot < v.Len() && v.Weight(other.slot) > 0
		}
	}
	return false
}

// millis is a time in milliseconds, of which the low 32 bits are known, with everBit; 0: never.
type millis uint64

const everBit = 1 << 32

// within reports whether m was within the last d up to now, in ns.
func (m millis) within(now int64, d time.Duration) bool {
	return m != 0 && uint32(now/int64(time.Millisecond))-uint32(m) <= uint32(d.Milliseconds())
}

// lastAnswered returns when m answered last otherwise than by a failure.
func (m *Member) lastAnswered() millis {
	at, ever := m.set.loads.AnsweredAt(m.slot)
	if last := millis(at) | everBit; ever && last != millis(m.faultAt.Load()) {
		return last
	}
	return millis(m.answeredAt.Load())
}

// AnsweredWithin reports whether m has answered a request, otherwise than by a failure, within the last d up to now, a
// time of its reactors in ns.
func (m *Member) AnsweredWithin(now int64, d time.Duration) bool {
	return m.lastAnswered().within(now, d)
}

// ServedWithin reports whether m has answered requests within the last d up to now, and none of them failed.
func (m *Member) ServedWithin(now int64, d time.Duration) bool {
	return m.AnsweredWithin(now, d) && !millis(m.faultAt.Load()).within(now, d)
}
