package hpack

import (
	"github.com/edge-proxy/edge/internal/base/invariant"
	"github.com/edge-proxy/edge/internal/stream/section"
)

const (
	defaultTableSize = 4096 // RFC 9113 §6.5.2, SETTINGS_HEADER_TABLE_SIZE
	entryOverhead    = 32   // RFC 7541 §4.1
	lineOverhead     = 4    // ": " and CRLF
	entriesMin       = 16
	lineBytesMin     = 512
)

// entry is a field of a table. 16 bytes, no pointer.
type entry struct {
	at      uint32 // where its line begins
	size    uint32 // of the line
	nameLen uint32
	traits  section.Traits // but Never: no table holds such a field
}

// cost is the size of an entry as RFC 7541 §4.1 counts it.
func (e *entry) cost() int { return int(e.size) - lineOverhead + entryOverhead }

// table is a dynamic table: a ring of entries, and a ring of bytes in which each line lies in one piece.
//
//	lines    |  newest  | free |  oldest  …  | unused |      a line that does not fit at the end
//	         0         head                        len        begins at 0, after it as many are free
//
//	entry number n is in entries[n & mask]; those with oldest <= n < next are alive
//	used == the sum of their cost() <= max
//	with 2*max bytes of lines there is always room for a line that max allows
type table struct {
	entries []entry
	lines   []byte
	head    int    // where the next line goes
	oldest  uint32 // the number of the oldest entry, modulo 1<<32 like all numbers
	next    uint32 // the number of the next entry
	used    int
	max     int
}

// reset empties t and keeps its memory.
func (t *table) reset(size int) {
	t.head, t.oldest, t.next, t.used, t.max = 0, 0, 0, 0, size
}

// resize sets the maximum and evicts what is above it.
func (t *table) resize(size int) {
	t.max = size
	t.evict(size)
}

// evict drops the oldest entries until at most size is used.
func (t *table) evict(size int) {
	for t.used > size {
		t.used -= t.entries[t.oldest&uint32(len(t.entries)-1)].cost()
		t.oldest++
	}
	if t.oldest == t.next {
		t.head = 0
	}
}

func (t *table) len() int { return int(t.next - t.oldest) }

// entry returns entry number n, which is alive. Borrowed until the next insert.
func (t *table) entry(n uint32) *entry { return &t.entries[n&uint32(len(t.entries)-1)] }

// line returns the line of e. Borrowed until the next insert.
func (t *table) line(e *entry) []byte { return t.lines[e.at : e.at+e.size : e.at+e.size] }

// name and value are the parts of the line of e. Borrowed until the next insert.
func (t *table) name(e *entry) []byte { return t.lines[e.at : e.at+e.nameLen] }

func (t *table) value(e *entry) []byte { return t.lines[e.at+e.nameLen+2 : e.at+e.size-2] }

// insert makes room for a line of size bytes by RFC 7541 §4.4 and returns where it goes. It returns nil when that is
// larger than the table, which is empty then.
func (t *table) insert(size int, nameLen uint32, traits section.Traits) []byte {
	cost := size - lineOverhead + entryOverhead
	if cost > t.max {
		t.evict(0) // RFC 7541 §4.4: not an error
		return nil
	}
	t.evict(t.max - cost)
	if t.len() == len(t.entries) {
		t.growEntries()
	}
	at := t.room(size)
	*t.entry(t.next) = entry{uint32(at), uint32(size), nameLen, traits}
	t.next++
	t.used += cost
	return t.lines[at : at+size]
}

// room returns where a line of n bytes goes.
func (t *table) room(n int) int {
	for {
		at, limit := t.head, len(t.lines)
		if t.len() > 0 {
			if tail := int(t.entry(t.oldest).at); tail >= at {
				limit = tail
			} else if at+n > limit && n <= tail {
				at = 0 // what is left at the end stays unused
			}
		}
		if at+n <= limit {
			t.head = at + n
			return at
		}
		t.growLines(n)
	}
}

func (t *table) growEntries() {
	entries := make([]entry, max(entriesMin, 2*len(t.entries)))
	for n := t.oldest; n != t.next; n++ {
		entries[n&uint32(len(entries)-1)] = *t.entry(n)
	}
	t.entries = entries
}

// growLines doubles the room and moves the lines to its front.
func (t *table) growLines(n int) {
	invariant.That(len(t.lines) < 2*t.max, "%d bytes have no room for a line of %d, max %d", len(t.lines), n, t.max)
	lines := make([]byte, max(lineBytesMin, 2*len(t.lines), n))
	at := 0
	for k := t.oldest; k != t.next; k++ {
		e := t.entry(k)
		copy(lines[at:], t.line(e))
		e.at = uint32(at)
		at += int(e.size)
	}
	t.lines, t.head = lines, at
}
