package balance

// triedMax is more attempts than a request should ever make.
const triedMax = 7

// Request is what a Picker knows of the request that it chooses a backend for. The zero value is a request without a
// key that was not tried. Owned by its caller.
type Request struct {
	Key    uint64 // requests of one key belong together: Method.Hash makes it. Methods that do not hash ignore it
	Keyed  bool   // there is a key; without one, methods that hash take turns
	Tunnel bool   // the request asks for a tunnel, which may last for hours
	Tried  Tried  // where it has been
}

// Tried is the backends that a request was sent to: the last 7. The zero value is none. Owned by its request.
type Tried struct {
	added    uint16
	backends [triedMax]uint16
}

// Add remembers backend i. A negative i, the answer when there was none, is ignored.
func (t *Tried) Add(i int) {
	if i < 0 {
		return
	}
	t.backends[t.added%triedMax] = uint16(i)
	t.added++
	if t.added == 2*triedMax {
		t.added = triedMax // stays in step with the remainder
	}
}

// Has reports whether backend i is remembered.
func (t *Tried) Has(i int) bool {
	for _, other := range t.backends[:t.Len()] {
		if int(other) == i {
			return true
		}
	}
	return false
}

// Len is the number of backends remembered, twice if added twice.
func (t *Tried) Len() int { return min(int(t.added), triedMax) }

// Reset forgets all.
func (t *Tried) Reset() { *t = Tried{} }

// none reports that no backend is remembered.
func (t *Tried) none() bool { return t.added == 0 }
