package h2

// table finds the streams of a connection by their numbers: open addressing with linear probing. Numbers grow by two,
// so streams that live at the same time lie side by side and nearly every look-up is one load.
//
//	len(slots) is 0 or a power of two, at least 2 × count
//	no empty slot lies between a stream and the slot its number wants
type table struct {
	slots []*Stream
	count int
}

const tableMin = 8

func (t *table) home(id uint32) int { return int(id>>1) & (len(t.slots) - 1) }

func (t *table) get(id uint32) *Stream {
	if t.count == 0 {
		return nil
	}
	for i := t.home(id); ; i = (i + 1) & (len(t.slots) - 1) {
		if s := t.slots[i]; s == nil || s.ID == id {
			return s
		}
	}
}

func (t *table) put(s *Stream) {
	if 2*(t.count+1) > len(t.slots) {
		t.grow()
	}
	t.count++
	t.place(s)
}

func (t *table) place(s *Stream) {
	i := t.home(s.ID)
	for t.slots[i] != nil {
		i = (i + 1) & (len(t.slots) - 1)
	}
	t.slots[i] = s
}

func (t *table) grow() {
	old := t.slots
	t.slots = make([]*Stream, max(2*len(old), tableMin))
	for _, s := range old {
		if s != nil {
			t.place(s)
		}
	}
}

// del takes s out and moves those that it kept from their places.
func (t *table) del(s *Stream) {
	mask := len(t.slots) - 1
	hole := t.home(s.ID)
	for t.slots[hole] != s {
		hole = (hole + 1) & mask
	}
	t.count--
	for i := (hole + 1) & mask; t.slots[i] != nil; i = (i + 1) & mask {
		// What lies at i may fill the hole if its home is not after the hole.
		if away := (i - t.home(t.slots[i].ID)) & mask; away >= (i-hole)&mask {
			t.slots[hole], hole = t.slots[i], i
		}
	}
	t.slots[hole] = nil
}

// ending says how a stream came to its end.
type ending uint32

const (
	unknown   ending = iota // longer ago than the history knows, or never opened
	ended                   // both sides sent END_STREAM
	peerReset               // the peer sent RST_STREAM
	ourReset                // we sent RST_STREAM: frames that the peer sent before it came may still arrive
)

// history remembers how the last streams ended, for frames that come after that (RFC 9113 §5.1). Allocated with the
// first stream that ends.
type history struct {
	ring []uint32 // the number without its lowest bit, which is 1, and the ending in two bits
	next int
}

const historyLen = 128

// note stores a number and its ending in one word: streams are opened by clients only, so all numbers are odd.
func (h *history) note(id uint32, how ending) {
	if h.ring == nil {
		h.ring = make([]uint32, historyLen)
	}
	h.ring[h.next] = id>>1<<2 | uint32(how)
	h.next = (h.next + 1) % historyLen
}

func (h *history) find(id uint32) ending {
	for _, w := range h.ring {
		if w>>2 == id>>1 && w&3 != 0 {
			return ending(w & 3)
		}
	}
	return unknown
}
