package hitratio

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
	Real bool   // a cache that people use, driven in a loop, and not a simulator

	// New returns an empty cache of capacity entries, at least 1. A Policy that has a method Close() may have
	// goroutines, which end with it.
	New func(capacity int) Policy
}

// index finds the slot of a key. Keys below denseMax, which all numbered workloads have, cost one load.
type index struct {
	dense  []int32 // slot + 1; 0 is absent
	sparse map[uint64]int32
}

const denseMax = 1 << 24

func (x *index) slot(key uint64) (int32, bool) {
	if key < uint64(len(x.dense)) {
		s := x.dense[key]
		return s - 1, s != 0
	}
	if key < denseMax {
		return 0, false
	}
	s, ok := x.sparse[key]
	return s, ok
}

func (x *index) put(key uint64, slot int32) {
	switch {
	case key < uint64(len(x.dense)):
		x.dense[key] = slot + 1
	case key < denseMax:
		grown := make([]int32, min(denseMax, max(1024, 2*(key+1))))
		copy(grown, x.dense)
		x.dense = grown
		x.dense[key] = slot + 1
	default:
		if x.sparse == nil {
			x.sparse = map[uint64]int32{}
		}
		x.sparse[key] = slot
	}
}

func (x *index) remove(key uint64) {
	if key < uint64(len(x.dense)) {
		x.dense[key] = 0
		return
	}
	delete(x.sparse, key)
}

// links are doubly linked lists over slots. The first slots are the lists themselves: list l starts and
// ends at slot l.
type links struct {
	next, prev []int32
	count      []int // by list
	free       []int32
}

func newLinks(lists, slots int) *links {
	l := &links{make([]int32, lists), make([]int32, lists), make([]int, lists), nil}
	for i := range l.next {
		l.next[i], l.prev[i] = int32(i), int32(i)
	}
	for range slots {
		l.next, l.prev = append(l.next, 0), append(l.prev, 0)
		l.free = append(l.free, int32(len(l.next)-1))
	}
	return l
}

// take returns a free slot, which is in no list.
func (l *links) take() int32 {
	if n := len(l.free); n > 0 {
		slot := l.free[n-1]
		l.free = l.free[:n-1]
		return slot
	}
	l.next, l.prev = append(l.next, 0), append(l.prev, 0)
	return int32(len(l.next) - 1)
}

// park makes a slot free that is in no list.
func (l *links) park(slot int32) { l.free = append(l.free, slot) }

func (l *links) pushBack(list, slot int32) {
	last := l.prev[list]
	l.next[last], l.prev[slot], l.next[slot], l.prev[list] = slot, last, list, slot
	l.count[list]++
}

func (l *links) remove(list, slot int32) {
	p, n := l.prev[slot], l.next[slot]
	l.next[p], l.prev[n] = n, p
	l.count[list]--
}

func (l *links) moveToBack(list, slot int32) {
	l.remove(list, slot)
	l.pushBack(list, slot)
}

// front returns the oldest slot of a list, and list itself when it is empty.
func (l *links) front(list int32) int32 { return l.next[list] }

// mix spreads the bits of x: the finisher of SplitMix64.
func mix(x uint64) uint64 {
	x += 0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}
