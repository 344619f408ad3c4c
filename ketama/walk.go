package ketama

// mapped is how many servers a walk can tell apart without an allocation.
const mapped = 1024

// walk goes once around the points of a ring, or the entries of a table, and meets each server once. Owned by one
// goroutine; it borrows owners, which are immutable.
type walk struct {
	owners  []uint16
	at      int // the next point
	left    int // points that were not looked at
	servers int // that were not met
	met     [mapped / 64]uint64
	more    []uint64 // in place of met when there are more servers
}

// next returns the next server, or -1 when there is no other.
func (w *walk) next() int {
	if w.servers > mapped && w.more == nil {
		w.more = make([]uint64, (w.servers+63)/64)
	}
	for w.left > 0 && w.servers > 0 {
		w.left--
		if i := w.point(); w.meet(i) {
			w.servers--
			return int(i)
		}
	}
	return -1
}

// point returns the server of the next point.
func (w *walk) point() uint16 {
	i := w.owners[w.at]
	if w.at++; w.at == len(w.owners) {
		w.at = 0
	}
	return i
}

// meet notes server i, and reports whether it is met for the first time.
func (w *walk) meet(i uint16) bool {
	word := &w.met[i/64%(mapped/64)]
	if w.more != nil {
		word = &w.more[i/64]
	}
	bit := uint64(1) << (i % 64)
	first := *word&bit == 0
	*word |= bit
	return first
}

// each calls yield with each server, until that returns false.
func (w walk) each(yield func(int) bool) {
	for i := w.next(); i >= 0 && yield(i); i = w.next() {
	}
}

// pick returns the first server that ok accepts, or -1.
func (w walk) pick(ok func(i int) bool) int {
	for i := w.next(); i >= 0; i = w.next() {
		if ok(i) {
			return i
		}
	}
	return -1
}

// after returns w after its first server.
func (w walk) after() walk {
	w.next()
	return w
}
