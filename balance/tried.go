package balance

// triedMax is more attempts than a request should ever make.
const triedMax = 7

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
func (t *Tried) Has(i int) bool { return t.word(i/64)>>(i%64)&1 == 1 }

// Len is the number of backends remembered, twice if added twice.
func (t *Tried) Len() int { return min(int(t.added), triedMax) }

// Reset forgets all.
func (t *Tried) Reset() { *t = Tried{} }

// word returns the bits of backends 64*word to 64*word+63. A nil t is none.
func (t *Tried) word(word int) (bits uint64) {
	if t == nil {
		return 0
	}
	for _, i := range t.backends[:t.Len()] {
		if int(i/64) == word {
			bits |= 1 << (i % 64)
		}
	}
	return bits
}
