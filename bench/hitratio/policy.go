package hitratio

import "container/list"

// Policy is a cache without values: it says of each access whether the key was there, and keeps or drops
// it afterwards. Owned by one goroutine.
type Policy interface {
	// Access looks key up, takes it in when it is absent, and reports whether it was present.
	Access(key uint64) (hit bool)
}

// Maker is a policy by name. Immutable.
type Maker struct {
	Name string // as columns and --policy have it
	What string // one line for --list

	// New returns an empty cache of capacity entries, at least 1. A Policy that has a method Close() may have
	// goroutines, which end with it.
	New func(capacity int) Policy
}

// entry is a key in one of the queues of a simulator.
type entry struct {
	key     uint64
	uses    uint8
	place   int // its queue
	element *list.Element
}

// queues are what some simulators have: each entry is in one of them, the oldest in front.
type queues struct {
	byKey map[uint64]*entry
	lists []list.List
}

func newQueues(n int) queues { return queues{make(map[uint64]*entry), make([]list.List, n)} }

func (q *queues) count(place int) int    { return q.lists[place].Len() }
func (q *queues) front(place int) *entry { return q.lists[place].Front().Value.(*entry) }

// add puts a key that is in no queue into one.
func (q *queues) add(key uint64, place int) {
	e := &entry{key: key, place: place}
	e.element = q.lists[place].PushBack(e)
	q.byKey[key] = e
}

func (q *queues) move(e *entry, place int) {
	q.lists[e.place].Remove(e.element)
	e.place, e.element = place, q.lists[place].PushBack(e)
}

func (q *queues) drop(e *entry) {
	q.lists[e.place].Remove(e.element)
	delete(q.byKey, e.key)
}

// mix spreads the bits of x: the finisher of SplitMix64.
func mix(x uint64) uint64 {
	x += 0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}
